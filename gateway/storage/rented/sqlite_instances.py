"""Rented instances in an SQLite ledger, whose gateways are all on one machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from pathlib import Path

from gateway.storage.owner import LedgerOwner, dead_owners, forget_owner
from gateway.storage.rented.base import StoredInstance
from gateway.storage.rented.sql_instances import SqlInstances
from gateway.storage.sql_outbox import RunsStatements


class SqliteInstances(SqlInstances):
    """What a process had that is dead is free before its lease is over: each holder locks a file
    beside the ledger, and the system drops the lock when its process dies."""

    def __init__(self, connection: RunsStatements, ledger: Path) -> None:
        super().__init__(connection)
        self._place = ledger.with_name(f"{ledger.name}-rented")
        self._owners: dict[str, LedgerOwner] = {}

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        await self._lock(holder)
        return await super().put(holder, one, lease_s)

    async def take(
        self, holder: str, lease_s: float, reserves: Collection[str], others_after_s: float
    ) -> list[StoredInstance]:
        dead = await asyncio.to_thread(dead_owners, self._place)
        for each in dead:
            await super().leave(each)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(forget_owner, self._place, each)
        found = await super().take(holder, lease_s, reserves, others_after_s)
        if found:
            await self._lock(holder)
        return found

    async def leave(self, holder: str) -> None:
        try:
            await super().leave(holder)
        finally:
            owner = self._owners.pop(holder, None)
            if owner is not None:
                owner.close()

    async def _lock(self, holder: str) -> None:
        """Where that cannot be, its lease alone says how long it has them."""
        if holder not in self._owners:
            with contextlib.suppress(OSError):
                self._owners[holder] = LedgerOwner(self._place, holder)
