"""RunPod's job plane (api.runpod.ai): each request, answered by a value."""

from __future__ import annotations

import asyncio

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.client import Origin, client_of, render_head
from adapters.http.connection import Response
from adapters.http.failures import refused
from adapters.runpod.jobs import EXPIRED, QueueHealth, RunPodJob, decode_health, decode_job
from adapters.runpod.settings import RunPodSettings

_POLL_TIMEOUT = 10.0
_ANSWER_GRACE = 10.0
"""Seconds past its wait after which a held submit is given up."""


class JobApi:
    """The requests, each answered by a value. Raises BackendError."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        self.secrets = settings.secrets
        self._clock = clock
        self._settings = settings
        self._headers = settings.auth
        self._origin = Origin(settings.base_url)
        self._client = client_of(self._origin, clock, settings)
        self._wait_ms = int(min(max(settings.wait, 1.0), 300.0) * 1000)
        self._runsync_head = self._head("POST", f"/runsync?wait={self._wait_ms}")
        self._run_head = self._head("POST", "/run")

    def __repr__(self) -> str:
        return repr(self._client)

    def start(self) -> None:
        self._client.start()

    async def aclose(self) -> None:
        await self._client.aclose()

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
        return await self._client.submit(head, body, deadline=give_up)

    async def run(self, body: bytes, deadline: float) -> asyncio.Future[Response]:
        """Submits without being held. The answer outlives whoever waits for it, as above."""
        give_up = min(deadline, self._clock.monotonic() + _ANSWER_GRACE)
        return await self._client.submit(self._run_head, body, deadline=give_up)

    def accepted(self, response: Response) -> RunPodJob:
        """The job that a submit's answer names."""
        if response.status not in (200, 201, 202):
            raise self._refused(response)
        job = decode_job(response.body)
        if not job.final and not job.id:
            raise BackendError(
                FailureClass.AMBIGUOUS, "The platform took the job and did not name it."
            )
        return job

    async def status(self, job_id: str, deadline: float) -> RunPodJob:
        """How a job stands. One that the platform no longer knows has expired."""
        return await self._about(job_id, f"/status/{job_id}", deadline)

    async def drain(self, job_id: str, deadline: float) -> RunPodJob:
        """What a job has put out since it was last asked; what a lost answer held is gone."""
        return await self._about(job_id, f"/stream/{job_id}", deadline)

    async def retry(self, job_id: str) -> bool:
        """Whether the platform runs a job that failed once more, under its own id. The output
        that it had is dropped."""
        head = self._head("POST", f"/retry/{job_id}")
        response = await self._client.request(head, b"", deadline=self._soon())
        return response.status == 200

    async def cancel(self, job_id: str) -> bool:
        """Whether the platform has stopped it, or no longer knows it."""
        head = self._head("POST", f"/cancel/{job_id}")
        response = await self._client.request(head, b"", deadline=self._soon())
        return response.status in (200, 404)

    async def health(self, deadline: float) -> QueueHealth:
        response = await self._client.request(self._head("GET", "/health"), deadline=deadline)
        if response.status != 200:
            raise self._refused(response)
        return decode_health(response.body)

    # --- inside ----------------------------------------------------------------------------

    async def _about(self, job_id: str, path: str, deadline: float) -> RunPodJob:
        method = self._settings.status_method
        body = None if method == "GET" else b""
        head = self._head(method, path)
        response = await self._client.request(head, body, deadline=min(deadline, self._soon()))
        if response.status == 404:
            return RunPodJob(id=job_id, status=EXPIRED)
        if response.status != 200:
            raise self._refused(response)
        return decode_job(response.body)

    def _head(self, method: str, path: str) -> bytes:
        segment = f"/{self._settings.endpoint}" if self._settings.endpoint else ""
        return render_head(method, self._origin, segment + path, self._headers)

    def _soon(self) -> float:
        return self._clock.monotonic() + _POLL_TIMEOUT

    def _refused(self, response: Response) -> BackendError:
        return refused(response, now=self._clock.time(), secrets=self.secrets)
