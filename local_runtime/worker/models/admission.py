"""Calls and the models that they need: each call is lent its model, or waits for it to be loaded.

Runs in the thread of the socket, so calls whose models are there go on while another is loaded.
Time is passed in, and nothing waits or is loaded here.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from local_runtime.app.model_sizes import model_in, unknown_model
from local_runtime.app.request import InvalidInput
from local_runtime.protocol.events import Done, Held, Stock
from local_runtime.worker.jobs import Job
from local_runtime.worker.models.cache import LoadModel, ModelCache, ModelState, Step
from local_runtime.worker.results import failed, request_of

MAX_PARKED = 1024
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
    """Who has which model, and who waits for which. ``timeouts`` bound each load, in seconds.

    Whatever a method returns is for the caller to do: calls that may be queued now, or that have
    failed; and after each change ``steps`` says what is to be loaded.
    """

    def __init__(self, shelf: ModelCache, timeouts: Mapping[str, float]) -> None:
        self._shelf = shelf
        self._timeouts = timeouts
        self._parked: dict[str, list[Job]] = {}
        self.waiting = 0
        """Calls that wait for models."""
        self._changed = False
        self._only: dict[str, str] = {}
        """Route -> its model, where it has one alone."""
        self._mishaps: dict[str, FailedLoad] = {}
        self._loading: tuple[str, float] | None = None
        """Which model is loaded now, and until when at the latest."""

    @property
    def idle(self) -> bool:
        return not self.waiting

    @property
    def restless(self) -> bool:
        """There is something to release, to plan or to tell."""
        return bool(self.waiting) or self._changed

    @property
    def due_at(self) -> float | None:
        """When the load that goes on is too late."""
        return self._loading[1] if self._loading else None

    def overdue(self, now: float) -> str | None:
        """The model whose load has taken too long."""
        late = self._loading is not None and self._loading[1] <= now
        return self._loading[0] if self._loading and late else None

    def ask(self, job: Job, now: float) -> Done | None:
        """The model of a new call: ``job.lent`` says whether the call has it, or waits. A Done:
        it is refused."""
        try:
            name = job.model = self._model_of(job)
        except InvalidInput as error:
            return failed(job.run.id, error)
        if name not in self._shelf or not job.handler.takes(name):
            return _unknown(job)
        if self._shelf.borrow(name):
            job.lent = True
            return None
        mishap = self._mishaps.get(name)
        if mishap is not None and now < mishap.until:
            return _refused(job, mishap, now)
        if self.waiting >= MAX_PARKED:
            text = "too many calls wait for models to be loaded"
            return Done(job.run.id, False, kind="overloaded", message=text)
        self._parked.setdefault(name, []).append(job)
        self.waiting += 1
        self._shelf.want(name)
        return None

    def withdraw(self, job: Job) -> bool:
        """The call waits no more; False when it did not."""
        waiting = self._parked.get(job.model, [])
        if job not in waiting:
            return False
        waiting.remove(job)
        self.waiting -= 1
        self._changed = True
        if not waiting:
            del self._parked[job.model]
            self._shelf.unwant(job.model)
        return True

    def give_back(self, job: Job) -> None:
        """The call has ended: it uses its model no more."""
        if job.lent:
            job.lent = False
            self._shelf.give_back(job.model)

    def loaded(self, name: str, seconds: float) -> None:
        self._loading, self._changed = None, True
        self._mishaps.pop(name, None)
        self._shelf.loaded(name, seconds)

    def failed(self, name: str, message: str, now: float) -> list[tuple[Job, Done]]:
        """The calls that waited for it, and what they are told."""
        self._loading, self._changed = None, True
        self._shelf.failed(name)
        before = self._mishaps.get(name)
        pause = min(MAX_PAUSE_S, before.pause_s * 2) if before else PAUSE_S
        mishap = self._mishaps[name] = FailedLoad(message=message, pause_s=pause, until=now + pause)
        jobs = self._parked.pop(name, [])
        self.waiting -= len(jobs)
        return [(job, _refused(job, mishap, now)) for job in jobs]

    def released(self, now: float) -> list[Job]:
        """Calls that waited, and have their models now: in the order in which they came."""
        free = [job for name in tuple(self._parked) for job in self._release(name, now)]
        return sorted(free, key=lambda job: job.arrived - job.cold_s)

    def steps(self, now: float) -> list[Step]:
        """What is to be done now, all of it, in this order."""
        steps = self._shelf.plan()
        for step in steps:
            if isinstance(step, LoadModel):
                self._loading = (step.model, now + self._timeouts[step.model])
        return steps

    def stock(self) -> Stock:
        """The shelf as peers are told of it."""
        self._changed = False
        capacity = self._shelf.capacity
        held = tuple(
            Held(
                model=volume.name,
                state=volume.place.value,
                size=volume.size,
                loads=volume.loads,
                evictions=volume.evictions,
                failures=volume.failures,
                load_s=volume.load_s,
                pinned=volume.pinned,
                pause_s=self._pause_of(volume.name),
            )
            for volume in self._shelf
        )
        return Stock(held, int(capacity) if capacity < 1 << 62 else 0)

    def _pause_of(self, name: str) -> float:
        mishap = self._mishaps.get(name)
        return 0.0 if mishap is None else mishap.pause_s

    def _model_of(self, job: Job) -> str:
        """The only one that the handler has, whatever it is called; else the one that is named."""
        handler = job.handler
        only = self._only.get(handler.route)
        if only is None:
            names = [volume.name for volume in self._shelf if handler.takes(volume.name)]
            only = self._only[handler.route] = names[0] if len(names) == 1 else ""
        return only or named_in(job)

    def _release(self, name: str, now: float) -> list[Job]:
        if self._shelf[name].place is not ModelState.IN:
            return []
        jobs = self._parked.pop(name)
        self.waiting -= len(jobs)
        for job in jobs:
            job.lent = self._shelf.borrow(name)
            job.cold_s = max(0.0, now - job.arrived)
            job.arrived += job.cold_s  # what it waits from here on is the queue
        return jobs


def named_in(job: Job) -> str:
    """The model that the caller names: to the gateway, else in the body's ``model``; "" where it
    names none. Raises InvalidInput for a body that is not JSON."""
    if job.run.model:
        return job.run.model
    return model_in(request_of(job).json)


def _unknown(job: Job) -> Done:
    text = unknown_model(job.handler.route, job.model)
    return Done(job.run.id, False, kind="unsupported", message=text)


def _refused(job: Job, mishap: FailedLoad, now: float) -> Done:
    left = max(0.0, mishap.until - now)
    text = f"{mishap.message}; it is tried again in {left:.1f} s at the earliest"
    return Done(
        job.run.id,
        False,
        kind="loading",
        message=text,
        queue_s=max(0.0, now - job.arrived),
    )
