"""Which work may start now. Pure: time is passed in, and nothing waits or runs here.

An *exclusive* handler (a synchronous one) holds the device: of those, one runs at a time and the
longest waiting goes first. Asynchronous handlers share the device, each up to its concurrency.
"""

from __future__ import annotations

from collections.abc import Iterable

from local_runtime.app.runtime import Handler
from local_runtime.worker.batcher import Batcher
from local_runtime.worker.jobs import Job, Work

MAX_QUEUED = 1024
"""Jobs that may wait, in all lanes together."""


class Lane:
    """The queue of one handler; of a stepper, which may have several routes, one for them all, and
    one of each model."""

    __slots__ = ("batcher", "by_model", "exclusive", "handler", "running")

    def __init__(self, handler: Handler) -> None:
        batch = handler.batch
        self.handler = handler
        self.exclusive = handler.exclusive
        self.batcher: Batcher[Job] = (
            Batcher(batch.max_size, batch.max_wait_s) if batch else Batcher(1, 0.0)
        )
        self.running = 0
        self.by_model: dict[str, Lane] | None = None
        """Of a stepper with models: the lanes that it has in the place of this one."""


class Schedule:
    """The queues of a worker."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self._lanes: dict[str, Lane] = {}
        self._each: list[Lane] = []
        for handler in handlers:
            self._lanes[handler.route] = self._lane_of(handler)
        self._device: Work | None = None
        self._running: list[Work] = []
        self._queued = 0

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return self._queued

    @property
    def running(self) -> tuple[Work, ...]:
        """Works that have been taken and not finished."""
        return tuple(self._running)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing runs."""
        return not self._running and not self._queued

    def submit(self, job: Job, now: float) -> bool:
        """Queues the job; False when the queue is full."""
        if self._queued >= MAX_QUEUED:
            return False
        self._queued += 1
        self._lane_for(job).batcher.add(job, now, job.bucket)
        return True

    def blocked(self, job: Job) -> bool:
        """No job like this one can start before another work ends."""
        lane = self._lane_for(job)
        if self._device is not None and lane.exclusive:
            return True
        return lane.running >= lane.handler.concurrency

    def withdraw(self, job: Job) -> bool:
        """Takes back a job that has not started; False when it has."""
        found = self._lane_for(job).batcher.remove(job)
        self._queued -= found
        return found

    def take(self, now: float) -> Work | None:
        """The next work that may start at ``now``, counted as running from here on."""
        due = [(at, lane) for at, lane in self._startable() if at <= now]
        if not due:
            return None
        lane = min(due, key=lambda pair: pair[0])[1]
        jobs = lane.batcher.take(now)
        work = Work(jobs[0].handler, jobs, now)
        for job in work.jobs:
            job.work = work
        self._queued -= len(work.jobs)
        lane.running += 1
        self._running.append(work)
        if lane.exclusive:
            self._device = work
        return work

    def finish(self, work: Work, now: float) -> None:
        """The work has ended: its device and its slot are free."""
        self._running.remove(work)
        lane = self._lane_for(work.jobs[0])
        lane.running -= 1
        lane.batcher.freed(now)
        if self._device is work:
            self._device = None
            for other in self._each:
                other.batcher.freed(now)

    def due_at(self, grace_s: float) -> float | None:
        """The next instant at which something is to be done: a batch leaves, a work expires, or
        a work that expired has had ``grace_s`` to come back."""
        instants = [at for at, _ in self._startable()]
        instants += [_deadline(work, grace_s) for work in self._running]
        return min(instants, default=None)

    def overdue(self, now: float) -> list[Work]:
        """Works past their time-out whose callers have no answer yet."""
        late = [work for work in self._running if not work.expired and _deadline(work, 0.0) <= now]
        for work in late:
            work.expired = True
        return late

    def stuck(self, now: float, grace_s: float) -> Work | None:
        """A work that was asked to stop and has not come back within ``grace_s``."""
        for work in self._running:
            if work.expired and _deadline(work, grace_s) <= now:
                return work
        return None

    def _lane_of(self, handler: Handler) -> Lane:
        for lane in self._each:
            if lane.handler.stepper and lane.handler.function is handler.function:
                return lane
        lane = Lane(handler)
        lane.by_model = {} if handler.stepper and handler.models else None
        self._each.append(lane)
        return lane

    def _lane_for(self, job: Job) -> Lane:
        lane = self._lanes[job.handler.route]
        if lane.by_model is None:
            return lane
        found = lane.by_model.get(job.model)
        if found is None:
            found = lane.by_model[job.model] = Lane(lane.handler)
            self._each.append(found)
        return found

    def _startable(self) -> list[tuple[float, Lane]]:
        ready = []
        for lane in self._each:
            at = lane.batcher.due_at()
            if at is None or lane.running >= lane.handler.concurrency:
                continue
            if self._device is None or not lane.exclusive:
                ready.append((at, lane))
        return ready


def _deadline(work: Work, grace_s: float) -> float:
    return work.ends_at + (grace_s if work.expired else 0.0)
