"""The real embedded stores, which fail when they are told to: before they do what they are asked,
or after, when the answer alone is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LedgerRow,
    MaybeWritten,
    Refused,
    StorageUnavailable,
)
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.types import Unit

Moment = Literal["", "before", "after"]


class Trouble:
    """When a store fails, at which of its methods, and what it was asked."""

    def __init__(self) -> None:
        self.when: Moment = ""
        self.at: frozenset[str] = frozenset()
        """Names of methods; empty: all."""
        self.asked: list[str] = []

    def fails(self, when: Moment, *at: str) -> None:
        self.when, self.at = when, frozenset(at)

    def ends(self) -> None:
        self.when = ""

    async def around(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Suspends before and after, as a store behind a socket does."""
        self.asked.append(name)
        hit = not self.at or name in self.at
        await asyncio.sleep(0)
        if hit and self.when == "before":
            raise StorageUnavailable("it did not answer")
        await work()
        await asyncio.sleep(0)
        if hit and self.when == "after":
            raise MaybeWritten("its answer was lost")


class FailingShared(MemorySharedStore):
    trouble: Trouble

    def told(self, trouble: Trouble) -> FailingShared:
        self.trouble = trouble
        return self

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        results: list[Admitted | Refused] = []

        async def work() -> None:
            results.append(await super(FailingShared, self).admit(hold_id, claims, ttl_s))

        try:
            await self.trouble.around("admit", work)
        except asyncio.CancelledError:
            await super().release(hold_id)
            raise
        return results[0]

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        results: list[bool] = []

        async def work() -> None:
            results.append(await super(FailingShared, self).extend(hold_id, unit, more))

        await self.trouble.around("extend", work)
        return results[0]

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        results: list[int] = []

        async def work() -> None:
            results.append(await super(FailingShared, self).settle(hold_id, claims, actual))

        await self.trouble.around("settle", work)
        return results[0]

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        reinstate = super().reinstate
        await self.trouble.around("reinstate", lambda: reinstate(hold_id, claims, ttl_s))

    async def release(self, hold_id: str) -> None:
        release = super().release
        await self.trouble.around("release", lambda: release(hold_id))

    async def restore(self, spent: Iterable[Counted]) -> None:
        restore = super().restore
        await self.trouble.around("restore", lambda: restore(spent))


class FailingLedger(SqliteLedger):
    trouble: Trouble

    def told(self, trouble: Trouble) -> FailingLedger:
        self.trouble = trouble
        return self

    async def open(self, row: LedgerRow) -> None:
        write = super().open
        await self.trouble.around("open", lambda: write(row))

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        settle = super().settle
        await self.trouble.around("settle", lambda: settle(rows))
