"""The queue behind the front, as a state machine. Pure: time is passed in, nothing waits.

    IN_QUEUE -> IN_PROGRESS -> COMPLETED | FAILED | CANCELLED | TIMED_OUT
       |             '-> TIMED_OUT past executionTimeout (the worker is told to stop)
       |-> CANCELLED
       '-> gone past its ttl, in whatever state: nobody can ask for it any more

Instants and durations are seconds on the caller's clock.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import StrEnum

import msgspec

RESULT_KEPT = 1800.0
"""How long the result of /run is kept; RunPod's 30 minutes. Of /runsync, its minute or five."""
SYNC_RESULT_KEPT = 300.0
NOTHING = msgspec.Raw(b"")
"""No output, no error: other than the JSON null that a handler may return."""


class State(StrEnum):
    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


FINAL = frozenset((State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT))


class QueueFull(Exception):
    """No more jobs are taken in now."""


class JobPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """What a submit may ask for; milliseconds, as on the wire."""

    execution_timeout: float = 600_000
    ttl: float = 86_400_000
    low_priority: bool = False


class Job:
    """One job and all that is known of it."""

    __slots__ = (
        "ended",
        "error",
        "id",
        "input",
        "output",
        "parts",
        "policy",
        "state",
        "submitted",
        "sync",
        "taken",
        "worker",
    )

    def __init__(
        self, job_id: str, job_input: msgspec.Raw, policy: JobPolicy, *, sync: bool, now: float
    ) -> None:
        self.id = job_id
        self.input = job_input
        self.policy = policy
        self.sync = sync
        self.state = State.IN_QUEUE
        self.submitted = now
        self.taken: float | None = None
        self.ended: float | None = None
        self.worker: str | None = None
        self.output = NOTHING
        self.error = NOTHING
        self.parts: deque[msgspec.Raw] = deque()

    @property
    def final(self) -> bool:
        return self.state in FINAL

    def back_to_queue(self, now: float) -> None:
        self.state = State.IN_QUEUE
        self.submitted = now
        self.taken = self.ended = self.worker = None
        self.output = self.error = NOTHING
        self.parts.clear()


class JobQueue:
    """At most ``limit`` jobs wait; results are dropped when their time is up."""

    def __init__(self, *, limit: int = 1000) -> None:
        self._limit = limit
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: dict[str, Job] = {}
        self._stops: dict[str, list[str]] = {}
        self._count = 0
        self.totals: Counter[str] = Counter()

    # --- the caller's side -----------------------------------------------------------------

    def submit(self, job_input: msgspec.Raw, policy: JobPolicy, *, sync: bool, now: float) -> Job:
        if len(self._waiting) >= self._limit:
            raise QueueFull
        self._count += 1
        job_id = f"{'sync-' if sync else ''}{self._count:08d}-u1"
        job = Job(job_id, job_input, policy, sync=sync, now=now)
        self._jobs[job_id] = job
        self._waiting.append(job)
        return job

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    def drain(self, job: Job) -> list[msgspec.Raw]:
        """What it has put out since the last time."""
        parts = list(job.parts)
        job.parts.clear()
        return parts

    def cancel(self, job: Job, now: float) -> None:
        self._stop_worker(job)
        self._end(job, State.CANCELLED, now)

    def retry(self, job: Job, now: float) -> bool:
        """Only a job that failed or ran out of time goes back to the queue."""
        if job.state not in (State.FAILED, State.TIMED_OUT):
            return False
        job.back_to_queue(now)
        self._waiting.append(job)
        self.totals["retried"] += 1
        return True

    def purge(self, now: float) -> int:
        """Cancels what waits; what runs goes on."""
        removed = list(self._waiting)
        for job in removed:
            self._end(job, State.CANCELLED, now)
        return len(removed)

    # --- the worker's side -----------------------------------------------------------------

    def take(self, worker: str, *, most: int, now: float) -> list[Job]:
        taken: list[Job] = []
        while self._waiting and len(taken) < most:
            job = self._waiting.popleft()
            job.state = State.IN_PROGRESS
            job.worker = worker
            job.taken = now
            self._running[job.id] = job
            taken.append(job)
        return taken

    def put_out(self, job: Job, worker: str, output: msgspec.Raw) -> None:
        if self._runs_on(job, worker):
            job.parts.append(output)

    def progress(self, job: Job, worker: str, output: msgspec.Raw) -> None:
        if self._runs_on(job, worker):
            job.output = output

    def finish(
        self,
        job: Job,
        worker: str,
        *,
        output: msgspec.Raw,
        error: msgspec.Raw,
        now: float,
    ) -> None:
        """The worker's last word. Too late for a job that was stopped or given up."""
        if self._runs_on(job, worker):
            job.output = output
            job.error = error
            self._end(job, State.FAILED if error else State.COMPLETED, now)

    def stops_for(self, worker: str) -> list[str]:
        """Jobs that the worker should stop, told once."""
        return self._stops.pop(worker, [])

    def worker_gone(self, worker: str, why: str, now: float) -> None:
        """A worker has ended: its jobs have failed with it."""
        self._stops.pop(worker, None)
        for job in [job for job in self._running.values() if job.worker == worker]:
            job.error = msgspec.Raw(msgspec.json.encode(why))
            self._end(job, State.FAILED, now)

    # --- time ------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Ends what ran too long, forgets what is too old."""
        for job in list(self._running.values()):
            if job.taken is not None and now - job.taken > job.policy.execution_timeout / 1000:
                self._stop_worker(job)
                self._end(job, State.TIMED_OUT, now)
        for job in [job for job in self._jobs.values() if _expired(job, now)]:
            self._stop_worker(job)
            self._end(job, State.TIMED_OUT, now)
            del self._jobs[job.id]

    # --- counts ----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def wakes_workers(self) -> int:
        """Waiting jobs that may start a worker."""
        return sum(not job.policy.low_priority for job in self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def running_on(self, worker: str) -> int:
        return sum(job.worker == worker for job in self._running.values())

    # --- inside ----------------------------------------------------------------------------

    def _runs_on(self, job: Job, worker: str) -> bool:
        return job.state is State.IN_PROGRESS and job.worker == worker

    def _stop_worker(self, job: Job) -> None:
        if job.state is State.IN_PROGRESS and job.worker is not None:
            self._stops.setdefault(job.worker, []).append(job.id)

    def _end(self, job: Job, state: State, now: float) -> None:
        if job.final:
            return
        if job.state is State.IN_QUEUE:
            self._waiting.remove(job)
        self._running.pop(job.id, None)
        job.state = state
        job.ended = now
        self.totals[state] += 1


def _expired(job: Job, now: float) -> bool:
    if job.ended is None:
        return now - job.submitted > job.policy.ttl / 1000
    return now - job.ended > (SYNC_RESULT_KEPT if job.sync else RESULT_KEPT)
