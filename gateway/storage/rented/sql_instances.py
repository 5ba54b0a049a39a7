"""Rented instances in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from collections.abc import Collection

from gateway.storage.rented.base import StoredInstance
from gateway.storage.sql_outbox import SqlTables
from gateway.types import MICRO

_PUT = (
    "INSERT INTO rented_instances (id, reserve, holder, lease_until, document) "
    "VALUES (?, ?, ?, {now} + ?, ?) ON CONFLICT (id) DO UPDATE "
    "SET lease_until = excluded.lease_until, document = excluded.document "
    "WHERE rented_instances.holder = excluded.holder RETURNING id"
)
_RENEW = "UPDATE rented_instances SET lease_until = {now} + ? WHERE holder = ? RETURNING id"
_OF_RESERVE = "SELECT id, reserve, document FROM rented_instances WHERE reserve = ? ORDER BY id"
_DROP = "DELETE FROM rented_instances WHERE id = ? AND holder = ?"
_LEAVE = "UPDATE rented_instances SET holder = '', lease_until = {now} WHERE holder = ?"


class SqlInstances(SqlTables):
    """An ``InstanceStore`` over a connection to the ledger's database."""

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        values = (one.id, one.reserve, holder, _us(lease_s), one.document)
        return await self._done((_PUT, values))

    async def renew(self, holder: str, lease_s: float) -> set[str]:
        return {str(id) for [id] in await self._one((_RENEW, (_us(lease_s), holder)))}

    async def take(
        self, holder: str, lease_s: float, reserves: Collection[str], others_after_s: float
    ) -> list[StoredInstance]:
        names = ("", *sorted(reserves))
        sql = (
            "UPDATE rented_instances SET holder = ?, lease_until = {now} + ? "  # noqa: S608
            "WHERE lease_until <= {now} AND (lease_until <= {now} - ? "
            f"OR reserve IN ({', '.join('?' * len(names))})) RETURNING id, reserve, document"
        )
        values = (holder, _us(lease_s), _us(others_after_s), *names)
        return [StoredInstance(*row) for row in await self._one((sql, values))]

    async def of_reserve(self, reserve: str) -> list[StoredInstance]:
        return [StoredInstance(*row) for row in await self._one((_OF_RESERVE, (reserve,)))]

    async def drop(self, holder: str, id: str) -> None:
        await self._one((_DROP, (id, holder)))

    async def leave(self, holder: str) -> None:
        await self._one((_LEAVE, (holder,)))


def _us(seconds: float) -> int:
    return round(seconds * MICRO)
