"""What becomes of a worker process, and when it is started or killed. Pure: time and jitter are
passed in, and nothing runs here.

    NEW -> STARTING -> READY <-> BUSY
                \\         \\      /
                 `------> DEFUNCT -> STARTING (after a pause that doubles) or never again

    NEW -> STARTING -> WAITING          a spare; its process becomes that of a worker, upon which
                          `-> NEW       it starts another one
"""

from __future__ import annotations

import math
from enum import Enum

import msgspec


class WorkerState(Enum):
    """Where a worker is in its life."""

    NEW = "new"
    STARTING = "starting"
    """The process runs; load, init and warm-up go on."""
    WAITING = "waiting"
    """A spare that has done what can be done ahead."""
    READY = "ready"
    BUSY = "busy"
    """Ready, and running calls as of its last heartbeat."""
    DEFUNCT = "defunct"


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """All in seconds."""

    start_timeout_s: float = 300.0
    """For load, init and warm-up together."""
    silence_s: float = 60.0
    """A ready worker that sends no heartbeat so long is hung: user code can hold the GIL."""
    pause_s: float = 0.25
    """Before a restart; doubled with each failure. A worker that was ready and fails for the
    first time is started at once."""
    max_pause_s: float = 60.0
    stable_s: float = 60.0
    """A worker that was ready so long has no failures behind it any more."""
    refill_s: float = 1.0
    """Before the spare that took over is replaced: by then the worker needs the machine less."""


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one worker. Instants are on one monotonic scale."""

    index: int
    state: WorkerState = WorkerState.NEW
    pid: int = 0
    since: float = 0.0
    """When it came into ``state`` (READY and BUSY count as one)."""
    last_beat: float = 0.0
    """The last heartbeat."""
    failures: int = 0
    """Ends in a row, without a stable time between them."""
    retry_at: float | None = 0.0
    """When a worker that does not run is to be started; None: never."""
    detail: str = ""

    def started(self, now: float, pid: int) -> WorkerRecord:
        """Its process runs. This and the others raise InvalidState in a state in which that cannot
        be."""
        self._assert(WorkerState.NEW, WorkerState.DEFUNCT)
        return msgspec.structs.replace(
            self, state=WorkerState.STARTING, pid=pid, since=now, retry_at=None, detail=""
        )

    def waits(self, now: float) -> WorkerRecord:
        """A spare has done its part."""
        self._assert(WorkerState.STARTING)
        return msgspec.structs.replace(self, state=WorkerState.WAITING, since=now)

    def promoted(self, now: float, policy: RestartPolicy) -> WorkerRecord:
        """The spare's process is a worker's from now on."""
        self._assert(WorkerState.WAITING)
        return WorkerRecord(index=self.index, since=now, retry_at=now + policy.refill_s)

    def became_ready(self, now: float) -> WorkerRecord:
        """It takes calls from now on."""
        self._assert(WorkerState.STARTING)
        return msgspec.structs.replace(self, state=WorkerState.READY, since=now, last_beat=now)

    def beat(self, now: float, running: int) -> WorkerRecord:
        """A heartbeat has come: it runs so many calls."""
        self._assert(WorkerState.READY, WorkerState.BUSY)
        state = WorkerState.BUSY if running else WorkerState.READY
        return msgspec.structs.replace(self, state=state, last_beat=now)

    def ended(
        self, now: float, policy: RestartPolicy, *, detail: str, permanent: bool, jitter: float
    ) -> WorkerRecord:
        """The process is gone. ``jitter`` in [0, 1) lengthens the pause by up to a quarter;
        ``permanent``: another start would fail the same way."""
        self._assert(WorkerState.STARTING, WorkerState.WAITING, WorkerState.READY, WorkerState.BUSY)
        was_ready = self.state is not WorkerState.STARTING
        stable = was_ready and now - self.since >= policy.stable_s
        failures = 1 if stable else self.failures + 1
        at_once = was_ready and failures == 1
        wait_s = 0.0 if at_once else pause(policy, failures, jitter)
        return msgspec.structs.replace(
            self,
            state=WorkerState.DEFUNCT,
            pid=0,
            since=now,
            failures=failures,
            retry_at=None if permanent else now + wait_s,
            detail=detail,
        )

    def kill_at(self, policy: RestartPolicy) -> float:
        """When it is to be killed unless it says something before."""
        self._assert(WorkerState.STARTING, WorkerState.WAITING, WorkerState.READY, WorkerState.BUSY)
        if self.state is WorkerState.WAITING:
            return math.inf
        if self.state is WorkerState.STARTING:
            return self.since + policy.start_timeout_s
        return self.last_beat + policy.silence_s

    def _assert(self, *states: WorkerState) -> None:
        if self.state not in states:
            raise InvalidState(f"worker {self.index} is {self.state.value}")


class InvalidState(Exception):
    """The worker cannot do that in its state: a mistake of the caller."""


def pause(policy: RestartPolicy, failures: int, jitter: float) -> float:
    """Seconds before the next start after ``failures`` (at least 1) ends in a row."""
    doubled: float = policy.pause_s * 2 ** min(failures - 1, 30)
    return min(policy.max_pause_s, doubled) * (1 + jitter / 4)


def why_killed(record: WorkerRecord, policy: RestartPolicy) -> str:
    """Why a worker past its ``kill_at`` is killed, in words for the operator."""
    if record.state is WorkerState.STARTING:
        return f"it was not ready within {policy.start_timeout_s:g} s"
    return f"it gave no sign of life for {policy.silence_s:g} s"
