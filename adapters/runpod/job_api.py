"""RunPod's job plane (api.runpod.ai): each request, answered by a value.

Source: https://docs.runpod.io/serverless/endpoints/operation-reference
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.api import Api
from adapters.http.endpoint_words import about_the_endpoint, no_job
from adapters.http.response import Response
from adapters.runpod.jobs import EXPIRED, QueueHealth, RunPodJob, decode_health, decode_job
from adapters.runpod.settings import RunPodSettings
from adapters.shapes.json_texts import read_if

_ASK_S = 10.0
_ANSWER_GRACE_S = 10.0
"""Past its wait, after which a held submit is given up."""


class JobApi(Api):
    """The requests of one endpoint's jobs."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        super().__init__(
            settings.endpoint_url, clock, settings, headers=settings.auth, secrets=settings.secrets
        )
        self._wait_ms = int(min(max(settings.wait, 1.0), 300.0) * 1000)
        self._runsync_head = self.head("POST", f"/runsync?wait={self._wait_ms}")
        self._run_head = self.head("POST", "/run")

    async def run_sync(self, body: bytes, deadline: float) -> asyncio.Future[Response]:
        """Submits. The answer outlives whoever waits for it, for it alone names the job; it comes
        within the wait and ten seconds, or is AMBIGUOUS or TIMEOUT."""
        now = self.clock.monotonic()
        # Held a little less than the caller waits, so that the job's id comes before he leaves.
        wait_ms = max(1000, min(self._wait_ms, int(min(deadline - now - 1.0, 300.0) * 1000)))
        head = self._runsync_head
        if wait_ms != self._wait_ms:
            head = self.head("POST", f"/runsync?wait={wait_ms}")
        give_up = min(deadline, now + wait_ms / 1000 + _ANSWER_GRACE_S)
        return await self.client.submit(head, body, deadline=give_up)

    async def run(self, body: bytes, deadline: float) -> asyncio.Future[Response]:
        """Submits without being held. The answer outlives whoever waits for it, as above."""
        give_up = self.before(deadline, _ANSWER_GRACE_S)
        return await self.client.submit(self._run_head, body, deadline=give_up)

    def accepted(self, response: Response) -> RunPodJob:
        """The job that a submit's answer names. Raises what a refusal means, and AMBIGUOUS where
        the job runs and has no name. Words in the place of a job mean that there is none."""
        body = self.checked(response).body
        answer = read_if(body, dict[str, Any]) or {}
        named = answer.get("status") or answer.get("id")
        if not named and (refused := no_job(answer, self.secrets)):
            raise refused
        job = decode_job(body)
        if not job.final and not job.id:
            raise BackendError(
                FailureClass.AMBIGUOUS, "The platform took the job and did not name it."
            )
        return job

    def refusal(self, response: Response) -> BackendError:
        """What is said of the endpoint is nothing that a call has done."""
        return about_the_endpoint(super().refusal(response), no_handlers=True)

    async def status(self, job_id: str, deadline: float) -> RunPodJob:
        """How a job stands. One that the platform no longer knows has expired. Raises
        BackendError of the question."""
        return await self._about(job_id, f"/status/{job_id}", deadline)

    async def drain(self, job_id: str, deadline: float) -> RunPodJob:
        """What a job has put out since it was last asked; what a lost answer held is gone."""
        return await self._about(job_id, f"/stream/{job_id}", deadline)

    async def retry(self, job_id: str) -> bool:
        """Whether the platform runs a job that failed once more, under its own id. The output
        that it had is dropped."""
        response = await self.send("POST", f"/retry/{job_id}", b"", within=_ASK_S)
        return response.status == 200

    async def cancel(self, job_id: str) -> bool:
        """Whether the platform has stopped it, or no longer knows it."""
        response = await self.send("POST", f"/cancel/{job_id}", b"", within=_ASK_S)
        return response.status in (200, 404)

    async def health(self, deadline: float) -> QueueHealth:
        """The endpoint's workers and jobs in numbers."""
        return decode_health((await self.ask("GET", "/health", deadline=deadline)).body)

    async def _about(self, job_id: str, path: str, deadline: float) -> RunPodJob:
        response = await self.ask("GET", path, within=_ASK_S, deadline=deadline, also=(404,))
        if response.status == 404:
            return RunPodJob(id=job_id, status=EXPIRED)
        return msgspec.structs.replace(decode_job(response.body), id=job_id)
