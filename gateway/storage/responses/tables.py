"""The table of kept responses, for stores of both kinds. Instants are integer microseconds since
the epoch."""

from __future__ import annotations


def tables(whole: str) -> tuple[str, ...]:
    """``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE kept_responses (
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    answer TEXT NOT NULL,
    items TEXT NOT NULL,
    size {whole} NOT NULL,
    made_at {whole} NOT NULL,
    keep_until {whole} NOT NULL,
    PRIMARY KEY (owner, id)
)
""",
        "CREATE INDEX kept_responses_by_age ON kept_responses (owner, made_at, id, size)",
        "CREATE INDEX kept_responses_by_end ON kept_responses (keep_until)",
    )


SQLITE_TABLES = tables("INTEGER")
POSTGRES_TABLES = tables("BIGINT")
