"""The tables of kept streams, for stores of both kinds. Instants are integer microseconds since the
epoch; ``number`` is the byte at which a piece begins; ``data`` is base64."""

from __future__ import annotations


def tables(whole: str) -> tuple[str, ...]:
    """``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE kept_streams (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    caller TEXT NOT NULL,
    state TEXT NOT NULL,
    keep_until {whole} NOT NULL,
    lease_until {whole} NOT NULL,
    size {whole} NOT NULL DEFAULT 0,
    head TEXT NOT NULL DEFAULT ''
)
""",
        "CREATE INDEX kept_streams_by_caller ON kept_streams (caller)",
        "CREATE INDEX kept_streams_by_end ON kept_streams (keep_until)",
        f"""
CREATE TABLE kept_pieces (
    stream TEXT NOT NULL,
    number {whole} NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (stream, number)
)
""",
    )


SQLITE_TABLES = tables("INTEGER")
POSTGRES_TABLES = tables("BIGINT")
