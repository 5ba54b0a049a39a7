"""Every call is settled once, in the shared store and in the ledger.

A settlement that a store does not take is kept and tried again, where the call's row is durable
already; where it is not, the caller is told, because an answer without a row must not be given.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

from adapters.waiting import mark_seen
from gateway.clock import Clock
from gateway.holds.full import FullLimits
from gateway.holds.line import RoomLines
from gateway.holds.usual_costs import UsualCosts
from gateway.metrics import Metrics
from gateway.money.counted import Part, charged_of
from gateway.money.settling.abandoned import AbandonedRows
from gateway.money.settling.interrupted import held_beside, interrupted
from gateway.money.settling.noted import NotedRows, TakesRows
from gateway.money.settling.unwritten import LateRows, Unwritten
from gateway.money.spending import Spending
from gateway.money.text import usd
from gateway.storage.base import (
    Claim,
    Hold,
    Ledger,
    LedgerRow,
    MaybeWritten,
    SharedStore,
    StorageUnavailable,
)
from gateway.storage.claims import CallClaims, holds_rest
from gateway.storage.spent import Spent, SpentQuery
from gateway.types import NANO, Unit

log = logging.getLogger("spillgate")

_RETRY_EVERY_S = 1.0
_RECOVER_EVERY_S = 5.0
_LOOK_S = 0.01

Step = Callable[[], Awaitable[None]]
"""Gives one store its part of a settlement. Raises StorageUnavailable where that takes none."""


class Settler:
    """``kept``: settlements that may wait for a store to come back; past it, calls are refused."""

    def __init__(
        self,
        *,
        shared: SharedStore,
        ledger: Ledger,
        clock: Clock,
        metrics: Metrics,
        kept: int = 100_000,
    ) -> None:
        self._shared = shared
        self._ledger = ledger
        self._rows: TakesRows = ledger
        """The same, or what notes the rows that it takes."""
        self._reading = asyncio.Lock()
        self._clock = clock
        self._metrics = metrics
        self._kept = kept
        self._late: deque[Step] = deque()
        self._unwritten = Unwritten(shared, ledger)
        self._under_way = 0
        """Settlements that have begun, and whose stores have not answered."""
        self._goes_on: asyncio.Event | None = None
        """While none begins: when they may."""
        self._stilling = asyncio.Lock()
        self._refuse_until = 0.0
        self._retrying = asyncio.Lock()
        self.spending = Spending()
        """Whose spending has changed, for those who watch it."""
        self.lines = RoomLines(clock)
        """The calls that wait for others to end."""
        self.usual = UsualCosts()
        """What calls turn out to cost of what was held for them."""
        self.full = FullLimits(clock)
        """The limits of backends in which there was no room a moment ago."""
        self.abandoned = AbandonedRows(ledger, self.interrupt)

    @property
    def waiting(self) -> int:
        """Settlements that no store has taken yet."""
        return len(self._late)

    @property
    def lacks_rows(self) -> bool:
        """Whether rows of calls that have ended wait for the ledger, whose sums lack them."""
        return bool(self._unwritten.late)

    def check(self) -> None:
        """Raises StorageUnavailable while the ledger is known not to write; one call a second
        passes, to find out whether it writes again."""
        if len(self._late) >= self._kept:
            raise StorageUnavailable("too many settlements wait for the ledger")
        if self._rows.failing:
            now = self._clock.monotonic()
            if now < self._refuse_until:
                raise StorageUnavailable(self._rows.failing)
            self._refuse_until = now + _RETRY_EVERY_S

    def settle(
        self,
        rows: tuple[LedgerRow, ...],
        claims: Sequence[Claim],
        *,
        opened: bool,
        beside: Sequence[Part] = (),
    ) -> Coroutine[Any, Any, None]:
        """``rows``: the call's own first, with the call's id; then those of its attempts.
        ``claims``: of its admission; none of a caller without limits. ``beside``: what it holds
        under ids of its own beside that. ``opened``: the row is durable already. Raises
        StorageUnavailable only when it is not: then nothing is charged, unless the row was written
        all the same."""
        # A call's claims are counted in Python, and are made where there are limits alone.
        claimed = claims if type(claims) is CallClaims or claims else None
        if claimed is not None:
            self.spending.by_key[rows[0].key_id] = claimed
        if opened:
            return self._settle_opened(rows, claimed, beside)
        return self._settle_unopened(rows, claimed, beside)

    async def _settle_opened(
        self, rows: tuple[LedgerRow, ...], claims: Sequence[Claim] | None, beside: Sequence[Part]
    ) -> None:
        while self._goes_on is not None:
            await self._goes_on.wait()
        self._under_way += 1
        try:
            if claims is not None:
                await self.spend(rows[0].id, claims, rows)
            for hold, used in beside:
                await self.spend(hold.id, hold.claims, used)
            fills = self._shared.fills
            await self._rows.settle(rows)
            if self._unwritten.ahead:
                await self._spend_left(rows[0].id, fills)
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; settlement of %s waits", unavailable, rows[0].id)
            self._keep_rows(rows, claims, beside, isinstance(unavailable, MaybeWritten))
        finally:
            self._under_way -= 1

    async def _settle_unopened(
        self, rows: tuple[LedgerRow, ...], claims: Sequence[Claim] | None, beside: Sequence[Part]
    ) -> None:
        """The row comes first: what has none is not charged. One that may have been written is
        written again until that is certain."""
        while self._goes_on is not None:
            await self._goes_on.wait()
        self._under_way += 1
        fills = self._shared.fills
        try:
            await self._rows.settle(rows)
            await self._spend(rows, claims, beside, fills=fills)
            if self._unwritten.ahead:
                await self._spend_left(rows[0].id, fills)
        except StorageUnavailable as unavailable:
            in_doubt = isinstance(unavailable, MaybeWritten)
            if in_doubt:
                self._keep_rows(rows, claims, beside, in_doubt)
            else:
                await self._unwritten.forget(rows[0].id)
            await self._spend(rows, claims, beside, counted=in_doubt)
            raise
        finally:
            self._under_way -= 1

    async def _spend(
        self,
        rows: tuple[LedgerRow, ...],
        claims: Sequence[Claim] | None,
        beside: Sequence[Part],
        *,
        counted: bool = True,
        fills: int = 0,
    ) -> None:
        if claims is not None:
            await self.spend(rows[0].id, claims, rows if counted else (), fills)
        for hold, used in beside:
            await self.spend(hold.id, hold.claims, used if counted else (), fills)

    def leave(self, call_id: str, part: Part) -> Coroutine[Any, Any, None]:
        """Ends a part of what a call holds that goes on without it. Its rows are written with the
        call's own; a shared store that loses its memory before holds the part again."""
        if part.rows:
            self._unwritten.leaves(call_id, part)
        return self._leave(part)

    async def _leave(self, part: Part) -> None:
        while self._goes_on is not None:
            await self._goes_on.wait()
        self._under_way += 1
        try:
            await self.spend(part.hold.id, part.hold.claims, part.rows)
        finally:
            self._under_way -= 1

    async def _spend_left(self, call_id: str, fills: int) -> None:
        for hold, used in self._unwritten.written(call_id):
            await self.spend(hold.id, hold.claims, used, fills)

    async def spend(
        self, hold_id: str, claims: Sequence[Claim], rows: Sequence[LedgerRow], fills: int = 0
    ) -> None:
        """Ends what is held under the id, of which ``rows`` were used, in the shared store, now or
        when it is back. ``fills``: the store's, since which these are written; 0: they are not."""
        charged = charged_of(rows, holds_rest(claims))
        try:
            if fills:
                await self._settle_late(hold_id, claims, charged, fills)
            elif past_nano := await self._shared.settle(hold_id, claims, charged):
                self.count_past(hold_id, past_nano)
            if self.lines.at or self.full.known:
                self.gave_back(claims)
        except StorageUnavailable as unavailable:
            log.error("shared store: %s; settlement of %s waits", unavailable, hold_id)
            known = fills or self._shared.fills
            self._keep(functools.partial(self._settle_late, hold_id, claims, charged, known))

    def gave_back(self, claims: Sequence[Claim]) -> None:
        """What was held of these is held no more: who waited for it may look."""
        if self.lines.at:
            self.lines.wake(claims)
        if self.full.known:
            self.full.forget(claims)

    async def _settle_late(
        self, call_id: str, claims: Sequence[Claim], charged: dict[Unit, int], fills: int
    ) -> None:
        past_nano = await self._shared.settle_written(call_id, claims, charged, fills)
        if past_nano:
            self.count_past(call_id, past_nano)

    def count_past(self, call_id: str, past_nano: int) -> None:
        """So much of a settlement lies past a limit of money."""
        self._metrics.past_caps.inc(past_nano / NANO)
        log.warning(
            "%s was charged %s USD past a cap: more was used than was held for it",
            call_id,
            usd(past_nano),
        )

    def _keep_rows(
        self,
        rows: Sequence[LedgerRow],
        claims: Sequence[Claim] | None,
        beside: Sequence[Part],
        in_doubt: bool,
    ) -> None:
        own = [] if claims is None else [Part(Hold(rows[0].id, tuple(claims)), rows)]
        late = self._unwritten.keep(rows, [*own, *beside], in_doubt)
        self._keep(functools.partial(self._write_late, late))

    async def _write_late(self, late: LateRows) -> None:
        """May be broken off anywhere, and begun again. The row comes first: what is spent without
        one, in a store that was emptied just now, would be in no sum."""
        before, late.in_doubt = late.in_doubt, True
        fills = self._shared.fills
        try:
            if late.writing is None or late.writing.done():  # else it is not asked beside itself
                late.writing = asyncio.ensure_future(self._rows.settle(late.rows))
                late.writing.add_done_callback(mark_seen)
            await asyncio.shield(late.writing)
        except StorageUnavailable as unavailable:
            late.in_doubt = before or isinstance(unavailable, MaybeWritten)
            raise
        for hold, used in late.parts if late.is_held_again else ():
            await self.spend(hold.id, hold.claims, used, fills)
        self._unwritten.late.remove(late)

    def _keep(self, late: Step) -> None:
        self._metrics.unsettled.inc()
        self._late.append(late)

    # --- a shared store that has lost its memory ----------------------------------------------

    @contextlib.asynccontextmanager
    async def stands_still(self) -> AsyncIterator[None]:
        """Every settlement is in both stores, or among those that wait, and none begins: what the
        ledger's sums have is known."""
        async with self._stilling:
            await self.retry()  # first, while calls may end: of what waits there may be much
            goes_on = self._goes_on = asyncio.Event()
            try:
                while self._under_way:
                    await self._clock.sleep(_LOOK_S)
                async with self._retrying:
                    if not self._rows.failing:
                        await self._try_each()
                    yield
            finally:
                self._goes_on = None
                goes_on.set()

    @contextlib.asynccontextmanager
    async def sums(
        self, queries: Sequence[SpentQuery]
    ) -> AsyncIterator[tuple[list[list[Spent]], NotedRows]]:
        """Of an instant at which every settlement is in both stores, or among those that wait; and
        the rows of what ends after that. Raises StorageUnavailable."""
        async with self._reading:
            noted = NotedRows(self._ledger)
            try:
                spent = await self._ledger.sums(queries, lambda: self._noting(noted))
                yield spent, noted
            finally:
                self._rows = self._ledger

    @contextlib.asynccontextmanager
    async def _noting(self, noted: NotedRows) -> AsyncIterator[None]:
        async with self.stands_still():
            noted.summed = await self._unwritten.in_doubt_and_written()
            yield
            self._rows = noted

    async def reinstate(self, noted: NotedRows | None = None) -> None:
        """Holds what waits to be written, of which the ledger's sums know nothing: nothing of it
        changes in a store that knows it. ``noted``: of the sums that this is beside. Raises
        StorageUnavailable."""
        await self._unwritten.hold_again(noted)

    # --- for ever -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Tries late settlements again, for ever, and settles what other gateways left when they
        died. Both stores take a settlement only once."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._watch_shared())
            both.create_task(self._try_late())

    async def _watch_shared(self) -> None:
        """By itself: a ledger that hangs must not keep it from what it has to tell."""
        while True:
            await self._clock.sleep(_RETRY_EVERY_S)
            await self._look_at_shared()

    async def _try_late(self) -> None:
        recover_at = self._clock.monotonic() + _RECOVER_EVERY_S
        while True:
            await self._clock.sleep(_RETRY_EVERY_S)
            await self.retry()
            if self._clock.monotonic() >= recover_at and not self._rows.failing:
                await self._recover_others()
                recover_at = self._clock.monotonic() + _RECOVER_EVERY_S

    async def _recover_others(self) -> None:
        try:
            settled = await self.recover()
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; what others left open waits", unavailable)
            return
        if settled:
            log.warning("%d calls that were open when another gateway died are settled", settled)

    async def _look_at_shared(self) -> None:
        """Where readiness keeps calls away while the shared store fails, no call would find out
        that it is back; and one that lost its memory must learn what is known here, also while no
        call comes."""
        with contextlib.suppress(StorageUnavailable):
            await self._shared.ping()

    async def retry(self) -> None:
        """One pass over what waits; stops at the first that is refused again."""
        async with self._retrying:
            await self._try_each()

    async def _try_each(self) -> None:
        for _ in range(len(self._late)):
            try:
                await self._late[0]()
            except StorageUnavailable:
                return
            self._late.popleft()

    async def recover(self) -> int:
        """Settles what dead gateways left open, as ``interrupted``, at the amount held: nobody
        can say how far the backend went. Returns how many rows were settled."""
        return await self.abandoned.settle()

    async def interrupt(self, row: LedgerRow, spent: tuple[LedgerRow, ...] | None = None) -> None:
        """Settles an open row at the amount held. ``spent``: the rows of what its call has cost
        before, where they are known."""
        ended = interrupted(row, self._clock.time(), spent)
        beside = [Part(hold, (ended,)) for hold in held_beside(row)]
        await self.settle((ended, *(spent or ())), row.claims, opened=True, beside=beside)
