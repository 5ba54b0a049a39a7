"""RunPod: queue endpoints, vLLM workers' own OpenAI route, and load-balancing endpoints.

``mode`` says which: ``queue.py`` has the jobs, ``direct.py`` the calls that go straight to a
worker, ``management_api.py`` what both share: workers, their bounds, the bill.

Assumed, for nothing here was run against the live platform: ``/health`` may leave out any count.

Sources: https://docs.runpod.io/serverless, https://docs.runpod.io/api-reference, as of 2026-08.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from adapters.base import PROBE_S, Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.outputs import check_size
from adapters.runpod.assumptions import assumptions_of
from adapters.runpod.direct import BALANCER_LIMIT, DirectCalls
from adapters.runpod.jobs import QueueHealth
from adapters.runpod.management_api import ManagementApi, WorkerBounds, WorkerCounts
from adapters.runpod.queue import RUNSYNC_LIMIT, QueueCalls
from adapters.runpod.settings import RunPodSettings
from adapters.types import (
    AskedPrice,
    Assumption,
    Bill,
    Call,
    Capabilities,
    Chunk,
    Handle,
    JobState,
    Probe,
    Reply,
    Usage,
)

_ENVELOPE = 512
"""Bytes that the envelope may add to a body."""
_NO_WORKERS_ALLOWED = "workers.max is 0: no worker can start"
_NONE_STARTS = "jobs wait and no worker starts"
"""For a moment that is so before each start."""


class RunPod:
    """One endpoint."""

    Settings = RunPodSettings

    def __init__(self, name: str, settings: RunPodSettings, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._balanced = settings.mode == "load_balancer"
        self._queue = None if self._balanced else QueueCalls(settings, clock)
        self._direct = None if settings.mode == "queue" else DirectCalls(settings, clock)
        self._management = ManagementApi(settings, clock)
        self._capabilities = self._able_to()

    def __repr__(self) -> str:
        parts = ", ".join(repr(part) for part in self._parts)
        return f"<RunPod {self.name}: {parts}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def slots(self) -> int | None:
        return self._settings.max_workers

    async def start(self) -> None:
        for part in self._parts:
            part.start()

    async def aclose(self) -> None:
        for part in self._parts:
            await part.aclose()

    async def invoke(self, call: Call) -> Reply:
        if self._direct is not None and (self._balanced or call.task in self._direct.tasks):
            check_size(call.body, BALANCER_LIMIT if self._balanced else RUNSYNC_LIMIT)
            return await self._direct.invoke(call)
        return await self._jobs.invoke(call)

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a call's job. A call without a job was stopped when its connection closed."""
        return None if self._queue is None else await self._queue.cancel(call_id)

    async def ping(self) -> Usage:
        """Wakes one worker: by a tiny job, or by a load balancer's health path."""
        if self._direct is None or not self._balanced:
            return await self._jobs.ping()
        return await self._direct.ping(self._clock.monotonic() + self._settings.timeout)

    async def keep_workers(self, minimum: int) -> None:
        """Sets ``workers.min``. The platform applies it promptly."""
        await self._management.keep_workers(minimum)

    async def bill(self, start: float, end: float) -> Bill:
        """The endpoint's own billing records: starts, idle seconds and fees included, which no
        job states."""
        return await self._management.bill(start, end)

    async def asked_prices(self) -> list[AskedPrice]:
        """What the platform's catalogue asks today for the endpoint's GPUs."""
        return await self._management.asked_prices()

    async def probe(self) -> Probe:
        """Asks the platform and no worker, for a request to a worker would wake it."""
        deadline = self._clock.monotonic() + PROBE_S
        try:
            if self._queue is None:
                workers = await self._management.workers(deadline)
                return _seen(workers, await self._why_none(workers, deadline))
            health = await self._queue.health(deadline)
        except BackendError as error:
            return error.as_probe()
        return Probe(
            ready=health.warm > 0,
            warm_workers=health.warm,
            starting_workers=health.starting,
            queued=health.queued,
            stuck=(why := await self._why_stuck(health, deadline)) not in ("", _NONE_STARTS),
            detail=why,
        )

    async def assumptions(self) -> list[Assumption]:
        deadline = self._clock.monotonic() + PROBE_S
        return await assumptions_of(self._queue, self._management, deadline)

    # --- jobs that outlive their caller ----------------------------------------------------

    async def submit(self, call: Call) -> Handle:
        """One ``/run``. The platform keeps its result for 30 minutes after the job's end."""
        return await self._jobs.submit(call)

    async def poll(self, handle: Handle) -> JobState:
        return await self._jobs.poll(handle)

    async def stop(self, handle: Handle) -> Usage | None:
        return await self._jobs.stop(handle)

    async def follow(self, handle: Handle, deadline: float) -> AsyncIterator[Chunk]:
        """Each poll of ``/stream`` drains what it is told: two followers share one output."""
        return await self._jobs.follow(handle, deadline)

    # --- inside ----------------------------------------------------------------------------

    @property
    def _parts(self) -> list[QueueCalls | DirectCalls | ManagementApi]:
        parts = (self._queue, self._direct, self._management)
        return [part for part in parts if part is not None]

    @property
    def _jobs(self) -> QueueCalls:
        if self._queue is None:
            raise BackendError(
                FailureClass.UNSUPPORTED, "A load-balancing endpoint has no jobs, only calls."
            )
        return self._queue

    def _able_to(self) -> Capabilities:
        if self._direct is None or not self._balanced:
            return Capabilities(max_request_bytes=RUNSYNC_LIMIT - _ENVELOPE)
        return Capabilities(tasks=self._direct.tasks, max_request_bytes=BALANCER_LIMIT)

    async def _why_stuck(self, health: QueueHealth, deadline: float) -> str:
        """Jobs wait and nothing runs: the platform sets workers.max to 0 after idle days."""
        if not health.queued or health.warm or health.starting:
            return ""
        if (await self._bounds(deadline)).max == 0:
            return "jobs wait and " + _NO_WORKERS_ALLOWED
        if health.throttled:
            return "jobs wait and workers are throttled: the platform has no device free"
        return _NONE_STARTS

    async def _why_none(self, workers: WorkerCounts, deadline: float) -> str:
        if workers.warm or workers.initializing:
            return ""
        if (await self._bounds(deadline)).max == 0:
            return _NO_WORKERS_ALLOWED
        if workers.throttled:
            return "workers are throttled: the platform has no device free"
        return ""

    async def _bounds(self, deadline: float) -> WorkerBounds:
        """Unknown where the management plane does not say."""
        try:
            return await self._management.bounds(deadline)
        except BackendError:
            return WorkerBounds()


def _seen(workers: WorkerCounts, detail: str) -> Probe:
    return Probe(
        ready=workers.warm > 0,
        warm_workers=workers.warm,
        starting_workers=workers.initializing,
        detail=detail,
    )
