"""Kept responses in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from gateway.storage.outbox_statements import Statement
from gateway.storage.responses.base import KeptResponse
from gateway.storage.sql_outbox import SqlTables
from gateway.types import MICRO

_KEEP = (
    "INSERT INTO kept_responses (owner, id, answer, items, size, made_at, keep_until) "
    "VALUES (?, ?, ?, ?, ?, {now}, {now} + CAST(? AS BIGINT)) ON CONFLICT DO NOTHING"
)
_NAME = (
    "INSERT INTO kept_responses (owner, id, answer, items, size, made_at, keep_until) "
    "SELECT '', id, owner, '', 0, made_at, keep_until FROM kept_responses "
    "WHERE owner = ? AND id = ? ON CONFLICT DO NOTHING"
)
"""The row without an owner says whose an id is until its time is over: in ``answer``, which is
empty once its owner has deleted it."""
_IS_NOT_FOR = (
    "SELECT id FROM kept_responses WHERE owner = '' AND id = ? AND answer <> ? "
    "AND keep_until > {now}"
)
_GIVE_UP = "UPDATE kept_responses SET answer = '' WHERE owner = '' AND id = ? AND answer = ?"
_BOUND = (
    "DELETE FROM kept_responses WHERE owner = ? AND id IN (SELECT id FROM (SELECT id, "
    "SUM(size) OVER (ORDER BY made_at DESC, id DESC) AS total FROM kept_responses "
    "WHERE owner = ?) AS newest_first WHERE total > ?)"
)
_FIND = "SELECT answer, items FROM kept_responses WHERE owner = ? AND id = ? AND keep_until > {now}"
_DELETE = (
    "DELETE FROM kept_responses WHERE owner = ? AND id = ? AND keep_until > {now} RETURNING id"
)
_PRUNE = (
    "DELETE FROM kept_responses WHERE id IN (SELECT id FROM kept_responses "
    "WHERE keep_until <= {now} ORDER BY keep_until LIMIT ?) AND keep_until <= {now} RETURNING id"
)


class SqlResponses(SqlTables):
    """A ``ResponseStore`` over a connection to the ledger's database."""

    async def keep(self, response: KeptResponse, keep_s: float, most_bytes: int) -> None:
        one, keep_us = response, round(keep_s * MICRO)
        row = (one.owner, one.id, one.answer, one.items, one.size, keep_us)
        bound: Statement = (_BOUND, (one.owner, one.owner, most_bytes))
        named: Statement = (_NAME, (one.owner, one.id))
        await self._connection.run([(_KEEP, row), named, bound])

    async def find(self, owner: str, id: str) -> KeptResponse | None:
        [found] = await self._connection.run([(_FIND, (owner, id))])
        if not found:
            return None
        answer, items = found[0]
        return KeptResponse(id=id, owner=owner, answer=answer, items=items)

    async def delete(self, owner: str, id: str) -> bool:
        given_up: Statement = (_GIVE_UP, (id, owner))
        gone, _ = await self._connection.run([(_DELETE, (owner, id)), given_up])
        return bool(gone)

    async def is_not_for(self, owner: str, id: str) -> bool:
        [found] = await self._connection.run([(_IS_NOT_FOR, (id, owner))])
        return bool(found)

    async def prune(self, most: int) -> int:
        [gone] = await self._connection.run([(_PRUNE, (most,))])
        return len({id for (id,) in gone})
