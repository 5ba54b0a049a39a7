"""The tables of files, for stores of both kinds. Instants are integer microseconds since the epoch;
``number`` is the order in which something came."""

from __future__ import annotations


def tables(number: str, whole: str) -> tuple[str, ...]:
    """``number``: a column that counts by itself; ``whole``: the type of whole numbers."""
    return (
        f"""
CREATE TABLE files (
    number {number},
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    caller TEXT NOT NULL,
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    purpose TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size {whole} NOT NULL,
    created_at {whole} NOT NULL,
    expires_at {whole} NOT NULL
)
""",
        "CREATE INDEX files_by_caller ON files (caller, number)",
        "CREATE INDEX files_by_expiry ON files (expires_at)",
        f"""
CREATE TABLE file_links (
    token TEXT NOT NULL PRIMARY KEY,
    file TEXT NOT NULL,
    expires_at {whole} NOT NULL
)
""",
        "CREATE INDEX file_links_by_file ON file_links (file)",
        "CREATE INDEX file_links_by_expiry ON file_links (expires_at)",
    )


SQLITE_TABLES = tables("INTEGER PRIMARY KEY", "INTEGER")
POSTGRES_TABLES = tables("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BIGINT")
