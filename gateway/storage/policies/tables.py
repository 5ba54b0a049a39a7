"""The tables of policies, for stores of both kinds. Instants are integer microseconds since the
epoch."""

from __future__ import annotations


def tables(whole: str) -> tuple[str, ...]:
    """``whole``: the type of whole numbers."""
    return (
        """
CREATE TABLE policies (
    version TEXT PRIMARY KEY NOT NULL,
    document TEXT NOT NULL
)
""",
        f"""
CREATE TABLE policy_changes (
    number {whole} PRIMARY KEY NOT NULL,
    at {whole} NOT NULL,
    act TEXT NOT NULL,
    version TEXT NOT NULL,
    file TEXT NOT NULL,
    actor TEXT NOT NULL,
    address TEXT NOT NULL
)
""",
        "CREATE INDEX policy_changes_by_file ON policy_changes (file, number)",
    )


SQLITE_TABLES = tables("INTEGER")
POSTGRES_TABLES = tables("BIGINT")
