"""Calls and the models that they need: each call has its model, or waits for it to be loaded.

Runs in the thread of the socket, so calls whose models are there go on while another is loaded.
Time is passed in, and nothing waits or is loaded here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from local_runtime.app.model_sizes import unknown_model
from local_runtime.app.request import InvalidInput
from local_runtime.protocol.events import CacheStatus, Done, ModelStatus
from local_runtime.worker.jobs import Job
from local_runtime.worker.models.cache import LoadModel, ModelCache, ModelState, Step
from local_runtime.worker.requests import named_in
from local_runtime.worker.results import failed

MAX_WAITING = 1024
"""Calls that may wait for models, of one worker."""
PAUSE_S = 1.0
"""After a load that failed, until the next call may try again; doubled with each failure."""
MAX_PAUSE_S = 60.0


class FailedLoad(msgspec.Struct, frozen=True, kw_only=True):
    """A model whose last load failed."""

    message: str
    pause_s: float
    until: float
    """Calls before this instant fail at once."""


class ModelAdmission:
    """Which call has which model, and which waits for one. ``timeouts`` bound each load, in
    seconds; ``load`` carries out steps in another thread, and ``loaded`` or ``failed`` must
    be called when the load among them has ended.

    Calls that a method returns may be queued now, or have failed; after each change ``begin_load``
    brings the next model.
    """

    def __init__(
        self,
        cache: ModelCache,
        timeouts: Mapping[str, float],
        load: Callable[[Sequence[Step]], None],
    ) -> None:
        self._cache = cache
        self._timeouts = timeouts
        self._load = load
        self._queues: dict[str, list[Job]] = {}
        self.waiting = 0
        """Calls that wait for models."""
        self._changed = False
        self._only: dict[str, str] = {}
        """Route -> its model, where it has one alone."""
        self._failures: dict[str, FailedLoad] = {}
        self._loading: tuple[str, float] | None = None
        """Which model is loaded now, and until when at the latest."""

    @property
    def has_work(self) -> bool:
        """There is something to admit, to load or to report to peers."""
        return bool(self.waiting) or self._changed

    @property
    def due_at(self) -> float | None:
        """When the load that goes on is too late."""
        return self._loading[1] if self._loading else None

    def overdue(self, now: float) -> str | None:
        """The model whose load has taken too long."""
        late = self._loading is not None and self._loading[1] <= now
        return self._loading[0] if self._loading and late else None

    def admit(self, job: Job, now: float) -> Done | None:
        """The model of a new call: ``job.has_model`` says whether the call has it, or waits.
        A Done: it is refused."""
        try:
            name = job.model = self._model_of(job)
        except InvalidInput as error:
            return failed(job.run.id, error)
        if name not in self._cache or not job.handler.takes(name):
            return _unknown(job)
        if self._cache.acquire(name):
            job.has_model = True
            return None
        failure = self._failures.get(name)
        if failure is not None and now < failure.until:
            return _refused(job, failure, now)
        if self.waiting >= MAX_WAITING:
            text = "too many calls wait for models to be loaded"
            return Done(job.run.id, False, kind="overloaded", message=text)
        self._queues.setdefault(name, []).append(job)
        self.waiting += 1
        self._cache.want(name)
        return None

    def withdraw(self, job: Job) -> bool:
        """The call waits no more; False when it did not."""
        waiting = self._queues.get(job.model, [])
        if job not in waiting:
            return False
        waiting.remove(job)
        self.waiting -= 1
        self._changed = True
        if not waiting:
            del self._queues[job.model]
            self._cache.unwant(job.model)
        return True

    def release(self, job: Job) -> None:
        """The call has ended: it uses its model no more."""
        if job.has_model:
            job.has_model = False
            self._cache.release(job.model)

    def loaded(self, name: str, seconds: float) -> None:
        """A load has ended well, after so many seconds."""
        self._loading, self._changed = None, True
        self._failures.pop(name, None)
        self._cache.loaded(name, seconds)

    def failed(self, name: str, message: str, now: float) -> list[tuple[Job, Done]]:
        """A load has ended without a model: the calls that waited for it, and their answers."""
        self._loading, self._changed = None, True
        self._cache.failed(name)
        before = self._failures.get(name)
        pause = min(MAX_PAUSE_S, before.pause_s * 2) if before else PAUSE_S
        failure = self._failures[name] = FailedLoad(
            message=message, pause_s=pause, until=now + pause
        )
        jobs = self._queues.pop(name, [])
        self.waiting -= len(jobs)
        return [(job, _refused(job, failure, now)) for job in jobs]

    def admitted(self, now: float) -> list[Job]:
        """Calls that waited, and have their models now: in the order in which they came."""
        free = [job for name in tuple(self._queues) for job in self._take(name, now)]
        return sorted(free, key=lambda job: job.arrived - job.cold_s)

    def begin_load(self, now: float) -> None:
        """Begins what brings the next model in, unless a load goes on or none is wanted."""
        steps = self._cache.plan()
        for step in steps:
            if isinstance(step, LoadModel):
                self._loading = (step.model, now + self._timeouts[step.model])
        if steps:
            self._load(steps)

    def status(self) -> CacheStatus:
        """Which models are there, for peers."""
        self._changed = False
        capacity = self._cache.capacity
        models = tuple(
            ModelStatus(
                model=model.name,
                state=model.state.value,
                size=model.size,
                loads=model.loads,
                evictions=model.evictions,
                failures=model.failures,
                load_s=model.load_s,
                pinned=model.pinned,
                pause_s=self._pause_of(model.name),
            )
            for model in self._cache
        )
        return CacheStatus(models, int(capacity) if capacity < 1 << 62 else 0)

    def _pause_of(self, name: str) -> float:
        failure = self._failures.get(name)
        return 0.0 if failure is None else failure.pause_s

    def _model_of(self, job: Job) -> str:
        """The only one that the handler has, whatever it is called; else the one that is named."""
        handler = job.handler
        only = self._only.get(handler.route)
        if only is None:
            names = [model.name for model in self._cache if handler.takes(model.name)]
            only = self._only[handler.route] = names[0] if len(names) == 1 else ""
        return only or named_in(job)

    def _take(self, name: str, now: float) -> list[Job]:
        if self._cache[name].state is not ModelState.IN:
            return []
        jobs = self._queues.pop(name)
        self.waiting -= len(jobs)
        for job in jobs:
            job.has_model = self._cache.acquire(name)
            job.cold_s = max(0.0, now - job.arrived)
            job.arrived += job.cold_s  # what it waits from here on is the queue
        return jobs


def _unknown(job: Job) -> Done:
    text = unknown_model(job.handler.route, job.model)
    return Done(job.run.id, False, kind="unsupported", message=text)


def _refused(job: Job, failure: FailedLoad, now: float) -> Done:
    left = max(0.0, failure.until - now)
    text = f"{failure.message}; it is tried again in {left:.1f} s at the earliest"
    return Done(
        job.run.id,
        False,
        kind="loading",
        message=text,
        queue_s=max(0.0, now - job.arrived),
    )
