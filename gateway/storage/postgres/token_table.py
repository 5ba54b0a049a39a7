"""Which of the keys in the database are client tokens, and of which key."""

from __future__ import annotations

from gateway.storage.client_tokens import KEPT_S, MOST_LISTED, MOST_LIVE, PRUNED, TooManyTokens
from gateway.storage.key_records import KeyRecord, record_of
from gateway.storage.postgres.connections import Connection
from gateway.types import Principal

TOKENS = """
CREATE TABLE client_tokens (
    id TEXT COLLATE "C" PRIMARY KEY REFERENCES keys (id),
    key_id TEXT COLLATE "C" NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL
);

CREATE INDEX client_tokens_by_key ON client_tokens (key_id, expires_at);

CREATE INDEX client_tokens_by_end ON client_tokens (expires_at);
"""

NO_TOKENS = "keys.id NOT IN (SELECT id FROM client_tokens)"

_COUNT = "SELECT count(*) FROM client_tokens WHERE key_id = $1 AND expires_at > $2"
_ENDED = "SELECT id FROM client_tokens WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"
_LIVE = (
    "SELECT principal, keys.created_at, revoked_at, keys.expires_at, hint, used_at "
    "FROM client_tokens JOIN keys ON keys.id = client_tokens.id "
    "JOIN key_hashes ON key_hashes.key_id = keys.id "
    "LEFT JOIN key_uses ON key_uses.key_id = keys.id "
    "WHERE client_tokens.expires_at > $1 AND ($2::text IS NULL OR client_tokens.key_id = $2) "
)
_LIST = f"{_LIVE}ORDER BY keys.created_at DESC, keys.id LIMIT $3"
_ONE = f"{_LIVE}AND client_tokens.id = $3"


async def add(connection: Connection, principal: Principal, expires_at: float, now: float) -> None:
    """In the transaction that is open; of those that ended long ago it removes some. Raises
    TooManyTokens."""
    live = await connection.fetchval(_COUNT, principal.key_id, now)
    if live >= MOST_LIVE:
        raise TooManyTokens(live)
    await connection.execute(
        "INSERT INTO client_tokens VALUES ($1, $2, $3)", principal.id, principal.key_id, expires_at
    )
    ended = [row["id"] for row in await connection.fetch(_ENDED, now - KEPT_S, PRUNED)]
    for sql in (
        "DELETE FROM client_tokens WHERE id = ANY ($1::text[])",
        "DELETE FROM key_hashes WHERE key_id = ANY ($1::text[])",
        "DELETE FROM key_uses WHERE key_id = ANY ($1::text[])",
        "DELETE FROM keys WHERE id = ANY ($1::text[])",
    ):
        await connection.execute(sql, ended)


async def live(
    connection: Connection, key_id: str | None, now: float, id: str | None = None
) -> list[KeyRecord]:
    """Those that have not expired, newest first; without a ``key_id`` of every key. With an ``id``
    that one alone."""
    if id is None:
        found = await connection.fetch(_LIST, now, key_id, MOST_LISTED)
    else:
        found = await connection.fetch(_ONE, now, key_id, id)
    return [record_of(*row) for row in found]
