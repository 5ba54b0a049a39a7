"""Which of the keys in the file are client tokens, and of which key."""

from __future__ import annotations

import sqlite3

from gateway.storage.client_tokens import KEPT_S, MOST_LISTED, MOST_LIVE, PRUNED, TooManyTokens
from gateway.storage.key_records import KeyRecord, record_of
from gateway.types import Principal

TOKENS = (
    """
CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY REFERENCES keys (id),
    key_id TEXT NOT NULL,
    expires_at REAL NOT NULL
) STRICT, WITHOUT ROWID
""",
    "CREATE INDEX tokens_by_key ON tokens (key_id, expires_at)",
    "CREATE INDEX tokens_by_end ON tokens (expires_at)",
)

NO_TOKENS = "keys.id NOT IN (SELECT id FROM tokens)"

_COUNT = "SELECT count(*) FROM tokens WHERE key_id = ? AND expires_at > ?"
_ENDED = "SELECT id FROM tokens WHERE expires_at <= ? ORDER BY expires_at LIMIT ?"
_LIVE = (
    "SELECT principal, keys.created_at, revoked_at, keys.expires_at, hint, used_at FROM tokens "
    "JOIN keys ON keys.id = tokens.id JOIN hashes ON hashes.key_id = keys.id "
    "LEFT JOIN key_uses ON key_uses.key_id = keys.id "
    "WHERE tokens.expires_at > ?1 AND (?2 IS NULL OR tokens.key_id = ?2) "
)
_LIST = f"{_LIVE}ORDER BY keys.created_at DESC, keys.id LIMIT ?3"
_ONE = f"{_LIVE}AND tokens.id = ?3"


def add(
    connection: sqlite3.Connection, principal: Principal, expires_at: float, now: float
) -> None:
    """In the transaction that is open; of those that ended long ago it removes some. Raises
    TooManyTokens."""
    live = connection.execute(_COUNT, (principal.key_id, now)).fetchone()[0]
    if live >= MOST_LIVE:
        raise TooManyTokens(live)
    row = (principal.id, principal.key_id, expires_at)
    connection.execute("INSERT INTO tokens VALUES (?, ?, ?)", row)
    ended = connection.execute(_ENDED, (now - KEPT_S, PRUNED)).fetchall()
    for sql in (
        "DELETE FROM tokens WHERE id = ?",
        "DELETE FROM hashes WHERE key_id = ?",
        "DELETE FROM key_uses WHERE key_id = ?",
        "DELETE FROM keys WHERE id = ?",
    ):
        connection.executemany(sql, ended)


def live(
    connection: sqlite3.Connection, key_id: str | None, now: float, id: str | None = None
) -> list[KeyRecord]:
    """Those that have not expired, newest first; without a ``key_id`` of every key. With an ``id``
    that one alone."""
    sql, last = (_LIST, MOST_LISTED) if id is None else (_ONE, id)
    return [record_of(*row) for row in connection.execute(sql, (now, key_id, last))]
