"""Calls as jobs of a RunPod endpoint's queue, over the job plane.

The platform takes no idempotency key, so nothing is submitted twice: whatever happens after a
submit has left, the job is found again by its id, or the call is AMBIGUOUS. A whole answer is
one ``/runsync`` held for ``wait``, and after that ``/status`` polls; a stream is ``/run``, then
``/stream`` polls, of which each drains what is new, so a lost one ends the stream. A call that
is cancelled while ``/runsync`` is held has no id yet: its answer is kept until ``cancel``, which
waits for it (at most ``wait``) and stops the job.

Assumed, for nothing here was run against the live platform: a status that is not known means
that the job goes on; a 404 for a job that was taken means that its time-to-live has passed.

Source: https://docs.runpod.io/serverless/endpoints/operation-reference, as of 2026-08.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import msgspec

from adapters.base import PROBE_S, Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.failures import cleaned
from adapters.http.outputs import input_of
from adapters.polling import note, poll_until, unanswered
from adapters.remote_jobs import RemoteJobs
from adapters.routes import OPENAI_ROUTES
from adapters.runpod.job_api import JobApi
from adapters.runpod.jobs import (
    EXPIRED,
    QUEUED,
    QueueHealth,
    RunPodJob,
    SeenRunning,
    Submission,
    Warmth,
    added,
    failure_of,
    reply_of,
)
from adapters.runpod.settings import RunPodSettings
from adapters.runpod.stream import JobOnlooker, JobSource, JobStream
from adapters.types import Call, Chunk, Handle, JobState, Progress, Reply, Usage

RUN_LIMIT = 10_000_000
"""Bytes of a body that /run takes."""
RUNSYNC_LIMIT = 20_000_000


class QueueCalls:
    """The calls of an endpoint with a queue. Raises BackendError."""

    def __init__(self, settings: RunPodSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._api = JobApi(settings, clock)
        self._warmth = Warmth(settings.warm_for)
        self._running = SeenRunning()
        self._envelope = Submission(
            longest=settings.execution_timeout or math.inf,
            low_priority=settings.low_priority,
            webhook=settings.webhook,
        )
        self._jobs = RemoteJobs(self._stop, clock, named=self._api.accepted)

    def __repr__(self) -> str:
        return f"{len(self._jobs)} jobs, {self._api!r}"

    def start(self) -> None:
        self._api.start()

    async def aclose(self) -> None:
        await self._jobs.aclose()
        await self._api.aclose()

    async def invoke(self, call: Call) -> Reply:
        started = self._clock.monotonic()
        deadline = min(call.deadline, started + self._settings.timeout)
        body = self._envelope.around(_input_of(call), deadline - started)
        if call.stream:
            return await self._stream(call, body, deadline)
        if len(body) > RUNSYNC_LIMIT:
            raise _too_large(RUNSYNC_LIMIT)
        job = await self._run(call.id, body, deadline, call.progress)
        usage, error = self.conclude(call.id, job, started)
        for _ in range(self._settings.retries):
            if error is None or not await self._runs_again(call, job, error, deadline):
                break
            job = await self.final(job.id, deadline, call.progress)
            spent = usage
            usage, error = self.conclude(call.id, job, started)
            usage = added(spent, usage)
        if error is not None:
            raise cleaned(error, usage=usage)
        return reply_of(job, call.task, usage, self._api.secrets)

    async def cancel(self, call_id: str) -> Usage | None:
        """Stops a call's job. Waits for the job's id where the submit is still held."""
        return await self._jobs.cancel(call_id)

    async def ping(self) -> Usage:
        """One tiny job. A handler that does not know it fails it, and its worker is awake all
        the same."""
        started = self._clock.monotonic()
        deadline = started + self._settings.timeout
        tiny = msgspec.json.encode(self._settings.ping_input)
        body = self._envelope.around(tiny, deadline - started)
        job = await self._run("", body, deadline, Progress())
        usage, error = self.conclude("", job, started)
        if error is not None and error.failure is not FailureClass.FAILED:
            raise error
        return usage

    async def health(self, deadline: float) -> QueueHealth:
        """The endpoint's workers and jobs in numbers."""
        return await self._api.health(deadline)

    # --- jobs that outlive their caller ----------------------------------------------------

    async def submit(self, call: Call) -> Handle:
        """One ``/run``. The platform keeps its result for 30 minutes after the job's end."""
        now = self._clock.monotonic()
        remaining = call.deadline - now
        allowed = remaining if math.isfinite(remaining) else self._settings.timeout
        body = self._envelope.around(_input_of(call), allowed)
        job = await self._hand_over(call.id, body, now + allowed)
        return Handle(job=job.id, call=call.id, task=call.task, submitted=self._clock.time())

    async def poll(self, handle: Handle) -> JobState:
        try:
            job = await self._api.status(handle.job, math.inf)
        except BackendError as error:
            raise unanswered(error) from None
        self._running.note(job)
        if not job.final:
            return JobState(
                status="queued" if job.status == QUEUED else "running",
                progress=job.output if job.has_output else None,
            )
        usage, failed = self.conclude(handle.call, job, self._submitted(handle))
        if failed is not None:
            raise failed
        reply = reply_of(job, handle.task, usage, self._api.secrets)
        return JobState(status="done", reply=reply)

    async def stop(self, handle: Handle) -> Usage | None:
        if not await self._api.cancel(handle.job):
            job = await self._api.status(handle.job, math.inf)
            if not job.final:
                raise _not_stopped()
        return await self._used(handle.job)

    async def follow(self, handle: Handle, deadline: float) -> AsyncIterator[Chunk]:
        """Each poll of ``/stream`` drains what it is told: two followers share one output."""
        call = Call(id=handle.call, model="", task=handle.task, body=b"", stream=True)
        chunks = self._chunks(
            JobOnlooker(self), handle.job, call, deadline, self._submitted(handle)
        )
        await chunks.first()
        return chunks

    # --- for a stream ----------------------------------------------------------------------

    async def drain(self, job_id: str, deadline: float) -> RunPodJob:
        """What a job has put out since it was last asked."""
        job = await self._api.drain(job_id, deadline)
        self._running.note(job)
        return job

    async def final(self, job_id: str, deadline: float, progress: Progress) -> RunPodJob:
        """The job once it has ended; meanwhile the call's progress. Raises TIMEOUT, or AMBIGUOUS
        when it cannot be asked."""
        return await poll_until(
            lambda: self._ended(job_id, deadline, progress),
            self._clock,
            deadline=deadline,
            every=self._settings.poll_every,
        )

    def conclude(
        self, call_id: str, job: RunPodJob, submitted: float
    ) -> tuple[Usage, BackendError | None]:
        """A job has ended: what it used, and why it failed if it did. One that the platform does
        not know any more can still be told to stop."""
        if job.status != EXPIRED:
            self._jobs.forget(call_id)
        ran = self._running.ended(job.id)
        usage = self._warmth.usage(job, submitted=submitted, now=self._clock.monotonic())
        return usage, failure_of(job, usage, self._api.secrets, seen_running=ran)

    async def abandon(self, call_id: str) -> Usage | None:
        """Stops a job whose output was lost: nobody can use the rest."""
        return await self._jobs.cancel(call_id)

    # --- the life of a job -----------------------------------------------------------------

    async def _run(
        self, call_id: str, body: bytes, deadline: float, progress: Progress
    ) -> RunPodJob:
        """Submits, holds, polls: the job once it has ended."""
        submit = await self._api.run_sync(body, deadline)
        job = await self._jobs.submitted(call_id, submit)
        if job.final:
            return job
        self._remember(call_id, job.id)
        self._note(job, progress)
        return await self.final(job.id, deadline, progress)

    async def _runs_again(
        self, call: Call, job: RunPodJob, error: BackendError, deadline: float
    ) -> bool:
        """Whether a job that failed was handed to the platform once more."""
        if error.failure is not FailureClass.FAILED or job.status != "FAILED" or not job.id:
            return False
        if self._clock.monotonic() >= deadline:
            return False
        self._remember(call.id, job.id)
        self._running.note(RunPodJob(id=job.id, status="RUNNING"))  # it has run, whatever follows
        try:
            return await self._api.retry(job.id)
        except BackendError as lost:
            if lost.failure.maybe_running:
                await self._jobs.cancel(call.id)
            return False

    async def _stream(self, call: Call, body: bytes, deadline: float) -> Reply:
        submitted = self._clock.monotonic()
        job = await self._hand_over(call.id, body, deadline)
        self._remember(call.id, job.id)
        self._note(job, call.progress)
        chunks = self._chunks(self, job.id, call, deadline, submitted)
        await chunks.first()
        return Reply(content_type="text/event-stream", chunks=chunks)

    async def _hand_over(self, call_id: str, body: bytes, deadline: float) -> RunPodJob:
        if len(body) > RUN_LIMIT:
            raise _too_large(RUN_LIMIT)
        submit = await self._api.run(body, deadline)
        return await self._jobs.submitted(call_id, submit)

    def _chunks(
        self, source: JobSource, job_id: str, call: Call, deadline: float, submitted: float
    ) -> JobStream:
        return JobStream(
            source,
            self._clock,
            job_id=job_id,
            call=call,
            deadline=deadline,
            submitted=submitted,
            every=self._settings.stream_every,
            max_event=self._settings.max_event,
        )

    async def _ended(self, job_id: str, deadline: float, progress: Progress) -> RunPodJob | None:
        job = await self._api.status(job_id, deadline)
        self._note(job, progress)
        return job if job.final else None

    def _note(self, job: RunPodJob, progress: Progress) -> None:
        self._running.note(job)
        if not job.final:
            note(progress, self._clock.monotonic(), queued=job.status == QUEUED)

    async def _stop(self, job: RunPodJob) -> Usage | None:
        """Cancels at the platform; what the job used, where the platform says so."""
        if job.final:
            now = self._clock.monotonic()
            return self._warmth.usage(job, submitted=now, now=now)
        if not await self._api.cancel(job.id):
            raise _not_stopped()
        return await self._used(job.id)

    async def _used(self, job_id: str) -> Usage | None:
        now = self._clock.monotonic()
        try:
            job = await self._api.status(job_id, now + PROBE_S)
        except BackendError:
            return None
        if job.ran_s is None:
            return None
        return self._warmth.usage(job, submitted=now, now=now)

    def _remember(self, call_id: str, job_id: str) -> None:
        self._jobs.remember(call_id, RunPodJob(id=job_id, status=QUEUED))

    # --- inside ----------------------------------------------------------------------------

    def _submitted(self, handle: Handle) -> float:
        """The instant on the monotonic scale of this process."""
        return self._clock.monotonic() - max(0.0, self._clock.time() - handle.submitted)


def _input_of(call: Call) -> bytes:
    """The job's input around the caller's own bytes. Raises INVALID for no JSON object."""
    body = input_of(call.body)
    if call.task == "infer":
        return body
    route = OPENAI_ROUTES[call.task].encode()
    return b'{"openai_route":"%b","openai_input":%b}' % (route, body)


def _not_stopped() -> BackendError:
    return BackendError(FailureClass.UNREACHABLE, "The platform did not stop the job.")


def _too_large(limit: int) -> BackendError:
    return BackendError(
        FailureClass.TOO_LARGE, f"The platform takes at most {limit} bytes for this kind of call."
    )
