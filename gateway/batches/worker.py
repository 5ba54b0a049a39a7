"""Takes batches from the store, and sees each to its end on a lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.batches.run import BatchLost, BatchRun
from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.base import BatchStore, StoredBatch
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

LEASE_S = 20.0
_RENEW_EVERY_S = 5.0
_LOOK_EVERY_S = 1.0
_AT_ONCE = 64
"""Batches that one gateway sees through at a time; others wait, or are another gateway's."""
_LEAVE_S = 5.0
_PRUNE_EVERY_S = 10.0
_FORGET_S = 30 * 86_400.0
_PRUNED_AT_ONCE = 500


class BatchWorker:
    """Of one gateway, which is ``name`` in the leases that it has."""

    def __init__(
        self,
        *,
        name: str,
        store: BatchStore,
        begun: Callable[[StoredBatch], BatchRun],
        clock: Clock,
    ) -> None:
        self._name = name
        self._store = store
        self._begun = begun
        self._clock = clock
        self._tasks = BackgroundTasks()
        self._runs: dict[str, BatchRun] = {}
        self._wake = asyncio.Event()
        self._renew_at = 0.0
        self._prune_at = 0.0
        self._closing = False
        self._failing = ""

    @property
    def running(self) -> int:
        """Batches that this gateway has a lease of."""
        return len(self._runs)

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    async def run(self) -> None:
        """Works for ever."""
        while not self._closing:
            self._wake.clear()
            await self.look()
            timer = self._clock.call_later(_LOOK_EVERY_S, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    async def look(self) -> None:
        """One look at what is to be done."""
        try:
            await self._renew()
            await self._prune()
            if (room := _AT_ONCE - len(self._runs)) > 0 and not self._closing:
                for batch in await self._store.take(self._name, room, LEASE_S):
                    self._begin(batch)
        except StorageUnavailable as unavailable:
            if str(unavailable) != self._failing:
                log.error("batches: %s; they wait for the store", unavailable)
            self._failing = str(unavailable)
        else:
            self._failing = ""

    def _begin(self, batch: StoredBatch) -> None:
        if (known := self._runs.get(batch.id)) is not None:
            known.is_left = True  # its lease was over: what runs here must not go on beside another
        run = self._runs[batch.id] = self._begun(batch)
        self._tasks.run(self._see_through(run))

    async def _see_through(self, run: BatchRun) -> None:
        batch = run.batch
        try:
            await run.run()
        except BatchLost:
            with contextlib.suppress(StorageUnavailable):
                await self._store.leave(batch.id, batch.epoch)
        except StorageUnavailable as unavailable:
            log.error("batch %s: %s; it is taken up again later", batch.id, unavailable)
        finally:
            if self._runs.get(batch.id) is run:
                del self._runs[batch.id]
            self.wake()

    async def _renew(self) -> None:
        now = self._clock.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + _RENEW_EVERY_S
        asked = dict(self._runs)
        mine = await self._store.renew(self._name, list(asked), LEASE_S)
        for id, run in asked.items():
            if id not in mine:
                run.is_left = True
            elif mine[id]:
                run.is_canceling = True

    async def cancel(self, id: str) -> bool:
        """No more of its lines are begun; False where it has ended. Raises StorageUnavailable."""
        if not await self._store.cancel(id):
            return False
        if (run := self._runs.get(id)) is not None:
            run.is_canceling = True
        self.wake()
        return True

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            pruned = await self._store.prune(_FORGET_S, _PRUNED_AT_ONCE)
            self._prune_at = now + (0.0 if pruned >= _PRUNED_AT_ONCE else _PRUNE_EVERY_S)

    async def aclose(self) -> None:
        """Hands batches over to whoever comes next."""
        self._closing = True
        self.wake()
        for run in self._runs.values():
            run.is_left = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._tasks.drain()
        await self._tasks.cancel()
        await self._store.aclose()
