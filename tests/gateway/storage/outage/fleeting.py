"""A remote store in this process' memory, which is lost when it is told to: before it does what it
is asked, or after, when its answer alone is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from gateway.clock import Clock
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LimitStatus,
    Refused,
    StorageUnavailable,
    WindowSpent,
)
from gateway.storage.memory import MemorySharedStore
from gateway.storage.remote import Alive, CatchUp, StorageLost
from gateway.types import MICRO, Unit

T = TypeVar("T")


class FleetingStore:
    """Shared by the gateways of a test: ``gateways`` of them are alive."""

    def __init__(self, clock: Clock, gateways: int = 2) -> None:
        self.memory = MemorySharedStore(clock)
        self.gateways = gateways
        self.lost = False
        self.deaf = False
        """It hears, and its answers are lost."""
        self.asked = 0
        self._told: set[str] = set()

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        self._reach()
        return self._answer(await self.memory.admit(hold_id, claims, ttl_s))

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        self._reach()
        return self._answer(await self.memory.extend(hold_id, unit, more))

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        self._reach()
        await self.memory.reinstate(hold_id, claims, ttl_s)
        self._answer(None)

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        self._reach()
        return self._answer(await self.memory.settle(hold_id, claims, actual))

    fills = 0

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        return await self.settle(hold_id, claims, actual)

    async def release(self, hold_id: str) -> None:
        self._reach()
        await self.memory.release(hold_id)
        self._answer(None)

    async def restore(self, spent: Iterable[Counted]) -> None:
        self._reach()
        await self.memory.restore(spent)
        self._answer(None)

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        self._reach()
        return self._answer(await self.memory.statuses(claims))

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        self._reach()
        return self._answer(await self.memory.spent(claims))

    async def ping(self) -> None:
        self._reach()

    async def beat(self) -> Alive:
        self._reach()
        return Alive(self.gateways)

    async def leave(self) -> None:
        self._reach()

    async def catch_up(self, missed: CatchUp) -> Alive:
        self._reach()
        past = 0
        if missed.id not in self._told:
            self._told.add(missed.id)
            past = await self._take(missed)
        return self._answer(Alive(self.gateways, past))

    async def _take(self, missed: CatchUp) -> int:
        past, memory = 0, self.memory
        for index, (claim, _) in enumerate(missed.spent):
            actual = {claim.unit: claim.take}
            past = max(past, await memory.settle(f"{missed.id}:{index}", [claim], actual))
        for hold_id, claims, used in missed.settled:
            past += await memory.settle(hold_id, claims, used)
        for hold_id in missed.released:
            await memory.release(hold_id)
        for hold_id, claims, ttl_us in missed.held:
            await memory.reinstate(hold_id, claims, ttl_us / MICRO)
        for hold_id, unit, more in missed.extended:
            with contextlib.suppress(StorageUnavailable):  # it is not held
                await memory.extend(hold_id, unit, more)
        return past

    def _reach(self) -> None:
        self.asked += 1
        if self.lost:
            raise StorageLost("it is lost")

    def _answer(self, found: T) -> T:
        if self.deaf:
            raise StorageLost("its answer was lost")
        return found

    @property
    def failing(self) -> str:
        return ""

    @property
    def degraded(self) -> str:
        return ""

    async def aclose(self) -> None:
        return None
