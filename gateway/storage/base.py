"""What the gateway asks of a store. Each protocol has one contract suite over all its stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

import msgspec

from adapters.shortage import lacks_descriptors
from gateway.storage.history import CallHistory
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from gateway.storage.spent import Side, Spent, SpentQuery
from gateway.types import Unit


class StorageUnavailable(Exception):
    """A store did not answer in time, or cannot write. The message is for the operator."""


class StorageBusy(StorageUnavailable):
    """The same while another writes, for some milliseconds: ask again after ``wait``, which blocks
    its thread for as long as that lasts, a second at most, and raises StorageUnavailable then."""

    def __init__(self, message: str, wait: Callable[[], None]) -> None:
        super().__init__(message)
        self.wait = wait


class MaybeWritten(StorageUnavailable):
    """The same, where what was asked may be done all the same, or be done in a moment."""


ReportFault = Literal["too_many_groups", "report_too_slow", "reports_busy", "archived"]


class ReportRefused(StorageUnavailable):
    """A report that is not made: it has too many groups, it took too long, or others are made.
    The message is for whoever asked, and says what makes it smaller."""

    def __init__(self, fault: ReportFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class StorageShortage(StorageUnavailable):
    """This process lacks the descriptors that it takes to reach a store, which may be well."""


def unavailable(error: Exception, message: str) -> StorageUnavailable:
    """What it means that a store's file or connection failed with ``error``."""
    kind = StorageShortage if lacks_descriptors(error) else StorageUnavailable
    return kind(message)


# --- limits and budgets: shared by every gateway process ---------------------------------------


class Claim(msgspec.Struct, frozen=True, cache_hash=True):
    """What one call takes from one limit in one scope.

    ``scope``   such as ``user:alice``; with unit and window it names the counter, which appears
                once among the claims of a call.
    ``window``  as ``gateway.windows`` reads it; empty for ``concurrent``.
    ``take``    for ``requests``, ``calls`` and ``concurrent`` 1; for the others what is held until
                the call is settled: the most that it can cost.
    ``surplus`` of money, how much of that will probably come back; the same in each scope. It is
                told, and gives no call room.
    """

    scope: str
    unit: Unit
    window: str
    limit: int
    take: int
    surplus: int = 0


class Hold(msgspec.Struct, frozen=True):
    """What is held in the shared store under one id."""

    id: str
    claims: tuple[Claim, ...]


class LimitStatus(msgspec.Struct, frozen=True):
    """How a counter stands, for RateLimit headers and reports."""

    claim: Claim
    remaining: int
    """Of ``requests`` and ``concurrent``: calls; of the others: units not spent and not held."""
    reset_s: float
    """Seconds until ``remaining`` is whole again (of a rate, and a rolling window but for what is
    held) or the window ends; 0 for concurrent."""
    held: int = 0
    """Of what is held in amounts: units that calls on their way hold, which is the most that they
    can cost."""
    surplus: int = 0
    """Of that, what will probably come back; of money alone."""

    @property
    def likely(self) -> int:
        """Units that will probably be left when the calls on their way have ended."""
        return self.remaining + self.surplus


class WindowSpent(msgspec.Struct, frozen=True):
    """What one limit has spent in its window."""

    claim: Claim
    spent: int
    ends_at: int
    """When the window ends, by the store's clock: integer microseconds since the epoch. A rolling
    one is told of as if it ended at each multiple of its length."""


class Admitted(msgspec.Struct, frozen=True):
    """Every claim was taken."""

    statuses: tuple[LimitStatus, ...]
    """Of the ``requests`` claims, in the order asked; those that a caller is shown."""


class Refused(msgspec.Struct, frozen=True):
    """Nothing was taken in any scope."""

    status: LimitStatus
    """Of the first claim that did not fit."""
    retry_after_s: float
    """When it could fit: exact for a rate; when enough of it does not count any more, in a rolling
    window; the window's end for another total; 1 for concurrent."""


class Counted(NamedTuple):
    """What a ledger knows of one counter."""

    scope: str
    unit: Unit
    window: str
    amount: int
    """Spent in the window that holds now; of a rolling one, in the step ``at``."""
    at: int = 0


class SharedStore(Protocol):
    """Counters and holds. Each method is one atomic step by the store's own clock.

    ``requests`` is GCRA with a burst of the whole amount: one number a counter, no edge between
    windows. ``concurrent`` counts holds that are alive. All others count ``spent + held`` in the
    windows of ``gateway.windows``. In one of the calendar a hold belongs to the window in which it
    was admitted, and what it holds more later to that as well or, where that is over and full, to
    the window of that time: each has what was used up to what is held there, the last one the rest.
    In a rolling one it counts while it is held, and what was spent from its admission on, for the
    window's length and at most one step of it longer.

    A hold that is neither settled nor released expires ``ttl_s`` after its admission: its
    concurrency and held amounts are given back.
    """

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        """Takes every claim or none. A ``hold_id`` that is already held raises ValueError. A
        caller that is cancelled while it waits for the answer holds nothing."""
        ...

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        """Holds ``more`` of ``unit`` in every scope that limits it; False when one of them has
        no room, and then nothing changes. Raises StorageUnavailable when the hold is gone: nobody
        knows what is left then."""
        ...

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        """Holds what a call that has begun holds, whatever the limits say: what its hold lacks of
        ``claims`` is added to it, and one that the store has forgotten is made anew. What it has
        already stays as it is, with the limit that the claim has now, and it lives for ``ttl_s``
        from now at least. Nothing of it counts as another request, and an id that was settled
        stays settled."""
        ...

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        """Ends a hold: adds ``actual`` to what is spent, frees what was held and the concurrency.
        Returns the nano-dollars of it that lie past a limit of money, where it has passed one: 0,
        as long as what is held bounds what can be spent.

        ``claims`` are those of the admission: where the hold has expired or the store was
        emptied, ``actual`` is spent in the current window all the same. A second settlement of
        one id changes nothing (remembered for an hour at least).
        """
        ...

    @property
    def fills(self) -> int:
        """Which fill from this gateway's ledger it was last told of; 0: no other gateway fills."""
        ...

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        """As ``settle``, of what was written since ``fills`` was that; 0: it is not yet. Another
        gateway's sums may have it where that has filled since: then nothing is added, and this
        gateway is told to fill what is lacking, in a moment."""
        ...

    async def release(self, hold_id: str) -> None:
        """Ends a hold as if the call had not been: amounts and concurrency are given back, and
        so is the ``requests`` token. A no-op for an unknown id."""
        ...

    async def restore(self, spent: Iterable[Counted]) -> None:
        """What the ledger knows. Where a counter knows less of this ledger, it counts as much from
        now on; where it knows more, whose settlement is on its way to the ledger, it stays.

        All windows at once, so that an emptied store does not forget them: at start, when a store
        says that it was emptied, and when a policy has brought other limits. What several ledgers
        know of one counter adds up.
        """
        ...

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        """How each counter stands; takes nothing."""
        ...

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        """Of each claim that is held in amounts, what its window has spent so far, which is less
        than what is taken: nothing that is held is in it. Takes nothing."""
        ...

    async def ping(self) -> None:
        """Raises StorageUnavailable when the store cannot be used. Finds out whether it has lost
        its memory."""
        ...

    @property
    def failing(self) -> str:
        """Why no call with limits is taken: it was not reached when it was last tried. Empty while
        it answers, or calls go on without."""
        ...

    @property
    def degraded(self) -> str:
        """How limits hold while it is not reached and calls go on all the same; else empty."""
        ...

    async def aclose(self) -> None:
        """Gives back what it holds open."""
        ...


# --- the ledger ----------------------------------------------------------------------------------

Outcome = Literal["open", "success", "error", "cancelled", "disconnected", "interrupted", "ping"]
RowKind = Literal["call", "attempt", "ping", "idle", "correction"]


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call's entry: who, what, where, how long, how much.

    ``id`` is the request id. A failed attempt that was charged, before another backend answered,
    has a row of its own: ``{request id}#1``, ``#2``, ... with ``kind`` "attempt".
    """

    id: str
    kind: RowKind = "call"
    outcome: Outcome = "open"
    started_at: float
    """Seconds since the epoch."""
    ended_at: float | None = None
    key_id: str
    user: str
    plan: str = ""
    tags: dict[str, str] = {}
    model: str
    task: str
    backend: str
    """That answered, or was asked last; empty when none was."""
    reason: str = ""
    route: str = ""
    policy: str = ""
    """The policy's version."""
    status: int = 0
    """HTTP status that the caller saw; 0 while open."""
    error: str = ""
    """The error's code."""
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    queue_us: int = 0
    cold_us: int = 0
    exec_us: int = 0
    gpu_us: int = 0
    hold_nano: int = 0
    cost_nano: int = 0
    cost_basis: Literal["reported", "estimated", "none"] = "none"
    price: str = ""
    """The name of the price that was applied."""
    worker: str = ""
    claims: Sequence[Claim] = ()
    """Of an open row: what must be settled in the shared store if this process dies."""
    at_backend: Hold | None = None
    at_model: Hold | None = None
    """The same in limits of the backend, and of a larger model that the call has become one of."""
    history: CallHistory | None = None
    """What was decided, and who failed; of calls alone."""


class Ledger(Protocol):
    """Durable rows. Durable means: a process killed after the method returned loses nothing.

    Writes from many calls are committed together; a call that is alone waits for no other.
    """

    def open(self, row: LedgerRow) -> Awaitable[None]:
        """Inserts an open row. Raises StorageUnavailable when it cannot be made durable, of which
        MaybeWritten says that it may be all the same, and ValueError when its id is taken by
        another call, or settled. The same call (key, user and beginning) may open its row again,
        to ask another backend: the later row replaces the earlier."""
        ...

    def settle(self, rows: Sequence[LedgerRow]) -> Awaitable[None]:
        """Writes settled rows in one step: an open row with the id is ended, a missing one is
        inserted, a row that is settled already is left as it is. Raises StorageUnavailable."""
        ...

    async def open_rows(self) -> list[LedgerRow]:
        """Those that are this gateway's to settle, its own among them. Rows of another gateway that
        is alive and shares the ledger are not."""
        ...

    async def take_abandoned(self) -> list[LedgerRow]:
        """Those of gateways that are gone, from now on this one's to settle; until it has, they are
        given again. Asked at start and now and then; one gateway alone is given a row. Raises
        StorageUnavailable."""
        ...

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Grouped sums, ordered by cost, dearest first. Raises ValueError for a bad dimension,
        ReportRefused, and StorageUnavailable where the file cannot be read."""
        ...

    async def calls(self, query: CallsQuery) -> list[LedgerRow]:
        """Settled rows, newest first by when they began. Raises as ``usage``."""
        ...

    async def rows(self, request_id: str) -> list[LedgerRow]:
        """The call's row and those of its attempts, or an empty list."""
        ...

    async def spent_since(
        self, since: float, *, side: Side = "callers", step_us: int = 0
    ) -> list[Spent]:
        """Sums over the settled rows that began at or after ``since``, by who called or by where it
        ran, for each ``step_us`` microseconds since the epoch where that is given: a call counts in
        the window in which it was admitted. What nobody used is not among them: no limit holds for
        it."""
        ...

    async def sums(
        self, queries: Sequence[SpentQuery], still: Callable[[], AbstractAsyncContextManager[None]]
    ) -> list[list[Spent]]:
        """The same of each query, all of one instant, which lies within ``still``: that is entered
        once, and left as soon as no later row can be in any. To fill the shared store."""
        ...

    async def calls_since(self, since: float) -> dict[tuple[str, int], int]:
        """(model, hour since the epoch) -> calls; for the volume rules after a restart."""
        ...

    @property
    def identity(self) -> str:
        """Names this ledger among others, for ever: what it knows is counted once in a shared
        store, whichever gateway tells it."""
        ...

    @property
    def failing(self) -> str:
        """Why the last write failed; empty while writes succeed."""
        ...

    async def aclose(self) -> None:
        """Writes what waits, then closes the file."""
        ...
