"""The port of batches: what is kept of each, and how its lines become jobs.

A line is a job from the step on in which the batch's own place in its input moves past it: whoever
goes on after a death begins no line twice, and forgets none. As with jobs, whoever works on a batch
has a lease of it by the store's clock, with a number of its own (``epoch``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.jobs.base import NewJob
from gateway.storage.jobs.states import JobState

BatchState = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelled"
]
ENDS: tuple[BatchState, ...] = ("completed", "failed", "expired", "cancelled")


class StoredBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as it stands. ``metadata``, ``request`` and ``faults`` are JSON, or empty."""

    id: str
    state: BatchState = "validating"
    user: str
    key_id: str
    endpoint: str
    input_file: str
    within: str
    """The time that it was given, as its caller wrote it."""
    created_at: float
    """Seconds since the epoch, as all instants here."""
    deadline: float
    budget_nano: int | None = None
    begun_at: float | None = None
    canceling_at: float | None = None
    """Since when somebody wants it stopped."""
    finalizing_at: float | None = None
    ended_at: float | None = None
    total: int = 0
    """Lines of its input."""
    fed_line: int = 0
    """The last line of the input that is a job, or was refused."""
    fed_byte: int = 0
    """Where the next one begins."""
    done: int = 0
    failed: int = 0
    cost_nano: int = 0
    epoch: int = 0
    output_file: str = ""
    error_file: str = ""
    why: str = ""
    """What it waits for, where that is known; of one that is ``finalizing``, why lines were never
    begun."""
    metadata: str
    request: str
    """In whose name, and how; the store does not read it."""
    faults: str = ""
    """Why it could not begin."""


class FedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that becomes a job, or was refused."""

    number: int
    custom_id: str
    job: NewJob | None = None
    row: LedgerRow | None = None
    """The open row of its call."""
    fault: str = ""
    """JSON; of a line without a job."""


class EndedLine(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a line. ``answer`` and ``error`` are its job's."""

    number: int
    custom_id: str
    fault: str
    job: str
    state: JobState | None
    answer: str
    error: str


class BatchProgress(msgspec.Struct, frozen=True):
    """Lines that are jobs, by their state; and what those that have ended have cost."""

    states: Mapping[str, int]
    refused: int
    cost_nano: int

    @property
    def waiting(self) -> int:
        return self.states.get("queued", 0)

    @property
    def alive(self) -> int:
        return sum(self.states.get(state, 0) for state in ("queued", "starting", "running"))

    @property
    def done(self) -> int:
        return self.states.get("succeeded", 0)

    @property
    def failed(self) -> int:
        return sum(self.states.get(one, 0) for one in ("failed", "canceled", "expired"))


class BatchesQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which batches are listed: newest first, those before ``before`` in that order."""

    user: str | None = None
    before: str | None = None
    most: int = 20


class BatchStore(Protocol):
    """Batches of several gateways. Each method is one transaction, by the store's clock, and raises
    StorageUnavailable: nothing was done then, or nobody knows. What takes an ``epoch`` gives False
    where the lease is lost."""

    async def add(self, batch: StoredBatch) -> None: ...

    async def get(self, id: str) -> StoredBatch | None: ...

    async def find(self, query: BatchesQuery) -> list[StoredBatch]: ...

    async def uses(self, file: str) -> bool:
        """Whether a batch that has not ended has this input."""
        ...

    async def take(self, worker: str, most: int, lease_s: float) -> list[StoredBatch]:
        """Batches that have not ended and nobody has a lease of: the oldest few of each user, so
        that no user's batches keep another's from their turn."""
        ...

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        """Those that are still this worker's -> whether they are to be canceled."""
        ...

    async def leave(self, id: str, epoch: int) -> bool: ...

    async def cancel(self, id: str) -> bool:
        """It is to be canceled; False where it has ended."""
        ...

    async def begin(self, id: str, epoch: int, total: int) -> bool:
        """Its input can be read, and has so many lines."""
        ...

    async def refuse(self, id: str, epoch: int, faults: str) -> bool:
        """It has failed before anything was run."""
        ...

    async def feed(
        self, id: str, epoch: int, batch: StoredBatch, fed: Sequence[FedLine], to: tuple[int, int]
    ) -> bool:
        """The next lines become jobs, and the place in the input is another: line and byte."""
        ...

    async def explain(self, id: str, epoch: int, why: str) -> bool:
        """What it waits for; empty: nothing."""
        ...

    async def progress(self, id: str) -> BatchProgress: ...

    async def waiting(self, id: str) -> int:
        """Its lines that are jobs and have not begun."""
        ...

    async def with_budgets(self) -> list[StoredBatch]:
        """Those that have not ended and have budgets of their own."""
        ...

    async def committed(self, id: str) -> int:
        """Nano-dollars that its lines hold, and have cost. What moves from the one to the other
        meanwhile is counted twice rather than not at all."""
        ...

    async def stop_lines(self, id: str) -> None:
        """Those that have not ended are to be canceled."""
        ...

    async def finalize(self, id: str, epoch: int, why: str) -> bool:
        """Every line has ended; its results are written. ``why`` some were never begun."""
        ...

    async def lines(self, id: str, after: int, most: int) -> list[EndedLine]:
        """In their order, those behind a line; of one whose job has not ended without answer."""
        ...

    async def end(
        self,
        id: str,
        epoch: int,
        state: BatchState,
        *,
        files: tuple[str, str],
        counts: tuple[int, int],
        why: str,
    ) -> bool:
        """``files``: of output and errors, each empty where there is none; ``counts``: lines that
        are done, and that failed."""
        ...

    async def prune(self, forget_s: float, most: int) -> int:
        """Drops the lines of batches that have ended, and batches that ended ``forget_s`` ago; how
        many jobs that were."""
        ...

    async def aclose(self) -> None: ...
