"""What a gateway does for durable jobs, put together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.jobs.accepting import AskedJob, JobAcceptance
from gateway.jobs.ending import JobEnding
from gateway.jobs.foreseen import begins_in_s
from gateway.jobs.news import JobNews
from gateway.jobs.one_lease import OneLease
from gateway.jobs.records import read_answer, to_text
from gateway.jobs.views import shown
from gateway.jobs.worker import JobWorker
from gateway.money.settling.settlement import Settler
from gateway.storage.base import Ledger, SharedStore, StorageUnavailable
from gateway.storage.jobs.base import JobStore, StoredJob
from gateway.storage.jobs.states import ENDED


class Jobs:
    """Of one gateway, whose leases are in ``name``.

    ``ended`` is told of each call that has ended.
    """

    def __init__(
        self,
        *,
        name: str,
        store: JobStore,
        dispatcher: Dispatcher,
        settler: Settler,
        shared: SharedStore,
        ledger: Ledger,
        active: Callable[[], ActivePolicy],
        clock: Clock,
        ended: Callable[[CallState], None],
    ) -> None:
        self.store = store
        self.news = JobNews(clock)
        self._active = active
        self._clock = clock
        self.views: dict[str, Callable[[StoredJob], dict[str, Any]]] = {}
        """The name of another protocol -> a job as its callers are told of it."""
        ending = JobEnding(
            store=store, shared=shared, clock=clock, news=self.news, views=self.views
        )

        def lease(full: Callable[[str, float], None]) -> OneLease:
            return OneLease(
                store=store,
                dispatcher=dispatcher,
                settler=settler,
                shared=shared,
                ledger=ledger,
                active=active,
                clock=clock,
                ending=ending,
                ended=ended,
                full=full,
            )

        self.worker = JobWorker(
            name=name,
            store=store,
            shared=shared,
            lease=lease,
            active=active,
            clock=clock,
            news=self.news,
        )
        self.acceptance = JobAcceptance(
            store=store, dispatcher=dispatcher, clock=clock, accepted=self.worker.wake
        )

    async def start(self) -> None:
        """What jobs hold is held again after a restart, before the first call could take it."""
        with contextlib.suppress(StorageUnavailable):  # they are when the store is back
            await self.worker.reinstate()

    async def run(self) -> None:
        """Works for ever."""
        await self.worker.run()

    async def aclose(self) -> None:
        """Hands jobs over to whoever comes next."""
        await self.worker.aclose()

    async def accept(self, asked: AskedJob) -> str:
        """The id of the job, by the policy in force. Raises ApiError."""
        return await self.acceptance.accept(self._active(), asked)

    async def ended(self, id: str, longest_s: float) -> StoredJob | None:
        """The job, once it has ended, or as it stands after so many seconds; None where there is
        none. Raises StorageUnavailable."""
        until = self._clock.monotonic() + longest_s
        with self.news.of(id) as listener:
            while True:
                job = await self.store.glance(id)
                left_s = until - self._clock.monotonic()
                if job is None or job.state in ENDED or left_s <= 0:
                    return await self.store.get(id)
                await self.news.wait(listener, left_s)

    async def whole(self, job: StoredJob) -> StoredJob:
        """With its answer, where that lies in a file. Raises StorageUnavailable."""
        answer = read_answer(job.answer)
        if answer is None or self.worker.large is None:
            return job
        found = await self.worker.large.whole(answer)
        text = "" if found is None else to_text(found)
        return msgspec.structs.replace(job, answer=text)

    async def view(self, job: StoredJob) -> dict[str, object]:
        """What its caller is told. Raises StorageUnavailable."""
        if job.state != "queued":
            return shown(job)
        ahead = await self.store.ahead(job.id)
        begins_in = begins_in_s(self._active(), job.model, ahead)
        begins_at = None if begins_in is None else self._clock.time() + begins_in
        return shown(job, ahead=ahead, begins_at=begins_at)
