"""The next lines of a batch become jobs: as many as there is use for, each held for like any other,
and in the store in the step that moves the batch's place in its input past them.

What a gateway that dies leaves behind at each await:

    hold    what is held expires by itself; the line is read again by whoever goes on
    feed    the lines are jobs, or nothing of them is there
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

import msgspec

from adapters.types import Task
from gateway.active_policy import ActivePolicy
from gateway.batches.budget import is_budget_of
from gateway.batches.input import LineFault, RawLine, read_line
from gateway.batches.names import as_accepted
from gateway.batches.records import BatchRequest, refused_text
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.jobs.accepting import AskedJob, JobAcceptance
from gateway.jobs.digests import AsSent
from gateway.money.limit_refusals import LimitReached
from gateway.preferences import Preferences
from gateway.storage.base import LedgerRow, StorageUnavailable
from gateway.storage.batches.base import BatchStore, FedLine, StoredBatch
from gateway.storage.jobs.base import NewJob
from gateway.storage.key_records import KeyRecord
from gateway.types import BATCH_TAG, ApiError, Principal

log = logging.getLogger("spillgate")

_KEEP_S = 8 * 86_400.0
"""What a line has come to stays until its batch's results are written."""
_LATER = frozenset((402, 429, 503))
"""Refusals of a moment: somebody else's calls, a rate, a store."""
_LONGEST_PAUSE_S = 30.0
_KEYS_EVERY_S = 10.0


class LineCall(msgspec.Struct, frozen=True, kw_only=True):
    """The call that is in a line."""

    model: str
    task: Task
    body: bytes
    preferences: Preferences
    sent: AsSent | None = None
    """None: the line has the model's own name."""
    declared: tuple[str, str] | None = None
    """Of a route that the policy names: its method, and its path."""


ReadCall = Callable[[ActivePolicy, Principal, str, bytes], LineCall]
"""The call that a route makes of a body. Raises ApiError."""


class HeldLine(msgspec.Struct, frozen=True):
    """A line that is held for and about to be a job."""

    state: CallState
    line: FedLine
    hold_nano: int
    """Which its batch's budget has no more."""


class Fed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of some lines."""

    lines: int = 0
    wait_s: float = 0.0
    """Before the next one can be held for; 0: at once."""
    why: ApiError | None = None
    """Why that is so."""
    is_lost: bool = False
    """Another gateway has the batch."""
    to: tuple[int, int] = (0, 0)


class BatchFeeder:
    """Feeds the batches of one gateway. ``fed`` is called with a batch that has new
    jobs."""

    def __init__(
        self,
        *,
        store: BatchStore,
        acceptance: JobAcceptance,
        dispatcher: Dispatcher,
        active: Callable[[], ActivePolicy],
        read: ReadCall,
        keys: Callable[[], Sequence[KeyRecord]],
        clock: Clock,
        fed: Callable[[str], None],
    ) -> None:
        self._store = store
        self._acceptance = acceptance
        self._dispatcher = dispatcher
        self._active = active
        self._read = read
        self._keys = keys
        self._ended_keys: frozenset[str] = frozenset()
        self._looked_until = 0.0
        self._clock = clock
        self._fed = fed

    async def is_revoked(self, key_id: str) -> bool:
        """Whether a key is good for no more calls; looked at now and then. Of a store of keys that
        does not answer, what it has said before."""
        now = self._clock.monotonic()
        if now >= self._looked_until:
            self._looked_until = now + _KEYS_EVERY_S
            with contextlib.suppress(StorageUnavailable):
                self._ended_keys = await asyncio.to_thread(self._keys_that_ended)
        return key_id in self._ended_keys

    def _keys_that_ended(self) -> frozenset[str]:
        now_at = self._clock.time()
        ended = (
            one.principal.key_id
            for one in self._keys()
            if one.revoked_at is not None or (one.expires_at or now_at) < now_at
        )
        return frozenset(ended)

    async def feed(
        self,
        batch: StoredBatch,
        request: BatchRequest,
        lines: Sequence[RawLine],
        *,
        budget_nano: int | None,
        patience_s: float,
        is_left: Callable[[], bool],
    ) -> Fed:
        """``budget_nano``: what the batch has left for lines that are not held for yet;
        ``patience_s``: how long they may wait for what is cheap; ``is_left``: whether the lease of
        the batch is lost. Raises StorageUnavailable, and then nobody knows whether the lines are
        jobs."""
        taken: list[FedLine | HeldLine] = []
        stopped, wait_s = None, 0.0
        for raw in lines:
            try:
                found = await self._line(batch, request, raw, budget_nano, patience_s)
            except _NotNow as later:
                stopped, wait_s = later.error, later.wait_s
                break
            except BaseException:
                await self._give_back(taken)
                raise
            if isinstance(found, HeldLine) and budget_nano is not None:
                budget_nano -= found.hold_nano
            taken.append(found)
        if not taken:
            return Fed(wait_s=wait_s, why=stopped)
        last = lines[len(taken) - 1]
        kept = await self._kept(batch, taken, (last.number, last.end), is_left)
        return Fed(
            lines=len(taken),
            wait_s=wait_s,
            why=stopped,
            is_lost=not kept,
            to=(last.number, last.end),
        )

    async def refuse(
        self, batch: StoredBatch, raw: RawLine, why: ApiError, is_left: Callable[[], bool]
    ) -> bool:
        """The line is told so, and never run; False where another gateway has the batch."""
        custom_id = read_line(raw.text, batch.endpoint).custom_id
        line = FedLine(number=raw.number, custom_id=custom_id, fault=refused_text(why))
        return await self._surely(batch, [line], (raw.number, raw.end), is_left)

    async def _kept(
        self,
        batch: StoredBatch,
        taken: Sequence[FedLine | HeldLine],
        to: tuple[int, int],
        is_left: Callable[[], bool],
    ) -> bool:
        fed = [one.line if isinstance(one, HeldLine) else one for one in taken]
        done = await self._surely(batch, fed, to, is_left)
        if not done:
            await self._give_back(taken)
        self._fed(batch.id)
        return done

    async def _surely(
        self,
        batch: StoredBatch,
        fed: Sequence[FedLine],
        to: tuple[int, int],
        is_left: Callable[[], bool],
    ) -> bool:
        """Asked until the store says what has become of it: a step that was lost with its answer
        was done where the batch's place is behind it, and its lease the same. Raises
        StorageUnavailable once the lease is lost."""
        is_told = False
        while True:
            try:
                if await self._store.feed(batch.id, batch.epoch, batch, fed, to):
                    return True
                found = await self._store.get(batch.id)
            except StorageUnavailable as unavailable:
                if is_left():
                    raise
                if not is_told:
                    log.error("batch %s: %s; it waits for the store", batch.id, unavailable)
                is_told = True
                await self._clock.sleep(1.0)
                continue
            return (
                found is not None
                and found.epoch == batch.epoch
                and (found.fed_line, found.fed_byte) == to
            )

    async def _give_back(self, taken: Sequence[FedLine | HeldLine]) -> None:
        for one in taken:
            if isinstance(one, HeldLine):
                await self._dispatcher.jobs.end_unasked(one.state, 499, "handed_over")

    async def _line(
        self,
        batch: StoredBatch,
        request: BatchRequest,
        raw: RawLine,
        budget_nano: int | None,
        patience_s: float,
    ) -> FedLine | HeldLine:
        custom_id = ""
        try:
            read = read_line(raw.text, batch.endpoint)
            custom_id = read.custom_id
            asked = self._asked(batch, request, bytes(read.body), patience_s)
            state, job, row = await self._held(asked, budget_nano)
        except LineFault as fault:
            error = ApiError(400, fault.code, str(fault), param=fault.param)
        except ApiError as refused:
            if refused.status in _LATER:
                raise _NotNow(refused) from None
            error = refused
        else:
            fed = FedLine(number=raw.number, custom_id=custom_id, job=job, row=row)
            return HeldLine(state, fed, row.hold_nano)
        return FedLine(number=raw.number, custom_id=custom_id, fault=refused_text(error))

    def _asked(
        self, batch: StoredBatch, request: BatchRequest, body: bytes, patience_s: float
    ) -> AskedJob:
        active = as_accepted(self._active(), request.models)
        call = self._read(active, request.principal, batch.endpoint, body)
        tags = {**(call.preferences.tags or {}), BATCH_TAG: batch.id}
        preferences = msgspec.structs.replace(
            call.preferences, priority="low", tags=tags, patience=patience_s
        )
        return AskedJob(
            model=call.model,
            task=call.task,
            body=call.body,
            principal=request.principal,
            preferences=preferences,
            sent=call.sent,
            deadline_s=max(1.0, batch.deadline - self._clock.time()),
            keep_s=_KEEP_S,
        )

    async def _held(
        self, asked: AskedJob, budget_nano: int | None
    ) -> tuple[CallState, NewJob, LedgerRow]:
        if budget_nano is not None and budget_nano <= 0:
            raise budget_reached()
        try:
            state, job = await self._acceptance.hold(self._active(), asked)
        except LimitReached as full:
            if is_budget_of(asked.principal, full.claim):
                raise budget_reached() from None
            raise
        row = open_row(state, None, at_most=_dearest(state))
        if budget_nano is not None and row.hold_nano > budget_nano:
            await self._dispatcher.jobs.end_unasked(state, 402, BUDGET)
            raise budget_reached()
        return state, job, row


class _NotNow(Exception):
    """Raised where a line may be held for later."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error
        asked = error.headers.get("Retry-After", "")
        self.wait_s = min(float(asked) if asked.isdecimal() else 1.0, _LONGEST_PAUSE_S)


def _dearest(state: CallState) -> int:
    """Nano-dollars that it may cost, also where nothing limits its caller."""
    quotes = () if state.decision is None else state.decision.quotes
    return max((quote.estimate.hold for quote in quotes), default=0)


BUDGET = "batch_budget_reached"
REVOKED = "key_revoked"


def budget_reached() -> ApiError:
    """Of a line for which the batch's own budget has no room."""
    return ApiError(
        402,
        BUDGET,
        "The batch's budget has no room for what this line may cost. Make a batch of the lines "
        "that are left, with a budget of its own.",
        type="insufficient_quota",
    )
