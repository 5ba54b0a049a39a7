"""A platform with jobs that outlives the gateways which ask it, and backends of it: fakes beside
the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.fake import Fake, FakeSettings
from adapters.types import Call, Handle, JobState, Reply, Usage


class PlatformJob(msgspec.Struct):
    """A job as the platform has it."""

    call: Call
    submitted: float
    ends: Reply | BackendError | None = None
    """None: it answers when it has run for as long as the platform's jobs do."""
    stopped_at: float | None = None


class FakePlatform:
    """Its jobs wait for ``queues_for`` seconds and run for ``runs_for``."""

    def __init__(self, clock: Clock, *, queues_for: float = 0.0, runs_for: float = 10.0) -> None:
        self.clock = clock
        self.queues_for = queues_for
        self.runs_for = runs_for
        self.jobs: dict[str, PlatformJob] = {}
        self.polls = 0
        self.down = False
        """It answers no question."""
        self.full = False
        """It takes no job."""
        self.says: Callable[[float], JobState] | None = None
        """What it shows of a job that has run for so many seconds."""
        self.refused = 0
        """Jobs that it did not take."""
        self.names = asyncio.Event()
        """It says the names of the jobs that it takes."""
        self.names.set()

    def submit(self, call: Call) -> str:
        if self.full:
            self.refused += 1
            raise BackendError(FailureClass.OVERLOADED, "no capacity", retry_after=3)
        name = f"p{len(self.jobs) + 1}"
        self.jobs[name] = PlatformJob(call, self.clock.monotonic())
        return name

    def poll(self, name: str) -> JobState:
        self.polls += 1
        if self.down:
            raise BackendError(FailureClass.UNREACHABLE, "nobody answers")
        job = self.jobs[name]
        if job.stopped_at is not None:
            usage = self.stop(name)
            raise BackendError(FailureClass.CANCELLED, "it was stopped", usage=usage)
        lasts = self.clock.monotonic() - job.submitted
        if lasts < self.queues_for:
            return JobState(status="queued")
        if isinstance(job.ends, BackendError):
            raise job.ends
        said = JobState(status="running") if self.says is None else self.says(lasts)
        if lasts < self.queues_for + self.runs_for:
            return said
        return msgspec.structs.replace(said, status="done", reply=job.ends or self._answer())

    def _answer(self) -> Reply:
        usage = Usage(exec_s=self.runs_for, gpu_s=self.runs_for, reported=True)
        return Reply(body=b'{"ok":true}', usage=usage)

    def stop(self, name: str) -> Usage | None:
        job = self.jobs[name]
        now = self.clock.monotonic()
        if job.stopped_at is None:
            job.stopped_at = now
        ran_s = max(0.0, job.stopped_at - job.submitted - self.queues_for)
        return Usage(exec_s=ran_s, gpu_s=ran_s, reported=True)

    @property
    def submits(self) -> list[str]:
        """The ids of the calls that it was given, in turn."""
        return [job.call.id for job in self.jobs.values()]


class PlatformBackend(Fake):
    """A backend whose jobs a platform has."""

    def __init__(
        self, name: str, settings: FakeSettings, clock: Clock, platform: FakePlatform
    ) -> None:
        super().__init__(name, settings, clock)
        self.platform = platform
        self._now = clock

    async def submit(self, call: Call) -> Handle:
        job = self.platform.submit(call)
        await self.platform.names.wait()
        return Handle(job=job, call=call.id, task=call.task, submitted=self._now.time())

    async def poll(self, handle: Handle) -> JobState:
        return self.platform.poll(handle.job)

    async def stop(self, handle: Handle) -> Usage | None:
        return self.platform.stop(handle.job)
