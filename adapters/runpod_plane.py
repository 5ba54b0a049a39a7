"""RunPod's two HTTP services: the job plane (api.runpod.ai) and management v2 (api.runpod.io)."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import msgspec

from adapters.answers import refused
from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http import Client, Origin, render_head
from adapters.http1 import Response
from adapters.runpod_jobs import EXPIRED, Health, Job, decode_health, decode_job
from adapters.settings import Duration, SecretStr

_POLL_TIMEOUT = 10.0
_ANSWER_GRACE = 10.0
"""Seconds past its wait after which a held submit is given up."""


class RunPodSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    endpoint: str
    """The endpoint's id; empty for a server that has no such path segment."""
    api_key: SecretStr
    base_url: str = "https://api.runpod.ai/v2"
    """The job plane."""
    management_url: str = "https://api.runpod.io/v2"
    """Management plane v2; note the other domain."""
    wait: Duration = 5.0
    """How long the platform holds one submit, 1s to 300s; afterwards it is polled. A call can be
    cancelled only once this has passed."""
    poll_every: Duration = 0.25
    """Between two polls of a young job; old ones are asked less often."""
    stream_every: Duration = 0.15
    """Between two polls of a stream that flows."""
    timeout: Duration = 600.0
    """The longest that one call may take; with the caller's deadline it becomes the job's own
    executionTimeout and ttl."""
    warm_for: Duration = 5.0
    """The endpoint's idle time-out: tells a cold start from a wait in the queue."""
    max_workers: int | None = None
    """The most calls that the endpoint runs at once."""
    low_priority: bool = False
    """Do not let these jobs start workers."""
    ping_input: dict[str, Any] = msgspec.field(default_factory=lambda: {"spillgate_ping": True})
    """The input of the job that wakes a worker."""
    status_method: Literal["GET", "POST"] = "GET"
    """POST for the development server of RunPod's SDK."""
    connect_timeout: Duration = 5.0
    keep_alive: Duration = 30.0
    """How long an unused connection is kept."""
    max_connections: int = 400
    """Calls in flight, as the platform bounds /runsync, /status and /stream."""


class JobPlane:
    """The requests, each answered by a value. Raises BackendError."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        self.secrets = (settings.api_key,)
        self._clock = clock
        self._settings = settings
        self._headers = {
            "Authorization": f"Bearer {settings.api_key.reveal()}",
            "Content-Type": "application/json",
        }
        self._jobs_origin = Origin(settings.base_url)
        self._management_origin = Origin(settings.management_url)
        self._jobs = self._new_client(self._jobs_origin)
        self._management = self._new_client(self._management_origin)
        self._wait_ms = int(min(max(settings.wait, 1.0), 300.0) * 1000)
        self._runsync_head = self._head("POST", f"/runsync?wait={self._wait_ms}")
        self._run_head = self._head("POST", "/run")

    def __repr__(self) -> str:
        return repr(self._jobs)

    def start(self) -> None:
        self._jobs.start()
        self._management.start()

    async def aclose(self) -> None:
        await self._jobs.aclose()
        await self._management.aclose()

    # --- jobs ------------------------------------------------------------------------------

    async def run_sync(self, body: bytes, deadline: float) -> asyncio.Future[Response]:
        """Submits. The answer outlives whoever waits for it, for it alone names the job; it comes
        within the wait and ten seconds, or is AMBIGUOUS or TIMEOUT."""
        now = self._clock.monotonic()
        # Held a little less than the caller waits, so that the job's id comes before he leaves.
        wait_ms = max(1000, min(self._wait_ms, int(min(deadline - now - 1.0, 300.0) * 1000)))
        head = self._runsync_head
        if wait_ms != self._wait_ms:
            head = self._head("POST", f"/runsync?wait={wait_ms}")
        give_up = min(deadline, now + wait_ms / 1000 + _ANSWER_GRACE)
        return await self._jobs.submit(head, body, deadline=give_up)

    async def run(self, body: bytes, deadline: float) -> asyncio.Future[Response]:
        """Submits without being held. The answer outlives whoever waits for it, as above."""
        give_up = min(deadline, self._clock.monotonic() + _ANSWER_GRACE)
        return await self._jobs.submit(self._run_head, body, deadline=give_up)

    def accepted(self, response: Response) -> Job:
        """The job that a submit's answer names."""
        if response.status not in (200, 201, 202):
            raise self._refused(response)
        job = decode_job(response.body)
        if not job.final and not job.id:
            raise BackendError(
                FailureClass.AMBIGUOUS, "The platform took the job and did not name it."
            )
        return job

    async def status(self, job_id: str, deadline: float) -> Job:
        """How a job stands. One that the platform no longer knows has expired."""
        return await self._about(job_id, f"/status/{job_id}", deadline)

    async def drain(self, job_id: str, deadline: float) -> Job:
        """What a job has put out since it was last asked; what a lost answer held is gone."""
        return await self._about(job_id, f"/stream/{job_id}", deadline)

    async def cancel(self, job_id: str) -> bool:
        """Whether the platform has stopped it, or no longer knows it."""
        head = self._head("POST", f"/cancel/{job_id}")
        response = await self._jobs.request(head, b"", deadline=self._soon())
        return response.status in (200, 404)

    async def health(self, deadline: float) -> Health:
        response = await self._jobs.request(self._head("GET", "/health"), deadline=deadline)
        if response.status != 200:
            raise self._refused(response)
        return decode_health(response.body)

    # --- management ------------------------------------------------------------------------

    async def max_workers(self, deadline: float) -> int | None:
        """``workers.max`` of the endpoint, or None where that is not to be learned."""
        try:
            response = await self._management.request(self._endpoint_head("GET"), deadline=deadline)
            return int(msgspec.json.decode(response.body)["workers"]["max"])
        except (BackendError, msgspec.DecodeError, KeyError, TypeError, ValueError):
            return None

    async def keep_workers(self, minimum: int) -> None:
        body = msgspec.json.encode({"workers": {"min": minimum}})
        head = self._endpoint_head("PATCH")
        response = await self._management.request(head, body, deadline=self._soon())
        if response.status not in (200, 202, 204):
            raise self._refused(response)

    # --- inside ----------------------------------------------------------------------------

    async def _about(self, job_id: str, path: str, deadline: float) -> Job:
        method = self._settings.status_method
        body = None if method == "GET" else b""
        head = self._head(method, path)
        response = await self._jobs.request(head, body, deadline=min(deadline, self._soon()))
        if response.status == 404:
            return Job(id=job_id, status=EXPIRED)
        if response.status != 200:
            raise self._refused(response)
        return decode_job(response.body)

    def _new_client(self, origin: Origin) -> Client:
        return Client(
            origin,
            self._clock,
            max_connections=self._settings.max_connections,
            connect_timeout=self._settings.connect_timeout,
            keep_alive=self._settings.keep_alive,
        )

    def _head(self, method: str, path: str) -> bytes:
        segment = f"/{self._settings.endpoint}" if self._settings.endpoint else ""
        return render_head(method, self._jobs_origin, segment + path, self._headers)

    def _endpoint_head(self, method: str) -> bytes:
        path = f"/serverless/{self._settings.endpoint}"
        return render_head(method, self._management_origin, path, self._headers)

    def _soon(self) -> float:
        return self._clock.monotonic() + _POLL_TIMEOUT

    def _refused(self, response: Response) -> BackendError:
        return refused(response, now=self._clock.time(), secrets=self.secrets)
