"""The port of durable jobs: what is kept of each, and what may be done with it.

A job is in the store before its caller is told of it, together with the open row of its call,
which says what is held for it. Whoever works on it has a lease of it, by the store's clock; each
lease has a number of its own (``epoch``), so that who has lost one can change nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.jobs.states import JobState
from gateway.storage.outbox import Message

WAITS_IN_STORE = "jobs"
"""The owner of an open row whose call is a job: no gateway settles it for another one's death."""
LOWEST = -1
"""The rank of a line of a batch: it begins when no other job of its model may."""
UNBOUNDED = 2**31 - 1
NOTHING_OWED: Mapping[tuple[int, str], float] = MappingProxyType({})


class LineFull(Exception):
    """Raised where a user has as many jobs waiting as it may."""


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is to be accepted."""

    id: str
    """Also the id of its call, and of that one's row in the ledger."""
    model: str
    task: str
    key_id: str
    user: str
    rank: int
    """A higher one goes first."""
    created_at: float
    """Seconds since the epoch, as all instants here."""
    deadline: float
    """When nobody waits for it any more."""
    keep_s: float
    """How long its result stays after its end."""
    request: str
    """What is to be done, as JSON; the store does not read it."""
    webhook: str = ""
    """Where its end is told; empty: nowhere."""
    idempotency: str = ""
    """Names the request among all others; empty: it may be made again."""
    digest: str = ""
    """Of what was asked: the same name for something else is a conflict."""
    most_waiting: int = UNBOUNDED
    """It is accepted while fewer jobs of its user wait."""


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it stands. ``attempt``, ``answer`` and ``error`` are JSON, or empty."""

    id: str
    state: JobState
    model: str
    task: str
    key_id: str
    user: str
    rank: int
    created_at: float
    deadline: float
    keep_s: float
    webhook: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    epoch: int = 0
    canceling: bool = False
    """Somebody wants it stopped."""
    cost_nano: int = 0
    attempt: str = ""
    error: str = ""
    request: str = ""
    answer: str = ""
    row: LedgerRow | None = None
    """The open row of its call; None once that is settled, or where it was not asked for."""


class MovedJob(msgspec.Struct, frozen=True):
    """What the store made of a job that is in another state now."""

    started_at: float | None
    """By the store's clock; None while it waits."""


class HeldJob(msgspec.Struct, frozen=True):
    """What is needed to know what a job holds that has not ended."""

    request: str
    row: LedgerRow
    """The open row of its call."""


class KnownJob(msgspec.Struct, frozen=True):
    """The job that has the name of a request already, or has it now."""

    id: str
    digest: str


class WaitingJobs(msgspec.Struct, frozen=True):
    """Jobs that may begin now and that nobody has, of about the same deadline."""

    model: str
    jobs: int
    deadline: float
    """Of the first of them."""
    last: float
    """Of the last."""


class JobsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are listed: newest first, those before ``before`` in that order."""

    user: str | None = None
    states: tuple[JobState, ...] = ()
    model: str | None = None
    before: str | None = None
    """The id of the last job of the page before."""
    most: int = 20


class JobEvent(msgspec.Struct, frozen=True):
    """Something that happened to a job. ``number`` ascends."""

    number: int
    job: str
    at: float
    kind: str
    data: str
    """JSON."""


class JobStore(Protocol):
    """Jobs of several gateways. Each method is one transaction, by the store's clock, and raises
    StorageUnavailable: nothing was done then, or nobody knows."""

    async def accept(self, job: NewJob, row: LedgerRow) -> KnownJob:
        """Adds a job and the open row of its call. Where a job has its ``idempotency`` already,
        that one is given, and nothing is added. Raises LineFull, and then nothing is added either;
        gateways that accept at the same moment may pass the bound by one job each."""
        ...

    async def named(self, idempotency: str) -> KnownJob | None:
        """The job, or the kept stream, that has this name already."""
        ...

    async def get(self, id: str) -> StoredJob | None: ...

    async def glance(self, id: str) -> StoredJob | None:
        """Without its request, answer and row, which may be large."""
        ...

    async def find(self, query: JobsQuery) -> list[StoredJob]:
        """Without their requests and answers."""
        ...

    async def ahead(self, id: str) -> int:
        """How many of its model's jobs are to begin before it."""
        ...

    async def queued(self) -> dict[str, int]:
        """Model -> jobs that may begin now."""
        ...

    async def waiting(self, full: Collection[str] = ()) -> list[WaitingJobs]:
        """The same by their deadlines too, of which those are together that are within a factor of
        two from now; without those that are past it, and without those of the keys in ``full``."""
        ...

    async def take(
        self,
        worker: str,
        model: str,
        most: int,
        lease_s: float,
        full: Collection[str] = (),
        least_rank: int = LOWEST,
        owed: Mapping[tuple[int, str], float] = NOTHING_OWED,
    ) -> list[StoredJob]:
        """Jobs of a model that may begin, on a lease; those of each key in turn. ``full``: keys
        whose jobs have to wait; ``owed``: rank and key -> jobs that it has had before the others,
        which have theirs first."""
        ...

    async def take_over(self, worker: str, most: int, lease_s: float) -> list[StoredJob]:
        """Jobs that had begun, or were given to somebody, whose lease is over; and those that are
        past their deadline or are to be canceled."""
        ...

    async def take_one(self, worker: str, id: str, lease_s: float) -> StoredJob | None:
        """None where it has ended, or somebody has a lease of it."""
        ...

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        """Those that are still this worker's -> whether they are to be canceled."""
        ...

    async def move(
        self, id: str, epoch: int, to: JobState, *, attempt: str | None = None
    ) -> MovedJob | None:
        """The job is in another state, or its attempt is another; None where the lease is lost."""
        ...

    async def answer(self, id: str, epoch: int, answer: str) -> bool:
        """Keeps what the backend has answered, of which nobody is told before the end."""
        ...

    async def put_back(
        self, id: str, epoch: int, pause_s: float, *, attempt: str = "", error: str = ""
    ) -> bool:
        """Gives the lease back; it is ``queued`` and may begin after a pause. ``error``: why it
        waits, where that is known."""
        ...

    async def leave(self, id: str, epoch: int) -> bool:
        """Gives the lease back and changes nothing else: another gateway goes on."""
        ...

    async def end(
        self,
        id: str,
        epoch: int,
        state: JobState,
        *,
        ended_at: float,
        error: str = "",
        message: Message | None = None,
    ) -> bool:
        """Ends the job, at the cost that the ledger has for its call, and puts ``message`` into the
        outbox. False where the lease is lost, or the call is not settled yet."""
        ...

    async def cancel(self, id: str) -> bool:
        """It is to be canceled; False where it has ended."""
        ...

    async def cost(self, id: str) -> int:
        """Nano-dollars of its call and that one's attempts, as far as they are settled."""
        ...

    async def note(self, id: str, kind: str, data: str) -> None:
        """Something happened to the job that its followers are told."""
        ...

    async def events(self, id: str, after: int, most: int = 500) -> list[JobEvent]:
        """Those with a number above ``after``, oldest first."""
        ...

    async def holding(self) -> Mapping[str, HeldJob]:
        """Jobs that have not ended, by id."""
        ...

    async def prune(self, forget_s: float, most: int) -> int:
        """Drops the results whose time is over, and jobs that ended ``forget_s`` ago; how many it
        has looked at."""
        ...

    async def aclose(self) -> None: ...
