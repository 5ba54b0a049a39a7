"""Takes batches from the store, and sees each to its end on a lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.batches.run import BatchLost, BatchRun
from gateway.clock import Clock
from gateway.jobs.renewals import LEASE_S
from gateway.jobs.rounds import LeaseRounds
from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.base import BatchStore, StoredBatch
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

_AT_ONCE = 64
"""Batches that one gateway sees through at a time; others wait, or are another gateway's."""
_LEAVE_S = 5.0
_PRUNE_EVERY_S = 10.0
_FORGET_S = 30 * 86_400.0


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
        self._rounds = LeaseRounds(
            name=name,
            what="batches",
            store=store,
            runs=self._runs,
            work=self._take,
            clock=clock,
            prune_every_s=_PRUNE_EVERY_S,
            forget_s=_FORGET_S,
        )

    @property
    def running(self) -> int:
        """Batches that this gateway has a lease of."""
        return len(self._runs)

    def wake(self) -> None:
        """There may be something to do."""
        self._rounds.wake()

    async def run(self) -> None:
        """Works for ever."""
        await self._rounds.run()

    async def _take(self) -> None:
        if (room := _AT_ONCE - len(self._runs)) > 0 and not self._rounds.is_over:
            for batch in await self._store.take(self._name, room, LEASE_S):
                self._begin(batch)

    def _begin(self, batch: StoredBatch) -> None:
        if (known := self._runs.get(batch.id)) is not None:
            known.stop(
                "handed_over"
            )  # its lease was over: what runs here must not go on beside another
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

    async def cancel(self, id: str) -> bool:
        """No more of its lines are begun; False where it has ended. Raises StorageUnavailable."""
        if not await self._store.cancel(id):
            return False
        if (run := self._runs.get(id)) is not None:
            run.stop("canceled")
        self.wake()
        return True

    async def aclose(self) -> None:
        """Hands batches over to whoever comes next."""
        self._rounds.end()
        for run in self._runs.values():
            run.stop("handed_over")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._tasks.drain()
        await self._tasks.cancel()
        self._rounds.close()
        await self._store.aclose()
