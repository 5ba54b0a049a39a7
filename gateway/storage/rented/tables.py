"""The table of rented instances, for stores of both kinds. Instants are integer microseconds since
the epoch."""

from __future__ import annotations


def tables(whole: str) -> tuple[str, ...]:
    """``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE IF NOT EXISTS rented_instances (
    id TEXT PRIMARY KEY NOT NULL,
    reserve TEXT NOT NULL,
    holder TEXT NOT NULL,
    lease_until {whole} NOT NULL,
    document TEXT NOT NULL
)
""",
    )


SQLITE_TABLES = tables("INTEGER")
POSTGRES_TABLES = tables("BIGINT")
