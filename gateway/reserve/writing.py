"""What is rented, written down: one write at a time, each with what is so when its turn comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.clock import Clock
from gateway.reserve.rented import Rented, stored
from gateway.storage.base import StorageUnavailable
from gateway.storage.rented.base import InstanceStore

log = logging.getLogger("spillgate")

LEASE_S = 60.0
"""What is written is its holder's for so long at least."""
_AGAIN_S = 30.0
"""After a write that failed."""


class RentedWriting:
    """Of one process. A write that has begun is waited for, also by a task that is cancelled: none
    lands behind a later one, of this process or of the next that leads."""

    def __init__(
        self,
        store: InstanceStore,
        holder: str,
        rented: Callable[[str], Rented | None],
        clock: Clock,
    ) -> None:
        """``rented``: what is so of the instance of an id; None: there is none."""
        self._store = store
        self._holder = holder
        self._rented = rented
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._owed: set[str] = set()
        """Instances of which the store knows less than ``rented``."""
        self._again_at = 0.0
        self.written: dict[str, str] = {}
        """Id -> the state in which the store has an instance as this holder's."""

    async def write(self, id: str) -> bool | None:
        """How an instance stands is durable when it returns; None where that cannot be written,
        False where another holder has it."""
        self._owed.add(id)
        async with self._one_at_a_time:
            self._owed.discard(id)
            writing = asyncio.get_running_loop().create_task(self._put(id))
            try:
                return await asyncio.shield(writing)
            except StorageUnavailable as error:
                self._fail(id, error)
                return None
            except asyncio.CancelledError:
                self._owed.add(id)
                with contextlib.suppress(StorageUnavailable):
                    await writing
                raise

    async def _put(self, id: str) -> bool:
        one = self._rented(id)
        if one is None:
            await self._store.drop(self._holder, id)
            self.written.pop(id, None)
            return True
        is_ours = await self._store.put(self._holder, stored(one), LEASE_S)
        if is_ours:
            self.written[id] = one.state
        return is_ours

    async def catch_up(self) -> None:
        """Writes what could not be written a while ago."""
        if self._owed and self._clock.monotonic() >= self._again_at:
            await self.finish()

    async def finish(self) -> None:
        """Writes what is owed still, before the process ends."""
        for id in [*self._owed]:
            await self.write(id)

    def _fail(self, id: str, error: StorageUnavailable) -> None:
        self._owed.add(id)
        self._again_at = self._clock.monotonic() + _AGAIN_S
        log.error("what is rented cannot be written down: %s", error)
