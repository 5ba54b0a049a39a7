"""RunPod's jobs as values: what an answer says, what it cost, what became of it. Pure.

Times on the wire are milliseconds (``delayTime``, ``executionTime``); here they are seconds.
``executionTime`` understates the bill: the platform also charges a worker's start and its idle
seconds.

A job that ended before a worker took it is owed nothing, and any other backend may have its call.
CANCELLED says of neither whether it ran, and TIMED_OUT is said both of a job that no worker picked
up and of one whose worker never reported back. Assumed: what a worker took was seen in progress, or
names its ``executionTime`` or ``workerId``, or has output or an error that only a handler makes.

Sources: https://docs.runpod.io/serverless/endpoints/operation-reference,
https://docs.runpod.io/serverless/endpoints/job-states, as of 2026-08.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from adapters.errors import BackendError, FailureClass, Fault
from adapters.http.failures import classify_error, clean
from adapters.http.outputs import answer_of
from adapters.remote_jobs import MOST_JOBS
from adapters.settings import Secret
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read, read_if
from adapters.types import Reply, Task, Usage

EXPIRED = "EXPIRED"
"""Ours: the platform answers 404 for a job that it once took."""
QUEUED = "IN_QUEUE"
UNREADABLE = "The platform's answer could not be read."
_FINAL = frozenset(("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT", EXPIRED))
_CLASS_NAME = re.compile(r"<class '(?:[\w.]*\.)?(\w+)'>")
_CALLERS_FAULT = frozenset((FailureClass.INVALID, FailureClass.TOO_LARGE, FailureClass.UNSUPPORTED))
_MAX_WORKERS_KNOWN = 1024
_SHORTEST_RUN, _SHORTEST_LIFE, _LONGEST_LIFE = 5.0, 10.0, 7 * 86_400.0
"""Seconds: the bounds that the platform sets to executionTimeout and ttl."""
_LONGEST_MS = 31 * 86_400_000
"""Milliseconds: far longer than any job may take."""
_NOTHING = msgspec.Raw(b"")
_SAYS_NOTHING = frozenset((b"", b"null"))


class StreamPart(msgspec.Struct, frozen=True):
    """One piece of output in an answer of ``/stream``."""

    output: msgspec.Raw = _NOTHING


class RunPodJob(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One answer about a job, from any of the job plane's routes.

    An ``output`` under any status but COMPLETED is progress, not a result. Times and the worker are
    beside the answer and never decide over it: of another shape they are unknown.
    """

    id: str = ""
    status: Annotated[str, msgspec.Meta(min_length=1)]
    output: msgspec.Raw = _NOTHING
    error: Any = None
    delay_time: Any = None
    execution_time: Any = None
    worker_id: Any = None
    stream: tuple[StreamPart, ...] | None = None

    @property
    def delay_s(self) -> float | None:
        """How long it waited, a worker's start included."""
        return _seconds(self.delay_time)

    @property
    def ran_s(self) -> float | None:
        """How long it ran."""
        return _seconds(self.execution_time)

    @property
    def worker(self) -> str | None:
        """Who ran it."""
        return self.worker_id if isinstance(self.worker_id, str) else None

    @property
    def has_output(self) -> bool:
        """Whether it has put anything out."""
        return bytes(self.output) not in _SAYS_NOTHING or bool(self.stream)

    @property
    def was_taken(self) -> bool:
        """Whether it says itself that a worker has had it."""
        ran = bool(self.ran_s) or self.worker is not None
        return ran or self.has_output or _is_a_handlers(self.error)

    @property
    def final(self) -> bool:
        """Whether it has ended. An unknown status has not: the caller's deadline bounds it."""
        return self.status in _FINAL


class QueueHealth(msgspec.Struct, frozen=True):
    """``/health``, read leniently: live answers carry more counts than the documented ones."""

    jobs: dict[str, int] = {}
    workers: dict[str, int] = {}

    @property
    def warm(self) -> int:
        """Workers that are up."""
        return self.workers.get("idle", 0) + self.workers.get("running", 0)

    @property
    def starting(self) -> int:
        """Workers that are on their way up."""
        return self.workers.get("initializing", 0)

    @property
    def throttled(self) -> int:
        """Workers that are wanted, and for which no device is free."""
        return self.workers.get("throttled", 0)

    @property
    def queued(self) -> int:
        """Jobs that wait for a worker."""
        return self.jobs.get("inQueue", 0)


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What every job of a backend is submitted with; ``longest`` in seconds."""

    longest: float
    low_priority: bool = False
    webhook: Secret | None = None

    def around(self, job_input: bytes, remaining: float) -> bytes:
        """The body of a submit around a job's input. ``remaining``: seconds that anybody waits
        for it, queue and run; past them the platform ends the job by itself."""
        low = b',"lowPriority":true' if self.low_priority else b""
        hook = b""
        if self.webhook is not None:
            hook = b',"webhook":' + msgspec.json.encode(self.webhook.reveal())
        return b'{"input":%b,"policy":{"executionTimeout":%d,"ttl":%d%b}%b}' % (
            job_input,
            _milliseconds(min(remaining, self.longest), _SHORTEST_RUN),
            _milliseconds(remaining, _SHORTEST_LIFE),
            low,
            hook,
        )


def decode_job(body: bytes) -> RunPodJob:
    """Raises FAILED for anything that is no job."""
    return read(body, RunPodJob, UNREADABLE)


def decode_health(body: bytes) -> QueueHealth:
    """Raises FAILED for anything that is no ``/health``."""
    return read(body, QueueHealth, UNREADABLE)


class Warmth:
    """Which delays were cold starts: the platform reports queue and start as one figure.

    Assumed: a job waited in a queue, not for a start, when its worker has been seen within
    ``window`` seconds, or, where no worker is named, when any job ended within them. ``window``
    is the endpoint's idle time-out.
    """

    __slots__ = ("_last", "_window", "_workers")

    def __init__(self, window: float) -> None:
        self._window = window
        self._last = float("-inf")
        self._workers: dict[str, float] = {}

    def usage(self, job: RunPodJob, *, submitted: float, now: float) -> Usage:
        """What a job that ended used; remembers its worker. Instants on one monotonic scale."""
        delay, ran, worker = job.delay_s, job.ran_s, job.worker
        warm = self._was_warm(worker, submitted)
        if ran is not None:
            self._note_worker(worker, now)
        return Usage(
            queue_s=delay if warm or delay is None else 0.0,
            cold_s=None if delay is None else (0.0 if warm else delay),
            exec_s=ran,
            gpu_s=ran,
            worker=worker,
            reported=ran is not None,
        )

    def _was_warm(self, worker: str | None, submitted: float) -> bool:
        seen = self._last if worker is None else self._workers.get(worker, float("-inf"))
        return submitted - seen <= self._window

    def _note_worker(self, worker: str | None, now: float) -> None:
        self._last = now
        if worker is None:
            return
        self._workers.pop(worker, None)
        self._workers[worker] = now
        if len(self._workers) > _MAX_WORKERS_KNOWN:
            del self._workers[next(iter(self._workers))]


def added(first: Usage, second: Usage) -> Usage:
    """What two runs of one job used; the second one's worker."""
    return msgspec.structs.replace(
        second,
        queue_s=_sum(first.queue_s, second.queue_s),
        cold_s=_sum(first.cold_s, second.cold_s),
        exec_s=_sum(first.exec_s, second.exec_s),
        gpu_s=_sum(first.gpu_s, second.gpu_s),
        reported=first.reported and second.reported,
    )


class SeenRunning:
    """Jobs that were seen in a worker's hands, by their ids."""

    __slots__ = ("_ids",)

    def __init__(self) -> None:
        self._ids: dict[str, bool] = {}

    def note(self, job: RunPodJob) -> None:
        """What an answer says of a job. An unknown status is taken for a run."""
        if job.stream or not (job.final or job.status == QUEUED):
            self._ids[job.id] = True
            if len(self._ids) > MOST_JOBS:
                del self._ids[next(iter(self._ids))]

    def ended(self, job_id: str) -> bool:
        """Whether the job was among them; it is asked about no more."""
        return self._ids.pop(job_id, False)


def failure_of(
    job: RunPodJob, usage: Usage, secrets: Sequence[Secret] = (), *, seen_running: bool = True
) -> BackendError | None:
    """Why a job that ended has no result; None when it has one."""
    if job.status == "COMPLETED":
        return None
    if job.status != EXPIRED and not (seen_running or job.was_taken):
        return _never_began(job, secrets)
    if job.status == "CANCELLED":
        return BackendError(
            FailureClass.CANCELLED, "The job was cancelled at the platform.", usage=usage
        )
    if job.status == EXPIRED:  # nobody says any more whether it ran
        return BackendError(
            FailureClass.AMBIGUOUS, "The platform has forgotten the job.", usage=usage
        )
    if job.status == "TIMED_OUT":
        return BackendError(
            FailureClass.TIMEOUT, "The job's time at the platform ran out.", usage=usage
        )
    error = _opened(job.error)
    message = clean(_words_of(error), secrets) or "The job failed at the platform."
    return BackendError(_class_of(error), message, usage=usage)


def _never_began(job: RunPodJob, secrets: Sequence[Secret]) -> BackendError:
    """What is said of a failure may be the request's: a single one blames nobody."""
    said = clean(_words_of(_opened(job.error)), secrets)
    return BackendError(
        FailureClass.NOT_STARTED,
        f"The job ended at the platform before it began{': ' + said if said else '.'}",
        detail=job.status,
        fault=Fault.SUSPECT if said else None,
    )


def reply_of(job: RunPodJob, task: Task, usage: Usage, secrets: Sequence[Secret] = ()) -> Reply:
    """The answer in a COMPLETED job; a handler that returned nothing answers null.

    RunPod's vLLM worker is a generator, so its one answer comes as a list of one; an OpenAI
    error object in it is a failure that was run and is charged.
    """
    return answer_of(bytes(job.output), task, usage, secrets)


def _opened(error: Any) -> Any:
    """An error that is JSON in a string, as the value it holds."""
    if not isinstance(error, str) or not error.startswith("{"):
        return error
    value = read_if(error, dict[str, Any])
    return error if value is None else value


def _is_a_handlers(error: Any) -> bool:
    """Whether an error is one of those that the platform's own SDK writes, or is no text at all."""
    opened = _opened(error)
    return bool(opened) and (not isinstance(opened, str) or "traceback" in opened.lower())


def _class_of(error: Any) -> FailureClass:
    """FAILED, for the handler ran; unless it says by an OpenAI error object that the caller's
    input was at fault."""
    kind = classify_error(error)
    return kind if kind in _CALLERS_FAULT else FailureClass.FAILED


def _words_of(error: Any) -> str:
    """The type and the message; the SDK's own error object also holds a traceback and a host."""
    if not isinstance(error, dict):
        return words_in(error)
    kind = _CLASS_NAME.sub(r"\1", str(error.get("error_type") or ""))
    message = words_in(error)
    return f"{kind}: {message}" if kind else message


def _sum(first: float | None, second: float | None) -> float | None:
    known = [value for value in (first, second) if value is not None]
    return sum(known) if known else None


def _milliseconds(seconds: float, shortest: float) -> int:
    return int(min(max(seconds, shortest), _LONGEST_LIFE) * 1000)


def _seconds(milliseconds: Any) -> float | None:
    """Of a number, also as text; None of all else, and of what no job takes or has taken."""
    if isinstance(milliseconds, str):
        with contextlib.suppress(ValueError):
            milliseconds = float(milliseconds)
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return None
    return milliseconds / 1000 if 0 <= milliseconds <= _LONGEST_MS else None
