"""One instant of a schedule: what it is for is begun in the step in which the instant is decided.

What a gateway that dies leaves behind at each await:

    hold    what is held expires by itself; the instant is decided by whoever comes next
    decide  the job or batch is there and the instant is decided, or neither
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.active_policy import ActivePolicy
from gateway.batches.batches import Batches
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.files.files import Files
from gateway.jobs.jobs import Jobs
from gateway.policy.sections.schedules import ScheduledBatch, ScheduledJob, ScheduleSpec
from gateway.schedules.payers import payer_of
from gateway.schedules.templates import ReadInput, asked_batch, asked_job
from gateway.storage.base import StorageUnavailable
from gateway.storage.key_records import KeyRecord
from gateway.storage.schedules.base import NewWork, ScheduledRun, ScheduleStore
from gateway.tasks import BackgroundTasks
from gateway.types import Principal

_AGAIN_S = 1.0


class OnLease(NamedTuple):
    """An instant, by whoever has the lease of its schedule."""

    name: str
    epoch: int
    instant: float
    schedule: ScheduleSpec


class BeginsInstants(Protocol):
    """Begins what an instant is for."""

    async def begin(self, one: OnLease) -> None:
        """Whether or not that is by this gateway: somebody has decided the instant. Raises
        ApiError, and then it is open, and StorageUnavailable."""
        ...


class InstantWork:
    """Begins jobs and batches of one gateway."""

    def __init__(
        self,
        *,
        store: ScheduleStore,
        jobs: Jobs,
        batches: Batches,
        files: Files,
        dispatcher: Dispatcher,
        active: Callable[[], ActivePolicy],
        read: ReadInput,
        keys: Callable[[], Sequence[KeyRecord]],
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._batches = batches
        self._files = files
        self._dispatcher = dispatcher
        self._active = active
        self._read = read
        self._keys = keys
        self._clock = clock
        self._tasks = BackgroundTasks()

    async def begin(self, one: OnLease) -> None:
        """As ``BeginsInstants`` has it."""
        schedule = one.schedule
        keys = await asyncio.to_thread(self._keys)
        principal = payer_of(schedule, keys, self._clock.time())
        if schedule.job is not None:
            await self._job(one, schedule.job, principal)
        elif schedule.batch is not None:
            await self._batch(one, schedule.batch, principal)

    async def _batch(self, one: OnLease, batch: ScheduledBatch, principal: Principal) -> None:
        asked = await asked_batch(one.name, batch, self._files, principal)
        copy = None if asked.input_file == batch.input else asked.input_file
        try:
            work = NewWork(batch=await self._batches.prepared(asked))
        except BaseException:
            await self._drop(copy)
            raise
        if await self._surely(one, work):
            self._batches.worker.wake()
        else:
            await self._drop(copy)

    async def _drop(self, copy: str | None) -> None:
        """Of an input that no batch reads: it would take its user's room."""
        if copy is not None:
            with contextlib.suppress(StorageUnavailable):  # it goes when its time is over
                await self._files.drop(copy)

    async def _job(self, one: OnLease, job: ScheduledJob, principal: Principal) -> None:
        active = self._active()
        asked = asked_job(one.name, job, self._read, active, principal)
        state, new = await self._jobs.acceptance.hold(active, asked)
        work = NewWork(job=new, row=open_row(state, None))
        try:
            is_begun = await self._surely(one, work)
        except BaseException:
            self._tasks.run(self._find_out(one, work, state))
            raise
        await self._after(is_begun, work, state)

    async def _after(self, is_begun: bool, work: NewWork, state: CallState) -> None:
        if is_begun:
            self._jobs.worker.wake(work.id)
        else:
            await self._dispatcher.jobs.end_unasked(state, 499, "not_begun")

    async def _surely(self, one: OnLease, work: NewWork) -> bool:
        """Whether the work is in the store, asked until that says so."""
        run = ScheduledRun(schedule=one.name, instant=one.instant, outcome="begun", work=work.id)
        while True:
            try:
                await self._store.decide(one.name, one.epoch, run, work)
                return await self._is_begun(one, work)
            except StorageUnavailable:
                await self._clock.sleep(_AGAIN_S)

    async def _is_begun(self, one: OnLease, work: NewWork) -> bool:
        found = await self._store.run_at(one.name, one.instant)
        return found is not None and found.work == work.id

    async def _find_out(self, one: OnLease, work: NewWork, state: CallState) -> None:
        """Of a gateway that ends meanwhile: what is not in the store holds nothing."""
        while True:
            try:
                is_begun = await self._is_begun(one, work)
                break
            except StorageUnavailable:
                await self._clock.sleep(_AGAIN_S)
        await self._after(is_begun, work, state)
