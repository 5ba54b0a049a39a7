"""The end of a job: said in the store, once, when its call is settled."""

from __future__ import annotations

import logging

from gateway.clock import Clock
from gateway.jobs.news import JobNews
from gateway.jobs.outcomes import EndsAs
from gateway.jobs.records import to_text
from gateway.jobs.run import JobRun
from gateway.jobs.told import Views, told
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import JobStore, StoredJob

log = logging.getLogger("spillgate")

_AGAIN_S = 0.5


class JobEnding:
    """EndsAs the jobs of one gateway's leases."""

    def __init__(self, *, store: JobStore, clock: Clock, news: JobNews, views: Views) -> None:
        """``views``: how callers by other protocols are told."""
        self._store = store
        self._clock = clock
        self._news = news
        self._views = views

    async def end(self, run: JobRun, end: EndsAs) -> None:
        """Waits for the store, and for the ledger to have settled the call: without that nobody
        knows what the job has cost. Nothing is done where another gateway has the job."""
        while not await self._ended(run.job, end):
            await self._clock.sleep(_AGAIN_S)
        self._news.tell(run.job.id)

    async def _ended(self, job: StoredJob, end: EndsAs) -> bool:
        try:
            return await self._try(job, end)
        except StorageUnavailable as unavailable:
            log.error("job %s: %s; its end waits", job.id, unavailable)
            return False

    async def _try(self, job: StoredJob, end: EndsAs) -> bool:
        now_at, message = self._clock.time(), None
        if job.webhook:
            message = told(job, end, await self._store.cost(job.id), now_at, self._views)
        error = "" if end.fault is None else to_text(end.fault)
        done = await self._store.end(
            job.id, job.epoch, end.state, ended_at=now_at, error=error, message=message
        )
        return done or await self._is_no_more_ours(job)

    async def _is_no_more_ours(self, job: StoredJob) -> bool:
        found = await self._store.get(job.id)
        return found is None or found.ended_at is not None or found.epoch != job.epoch
