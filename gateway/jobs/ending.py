"""The end of a job: said in the store, once, when its call is settled."""

from __future__ import annotations

import logging

from gateway.clock import Clock
from gateway.jobs.news import JobNews
from gateway.jobs.outcomes import EndsAs
from gateway.jobs.records import to_text
from gateway.jobs.run import JobRun
from gateway.jobs.told import Views, told
from gateway.storage.base import SharedStore, StorageUnavailable
from gateway.storage.jobs.base import JobStore, StoredJob

log = logging.getLogger("spillgate")

_AGAIN_S = 0.5


class JobEnding:
    """EndsAs the jobs of one gateway's leases."""

    def __init__(
        self,
        *,
        store: JobStore,
        shared: SharedStore,
        clock: Clock,
        news: JobNews,
        views: Views,
    ) -> None:
        """``views``: how callers by other protocols are told."""
        self._store = store
        self._shared = shared
        self._clock = clock
        self._news = news
        self._views = views

    async def end(self, run: JobRun, end: EndsAs) -> None:
        """Waits for the store, and for the ledger to have settled the call: without that nobody
        knows what the job has cost. Nothing is done where another gateway has the job."""
        while (is_over := await self._is_over(run.job, end)) is None:
            await self._clock.sleep(_AGAIN_S)
        if is_over and run.holds:
            await self._let_go(run.job)
        self._news.tell(run.job.id)

    async def _let_go(self, job: StoredJob) -> None:
        """What was held again while its settlement was under way, as of a shared store that had
        lost its memory: its own hold was given back by that, or is forgotten."""
        try:
            await self._shared.release(job.id)
        except StorageUnavailable as unavailable:
            log.error("store: %s; what %s may hold expires by itself", unavailable, job.id)

    async def _is_over(self, job: StoredJob, end: EndsAs) -> bool | None:
        """Whether it has ended; None: not yet, and False: it is another gateway's."""
        try:
            return True if await self._try(job, end) else await self._is_over_already(job)
        except StorageUnavailable as unavailable:
            log.error("job %s: %s; its end waits", job.id, unavailable)
            return None

    async def _try(self, job: StoredJob, end: EndsAs) -> bool:
        now_at, message = self._clock.time(), None
        if job.webhook:
            message = told(job, end, await self._store.cost(job.id), now_at, self._views)
        error = "" if end.fault is None else to_text(end.fault)
        return await self._store.end(
            job.id, job.epoch, end.state, ended_at=now_at, error=error, message=message
        )

    async def _is_over_already(self, job: StoredJob) -> bool | None:
        found = await self._store.get(job.id)
        if found is None or found.ended_at is not None:
            return True
        return None if found.epoch == job.epoch else False
