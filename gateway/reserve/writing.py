"""What is rented, written down: one write at a time, each with what is so when its turn comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.clock import Clock
from gateway.reserve.rented import Rented, RentedStore

log = logging.getLogger("spillgate")

_AGAIN_S = 30.0
"""After a write that failed."""


class RentedWriting:
    """Of one process. A write that has begun is waited for, also by a task that is cancelled: none
    lands behind a later one, of this process or of the next that leads."""

    def __init__(
        self, store: RentedStore, rented: Callable[[], list[Rented]], clock: Clock
    ) -> None:
        """``rented``: what is so."""
        self._store = store
        self._rented = rented
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()
        self._is_owed = False
        """Whether the store knows less than ``rented``."""
        self._again_at = 0.0

    async def write(self) -> bool:
        """Durable when it returns; False where it cannot be written."""
        self._is_owed = True
        async with self._one_at_a_time:
            self._is_owed = False
            thread = asyncio.to_thread(self._store.write, self._rented())
            writing = asyncio.get_running_loop().create_task(thread)
            try:
                await asyncio.shield(writing)
            except OSError as error:
                self._fail(error)
                return False
            except asyncio.CancelledError:
                self._is_owed = True
                with contextlib.suppress(OSError):
                    await writing
                raise
        return True

    async def catch_up(self) -> None:
        """Writes what could not be written a while ago."""
        if self._is_owed and self._clock.monotonic() >= self._again_at:
            await self.write()

    async def finish(self) -> None:
        """Writes what is owed still, before the process ends."""
        if self._is_owed:
            await self.write()

    def _fail(self, error: OSError) -> None:
        self._is_owed = True
        self._again_at = self._clock.monotonic() + _AGAIN_S
        log.error("what is rented cannot be written down: %s", error)
