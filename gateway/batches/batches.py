"""What a gateway does for batches, put together."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.batches.budget import within_budget
from gateway.batches.feeding import BatchFeeder, ReadCall
from gateway.batches.names import models_named
from gateway.batches.records import BatchRequest, read_batch_request
from gateway.batches.results import BatchResults, result_line
from gateway.batches.run import BatchRun
from gateway.batches.views import shown
from gateway.batches.worker import BatchWorker
from gateway.calls.dispatcher import Dispatcher
from gateway.clock import Clock
from gateway.files.files import Files
from gateway.jobs.jobs import Jobs
from gateway.storage.batches.base import BatchStore, StoredBatch
from gateway.storage.key_records import KeyRecord
from gateway.types import Principal

_INPUT_STAYS_S = 8 * 86_400.0
"""Behind a batch's deadline: its lines may end later, when a gateway was away."""


class AskedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as its caller asks for it, read and understood."""

    endpoint: str
    input_file: str
    within: str
    within_s: float
    budget_nano: int | None
    metadata: dict[str, str] | None
    principal: Principal


class Batches:
    """Of one gateway, whose leases are in ``name``. ``read`` is how a line becomes a call."""

    def __init__(
        self,
        *,
        name: str,
        store: BatchStore,
        files: Files,
        jobs: Jobs,
        dispatcher: Dispatcher,
        active: Callable[[], ActivePolicy],
        read: ReadCall,
        keys: Callable[[], Sequence[KeyRecord]],
        clock: Clock,
    ) -> None:
        self.store = store
        self.results_of = BatchResults(store, files, jobs.worker.large)
        self._active = active
        self._clock = clock
        self._files = files
        feeder = BatchFeeder(
            store=store,
            acceptance=jobs.acceptance,
            dispatcher=dispatcher,
            active=active,
            read=read,
            keys=keys,
            clock=clock,
            fed=jobs.worker.wake,
        )

        def begun(batch: StoredBatch) -> BatchRun:
            return BatchRun(
                batch,
                store=store,
                files=files,
                feeder=feeder,
                active=active,
                clock=clock,
                results=self.results_of,
                jobs_wake=jobs.worker.wake,
            )

        self.worker = BatchWorker(name=name, store=store, begun=begun, clock=clock)

    async def run(self) -> None:
        """Works for ever."""
        await self.worker.run()

    async def aclose(self) -> None:
        """Hands batches over to whoever comes next."""
        await self.worker.aclose()

    async def accept(self, asked: AskedBatch) -> StoredBatch:
        """In the store when this returns. Raises StorageUnavailable."""
        batch = await self.prepared(asked)
        await self.store.add(batch)
        self.worker.wake()
        return batch

    async def prepared(self, asked: AskedBatch) -> StoredBatch:
        """A batch whose input stays until its end, to be put into the store. Raises
        StorageUnavailable."""
        now_at = self._clock.time()
        models = models_named(self._active(), asked.principal, asked.endpoint)
        request = BatchRequest(principal=asked.principal, models=models)
        batch = StoredBatch(
            id=f"batch_{int(now_at * 1000):012x}{secrets.randbits(48):012x}",
            user=asked.principal.user,
            key_id=asked.principal.key_id,
            endpoint=asked.endpoint,
            input_file=asked.input_file,
            within=asked.within,
            created_at=now_at,
            deadline=now_at + asked.within_s,
            budget_nano=asked.budget_nano,
            metadata=msgspec.json.encode(asked.metadata).decode(),
            request=msgspec.json.encode(request).decode(),
        )
        await self._files.records.stay(batch.input_file, batch.deadline + _INPUT_STAYS_S)
        return batch

    async def limited(self) -> list[Principal]:
        """In whose names the batches are called that have budgets of their own and have not ended.
        Raises StorageUnavailable."""
        return [
            within_budget(read_batch_request(batch.request).principal, batch)
            for batch in await self.store.with_budgets()
        ]

    async def view(self, batch: StoredBatch) -> dict[str, Any]:
        """What its caller is told. Raises StorageUnavailable."""
        progress = None if batch.ended_at is not None else await self.store.progress(batch.id)
        return shown(batch, progress)

    async def results(self, id: str) -> AsyncIterator[bytes]:
        """A line for each line of a batch that has come to its end by now, in their order. Raises
        StorageUnavailable."""
        async for line in self.results_of.lines(id):
            if line.fault or line.state in ("succeeded", "failed", "canceled", "expired"):
                yield result_line(line)
