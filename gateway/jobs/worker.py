"""Takes jobs from the store, as many as there is room for, and sees each to its end.

A job is taken late: while it waits in the store nothing decides where it goes, so whatever is free
first gets whoever's turn it is. Calls on their connections find no line of jobs before them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable

from gateway.active_policy import ActivePolicy
from gateway.clock import Clock
from gateway.jobs.held import claims_in_force
from gateway.jobs.large import LargeBodies
from gateway.jobs.news import JobNews
from gateway.jobs.one_lease import OneLease
from gateway.jobs.renewals import LEASE_S
from gateway.jobs.rounds import LeaseRounds
from gateway.jobs.run import JobRun
from gateway.jobs.turns import JobTurns
from gateway.jobs.unkept import UnkeptAnswers
from gateway.planning.line import HIGHEST
from gateway.storage.base import LedgerRow, SharedStore, StorageUnavailable
from gateway.storage.jobs.base import LOWEST, JobStore, StoredJob
from gateway.tasks import BackgroundTasks

log = logging.getLogger("spillgate")

_COUNT_EVERY_S = 1.0
_AT_ONCE = 64
"""Jobs that one look takes."""
_BEHIND = 2
"""Jobs of a model that wait at its backends: no worker is idle while the next one is fetched."""
_FETCH_S = 0.1
_FETCH_MOST_S = 2.0
"""Within which the store gives the next ones, at the least and at the most: where runs are shorter,
more of them wait there, up to as many as a look takes."""
_FORGETS = 0.9
"""Of how long a look took, at each later one."""
_UNBOUNDED = 32
"""Jobs that may be on their way to a backend which states no bound."""
_DRAIN_S = 25.0
"""How long the end of a gateway waits for what it cannot leave to another one."""
_PRUNE_EVERY_S = 60.0
_FORGET_S = 8 * 86_400.0


class JobWorker:
    """Of one gateway, which is ``name`` in the leases that it has."""

    def __init__(
        self,
        *,
        name: str,
        store: JobStore,
        shared: SharedStore,
        lease: Callable[[Callable[[str, float], None]], OneLease],
        active: Callable[[], ActivePolicy],
        clock: Clock,
        news: JobNews,
    ) -> None:
        self._name = name
        self._store = store
        self._shared = shared
        self._lease = lease(self._is_full)
        self._active = active
        self._clock = clock
        self._news = news
        self._tasks = BackgroundTasks()
        self.large: LargeBodies | None = None
        """Where what is large lies; None: nowhere, so that it is kept inside of its job."""
        self._runs: dict[str, JobRun] = {}
        self._turns = JobTurns()
        self._canceled: set[str] = set()
        """Jobs that nobody here had when they were canceled: the store may just be giving them."""
        self._full: dict[str, float] = {}
        """Keys whose jobs have to wait -> until when, in monotonic seconds."""
        self._waiting: dict[str, int] = {}
        """Model -> jobs of it that wait, at the least, as far as is known."""
        self._looks_above: set[str] = set()
        """Models of which jobs may wait that are of a higher rank than those that wait here."""
        self._count_at = 0.0
        self._fetch_s = _FETCH_S
        """In which the store gives the next jobs, by how long the slowest of late looks took."""
        self._unkept = UnkeptAnswers()
        self._rounds = LeaseRounds(
            name=name,
            what="jobs",
            store=store,
            runs=self._runs,
            work=self._work,
            clock=clock,
            prune_every_s=_PRUNE_EVERY_S,
            forget_s=_FORGET_S,
        )

    @property
    def running(self) -> int:
        """Jobs that this gateway has a lease of."""
        return len(self._runs)

    def wake(self, accepted: str = "") -> None:
        """There may be something to do; ``accepted``: a job that is new."""
        if accepted:
            self._count_at = 0.0
        self._rounds.wake()

    async def run(self) -> None:
        """Works for ever."""
        await self._rounds.run()

    async def look(self) -> None:
        """One look at what is to be done."""
        await self._rounds.look()

    async def _work(self) -> None:
        begun = self._clock.monotonic()
        try:
            if begun >= self._count_at:
                await self._take()  # to count takes a while, and slots must not wait for that
                await self._count()
            await self._take()
        finally:
            self._canceled.clear()
            slowest = max(self._clock.monotonic() - begun, self._fetch_s * _FORGETS)
            self._fetch_s = min(max(slowest, _FETCH_S), _FETCH_MOST_S)

    # --- what waits ---------------------------------------------------------------------------

    async def _count(self) -> None:
        """What waits, and what others have left, now and then: to look at all jobs for each one
        that ends would cost more than the jobs."""
        self._count_at = self._clock.monotonic() + _COUNT_EVERY_S
        self._begin(await self._store.take_over(self._name, _AT_ONCE, LEASE_S))
        self._waiting = await self._store.queued()
        self._looks_above = set(self._waiting)

    async def _take(self) -> None:
        full = self.full_now()
        for model in sorted(self._waiting):
            for least_rank in self._ranks(model):
                room = self._room(model, least_rank)
                most = min(self._waiting[model], room, _AT_ONCE)
                if most > 0 and not self._rounds.is_over and self._is_worth(model, room):
                    taken = await self._store.take(
                        self._name, model, most, LEASE_S, full, least_rank, self._owed(model)
                    )
                    self._waiting[model] -= len(taken)
                    if least_rank > LOWEST and not taken:
                        self._looks_above.discard(model)
                    self._begin(taken)

    def _ranks(self, model: str) -> tuple[int, ...]:
        """By which jobs are taken, one after another: those that wait at a backend keep no job of a
        higher rank from it. Whether there are such jobs is asked now and then, and of lines of
        batches always."""
        least = min(
            (
                run.job.rank
                for run in self._runs.values()
                if run.job.model == model and not run.begun.is_set()
            ),
            default=HIGHEST,
        )
        if least < HIGHEST and (least == LOWEST or model in self._looks_above):
            return least + 1, LOWEST
        return (LOWEST,)

    def _room(self, model: str, least_rank: int) -> int:
        """Jobs of the model, of this rank and above, that may be taken now. One that the policy has
        no more is taken, to be told so."""
        active = self._active()
        spec = active.policy.models.get(model)
        if spec is None:
            return _AT_ONCE
        free = self._ahead(model)
        for name in spec.backends:
            backend = active.backends[name]
            slots = backend.slots
            free += _UNBOUNDED if slots is None else max(0, slots - backend.in_flight)
        return free - sum(
            run.job.model == model and run.job.rank >= least_rank and not run.begun.is_set()
            for run in self._runs.values()
        )

    def _ahead(self, model: str) -> int:
        """Jobs that may wait at the model's backends: as many as begin while more are fetched."""
        active, ahead = self._active(), _BEHIND
        for name in active.policy.models[model].backends:
            backend = active.backends[name]
            run_s = max(backend.learned.run_time(model).mean, 0.001)
            ahead += min(_AT_ONCE, int((backend.slots or 0) * self._fetch_s / run_s))
        return ahead

    def _is_worth(self, model: str, room: int) -> bool:
        """To fetch a few costs as much as to fetch many; those that wait here last until then."""
        if room >= self._waiting[model] or model not in self._active().policy.models:
            return True
        return 2 * room >= self._ahead(model)

    def _owed(self, model: str) -> dict[tuple[int, str], float]:
        now = self._clock.monotonic()
        running = ((run.job, run.ran_s(now) or 0.0) for run in self._runs.values())
        return self._turns.owed(model, self._each_s(model), running)

    def _each_s(self, model: str) -> float:
        """Seconds that a run takes where it is taken soonest; 0 where nobody knows."""
        active = self._active()
        spec = active.policy.models.get(model)
        backends = () if spec is None else spec.backends
        times = (active.backends[name].learned.run_time(model).mean for name in backends)
        return min(times, default=0.0)

    def _is_full(self, key_id: str, until: float) -> None:
        self._full[key_id] = until

    def full_now(self) -> set[str]:
        """Keys whose jobs have to wait."""
        now = self._clock.monotonic()
        self._full = {key: until for key, until in self._full.items() if until > now}
        return set(self._full)

    # --- what is on its way -------------------------------------------------------------------

    def _begin(self, jobs: Iterable[StoredJob]) -> None:
        new = list[StoredJob]()
        for job in jobs:
            if job.id in self._runs:
                self._begun_late(self._runs[job.id], job)
            else:
                new.append(job)
        self._turns.taken(new, self._each_s)
        for job in new:
            run = self._runs[job.id] = self._run_of(job)
            if self._rounds.is_over:
                run.leave()
            if job.id in self._canceled:
                run.stop("canceled")
            if job.canceling or run.stopped:
                self._rounds.renew_soon()  # one that a platform has is stopped at the next look
            run.task = self._tasks.run(self._see_through(run))

    def _run_of(self, job: StoredJob) -> JobRun:
        store, clock, unkept = self._store, self._clock, self._unkept
        return JobRun(job, store, clock, self.large, unkept=unkept, begins=self.wake)

    def _begun_late(self, run: JobRun, job: StoredJob) -> None:
        """The lease of a job that runs here was over before it was renewed: it goes on, unless
        another gateway has had the job meanwhile."""
        if job.epoch == run.job.epoch + 1:
            run.renewed(job.epoch)
        else:
            run.stop("handed_over")

    async def _see_through(self, run: JobRun) -> None:
        try:
            await self._lease.see_through(run)
        except StorageUnavailable as unavailable:
            log.error("job %s: %s; it is taken up again later", run.job.id, unavailable)
        finally:
            del self._runs[run.job.id]
            self._turns.left(run.job, run.ran_s(self._clock.monotonic()))
            self._full.pop(run.job.key_id, None)
            self._news.tell(run.job.id)
            self.wake()
        if run.stopped == "canceled":  # perhaps when it was put back already
            await self._take_one(run.job.id)

    async def _take_one(self, id: str) -> None:
        """Somebody has to see to its end who has no turn to wait for."""
        try:
            taken = await self._store.take_one(self._name, id, LEASE_S)
        except StorageUnavailable as unavailable:
            log.error("job %s: %s; it is taken up again later", id, unavailable)
        else:
            self._begin(() if taken is None else (taken,))

    async def cancel(self, id: str) -> bool:
        """Stops a job, wherever it is; False where it has ended, or there is none. Raises
        StorageUnavailable."""
        if not await self._store.cancel(id):
            return False
        if id not in self._runs:
            await self._take_one(id)
        run = self._runs.get(id)
        if run is not None:
            run.stop("canceled")
        else:
            self._canceled.add(id)
        return True

    # --- what is held -------------------------------------------------------------------------

    async def reinstate(self) -> None:
        """What jobs hold that have not ended is held again, where the shared store has forgotten
        it, and in the limits that the policy has brought since. Raises StorageUnavailable."""
        now_at = self._clock.time()
        again = list[str]()
        for id, held in (await self._store.holding()).items():
            claims = claims_in_force(self._active(), held, now_at)
            if claims:
                await self._shared.reinstate(id, claims, _holds_for_s(held.row, now_at))
                again.append(id)
        if again:  # those that have ended meanwhile hold nothing
            alive = await self._store.holding()
            for id in again:
                if id not in alive:
                    await self._shared.release(id)

    # --- the end ------------------------------------------------------------------------------

    async def idle(self) -> None:
        """Waits until no job is on its way."""
        await self._tasks.drain()

    async def aclose(self) -> None:
        """Hands jobs over: what a platform runs goes on there, what waits begins elsewhere. What
        only this gateway can see to the end is waited for, within bounds."""
        self._rounds.end()
        for run in list(self._runs.values()):
            run.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._tasks.drain()
        await self._tasks.cancel()
        self._rounds.close()
        await self._store.aclose()


def _holds_for_s(row: LedgerRow, now_at: float) -> float:
    """At least as long as the job may take."""
    return max(0.0, row.started_at + _LONGEST_S - now_at) + 60.0


_LONGEST_S = 31 * 86_400.0
