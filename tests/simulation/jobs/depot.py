"""A platform with jobs of its own, which it runs whoever asks about them; and its adapter."""

from __future__ import annotations

import random

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Handle, JobState, Reply, Usage
from tests.simulation.platforms import Platform, SimulatedBackend, Work

NAME = "depot"
RUNS_FOR_S = 2.0
_REFUSALS = (FailureClass.OVERLOADED, FailureClass.UNREACHABLE)
_ENDS = (FailureClass.FAILED, FailureClass.TIMEOUT)


class DepotJob(msgspec.Struct):
    """One of the platform's."""

    call: str
    taken_at: float
    begins_at: float
    ends_at: float
    fails: FailureClass | None
    stopped_at: float | None = None

    @property
    def over_at(self) -> float:
        """When it runs no more."""
        return self.ends_at if self.stopped_at is None else min(self.ends_at, self.stopped_at)

    def ran_s(self, now: float) -> float:
        return max(0.0, min(now, self.over_at) - self.begins_at)


class Depot(Platform):
    """It outlives every gateway."""

    def __init__(self, draw: random.Random, luck: float) -> None:
        super().__init__(NAME, draw, luck)
        self.jobs: dict[str, DepotJob] = {}

    def take(self, call: str, now: float) -> str:
        """The name of a new job."""
        name, draw = f"d{len(self.jobs)}", self.draw
        begins_at = now + (draw.random() * 5.0 if draw.random() < 0.3 else 0.0)
        lasts_s = RUNS_FOR_S * (0.2 + draw.random() * 1.6) * (8.0 if draw.random() < 0.1 else 1.0)
        fails = draw.choice(_ENDS) if draw.random() >= self.luck else None
        self.jobs[name] = DepotJob(call, now, begins_at, begins_at + lasts_s, fails)
        self.works[call].append(Work(call, begins_at, begins_at + lasts_s, 1, True))
        return name


class DepotBackend(SimulatedBackend):
    """Its adapter, in one process."""

    @property
    def _depot(self) -> Depot:
        assert isinstance(self._platform, Depot)
        return self._platform

    async def submit(self, call: Call) -> Handle:
        draw = self._depot.draw
        await self._clock.sleep(draw.random() * 0.3)
        if draw.random() < 0.1:
            raise BackendError(draw.choice(_REFUSALS), "it takes none")
        name = self._depot.take(call.id, self._clock.monotonic())
        await self._clock.sleep(draw.random() * 0.3)
        return Handle(job=name, call=call.id, task=call.task, submitted=self._clock.time())

    async def poll(self, handle: Handle) -> JobState:
        await self._clock.sleep(self._depot.draw.random() * 0.05)
        if self._depot.draw.random() < 0.05:
            raise BackendError(FailureClass.UNREACHABLE, "it does not answer")
        job, now = self._depot.jobs[handle.job], self._clock.monotonic()
        if job.stopped_at is not None and job.stopped_at < job.ends_at:
            raise BackendError(FailureClass.CANCELLED, "it was stopped", usage=_usage(job, now))
        if now < job.begins_at:
            return JobState(status="queued")
        if now < job.ends_at:
            return JobState(status="running")
        if job.fails is not None:
            raise BackendError(job.fails, "it failed", usage=_usage(job, now))
        return JobState(status="done", reply=Reply(body=b'{"ok":true}', usage=_usage(job, now)))

    async def stop(self, handle: Handle) -> Usage | None:
        await self._clock.sleep(self._depot.draw.random() * 0.5)
        job, now = self._depot.jobs[handle.job], self._clock.monotonic()
        if job.stopped_at is None:
            job.stopped_at = now
        return _usage(job, now)


def _usage(job: DepotJob, now: float) -> Usage:
    ran_s = job.ran_s(now)
    return Usage(exec_s=ran_s, gpu_s=ran_s, reported=True)
