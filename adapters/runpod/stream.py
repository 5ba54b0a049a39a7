"""The chunks of a RunPod job, from ``/stream`` polls."""

from __future__ import annotations

from typing import Protocol

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.chunks import ReadyChunks
from adapters.http.failures import cleaned
from adapters.http.opened import as_chunks
from adapters.http.outputs import event_of
from adapters.http.sse import DONE, EventReader, frame
from adapters.http.stated_usage import told, with_stated
from adapters.polling import Patience, note, pace
from adapters.runpod.jobs import QUEUED, RunPodJob
from adapters.types import Call, Chunk, Progress, Usage
from adapters.whole_events import MAX_EVENT

_NOT_ASKED = frozenset((FailureClass.UNREACHABLE, FailureClass.OVERLOADED, FailureClass.LOADING))
"""Failures of a poll that drained nothing: it may be repeated."""


class JobSource(Protocol):
    """What a stream asks of the adapter."""

    async def drain(self, job_id: str, deadline: float) -> RunPodJob:
        """What the job has put out since it was last asked. Raises BackendError."""
        ...

    async def final(self, job_id: str, deadline: float, progress: Progress) -> RunPodJob:
        """The job once it has ended. Raises TIMEOUT, or AMBIGUOUS."""
        ...

    def conclude(
        self, call_id: str, job: RunPodJob, submitted: float
    ) -> tuple[Usage, BackendError | None]:
        """The job has ended: what it used, and why it failed if it did."""
        ...

    async def abandon(self, call_id: str) -> Usage | None:
        """Nobody can use the rest: what it used, where it was stopped."""
        ...


class JobOnlooker:
    """The source of one who only looks on: where output was lost, the job runs on, since its
    answer can still be asked for."""

    def __init__(self, source: JobSource) -> None:
        self.drain = source.drain
        self.final = source.final
        self.conclude = source.conclude

    async def abandon(self, call_id: str) -> Usage | None:
        """Stops nothing."""
        return None


class JobStream(ReadyChunks):
    """One streamed job. No connection is open between two polls.

    An output that is text in the form of server-sent events (RunPod's vLLM worker) is passed on
    as it is; any other becomes the data of one event.
    """

    def __init__(
        self,
        source: JobSource,
        clock: Clock,
        *,
        job_id: str,
        call: Call,
        deadline: float,
        submitted: float,
        every: float,
        max_event: int = MAX_EVENT,
    ) -> None:
        super().__init__()
        self._source = source
        self._clock = clock
        self._job_id = job_id
        self._call = call
        self._deadline = deadline
        self._submitted = submitted
        self._every = every
        self._reader = EventReader(openai=call.task != "infer", max_event=max_event)
        self._patience = Patience()

    def _let_go(self) -> None:
        """No connection is open."""

    async def _fill(self) -> None:
        while not self._ready and not self._ended:
            if self._reader.error is not None:
                await self._break_off(self._reader.error)
            job = await self._poll()
            self._take(job)
            if job.final:
                await self._finish()
            elif not self._ready and self._reader.error is None:
                await self._pause(job)

    async def _poll(self) -> RunPodJob:
        """One poll. A lost answer is lost output."""
        try:
            job = await self._source.drain(self._job_id, self._deadline)
        except BackendError as error:
            await self._bear(error)
            return RunPodJob(id=self._job_id, status=QUEUED)
        self._patience.went_well()
        if not job.final:
            note(self._call.progress, self._clock.monotonic(), queued=job.status == QUEUED)
        return job

    async def _bear(self, error: BackendError) -> None:
        now = self._clock.monotonic()
        if now >= self._deadline:
            return
        if error.failure not in _NOT_ASKED:
            await self._break_off(_lost(error, begun=self._reader.frames))
        try:
            wait = self._patience.bear(error)
        except BackendError as lost:
            await self._break_off(lost)
        else:
            await self._clock.sleep(min(wait, self._deadline - now))

    def _take(self, job: RunPodJob) -> None:
        data = b"".join(event_of(bytes(part.output)) for part in job.stream or ())
        if data:
            self._ready.extend(chunk for chunk in self._reader.feed(data) if chunk.kind != "done")

    async def _pause(self, job: RunPodJob) -> None:
        now = self._clock.monotonic()
        if now >= self._deadline:
            self._ended = True
            raise BackendError(FailureClass.TIMEOUT, "The backend did not finish in time.")
        wait = pace(now - self._submitted, self._every) if job.status == QUEUED else self._every
        await self._clock.sleep(min(wait, self._deadline - now))

    async def _finish(self) -> None:
        """The job has ended: its record says how, and what it used."""
        self._ended = True
        job = await self._source.final(self._job_id, self._deadline, self._call.progress)
        usage, error = self._source.conclude(self._call.id, job, self._submitted)
        if error is None and self._reader.error is None and not self._reader.frames:
            usage = self._answer_unstreamed(job, usage)
        error = error or _charged(self._reader.error, usage)
        if error is not None:
            self._ready.clear()
            raise error
        self._ready.append(self._last(usage))

    def _answer_unstreamed(self, job: RunPodJob, usage: Usage) -> Usage:
        """A handler that is no generator: its one output, as a stream; what it used."""
        output = bytes(job.output) or b"null"
        if self._call.task == "infer":
            self._ready.append(Chunk(frame(output)))
            return usage
        *chunks, last = as_chunks(output, self._call.task, usage)
        self._ready.extend(chunks)
        return last.usage or usage

    def _last(self, usage: Usage) -> Chunk:
        if self._call.task == "infer":
            return Chunk(b"", "data", usage)
        said = self._reader.usage
        if told(said):
            usage = with_stated(usage, said)
        return Chunk(DONE, "done", usage)

    async def _break_off(self, error: BackendError) -> None:
        self._ended = True
        usage = await self._source.abandon(self._call.id)
        raise cleaned(error, usage=usage)


def _lost(error: BackendError, *, begun: bool) -> BackendError:
    return BackendError(
        FailureClass.TRUNCATED if begun else FailureClass.AMBIGUOUS,
        "A part of the backend's answer was lost.",
        detail=error.detail or error.message,
    )


def _charged(error: BackendError | None, usage: Usage) -> BackendError | None:
    return None if error is None else cleaned(error, usage=usage)
