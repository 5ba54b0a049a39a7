"""The shared store as calls see it: the remote one while it answers, and what holds while it does
not.

The first call that it fails begins an outage. From then on no call waits for it: one task asks it
now and then, one question at a time, by telling it what has happened meanwhile; the answer ends the
outage. What was told and not answered is told again by the same name, which changes nothing where
it had been heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from gateway.clock import Clock
from gateway.metrics import Reading
from gateway.storage.base import (
    Admitted,
    Claim,
    Counted,
    LimitStatus,
    Refused,
    StorageUnavailable,
    WindowSpent,
)
from gateway.storage.counters import TOTALS
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.outage.holds import HeldCall, HeldCalls
from gateway.storage.outage.missed import Missed
from gateway.storage.outage.recent import RecentlyLeft
from gateway.storage.outage.shares import LocalShares
from gateway.storage.outage.tally import OutageTally
from gateway.storage.remote import CatchUp, RemoteStore, StorageLost
from gateway.types import Unit

log = logging.getLogger("spillgate")

_SOONEST_S = 0.05
_LATEST_S = 1.0


class _Outage:
    """One, while it lasts."""

    def __init__(self, shares: LocalShares, reason: str, since: float) -> None:
        self.shares = shares
        self.reason = reason
        self.since = since
        self.missed = Missed()


class FallbackStore:
    """A ``SharedStore`` over one that may be lost.

    ``past`` is told of nano-dollars that lie past a limit, of what was spent in an outage.
    """

    def __init__(
        self,
        remote: RemoteStore,
        answers: LostAnswers,
        clock: Clock,
        past: Callable[[int], None] = lambda nano: None,
    ) -> None:
        self._remote = remote
        self._answers = answers
        self._shares = answers.has("share")
        self._past = past
        self._clock = clock
        self._outage: _Outage | None = None
        self._untold: deque[CatchUp] = deque()
        self._held = HeldCalls(clock)
        self._recent = RecentlyLeft(remote, clock)
        self._gateways = 0
        self._asking: asyncio.Task[None] | None = None
        self.tally = OutageTally()

    def __repr__(self) -> str:
        return f"FallbackStore({self._remote!r}, {self._answers})"

    # --- calls --------------------------------------------------------------------------------

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        asked = self._outage is None
        if asked:
            try:
                answer = await self._remote.admit(hold_id, claims, ttl_s)
            except StorageLost as lost:
                await self._begin(lost)
            else:
                if isinstance(answer, Admitted):
                    self._held.add(hold_id, claims, ttl_s, known=True)
                    if self._shares:
                        self._recent.saw(claims)
                return answer
        return await self._admit_alone(hold_id, claims, ttl_s, maybe_known=asked)

    async def _admit_alone(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float, *, maybe_known: bool
    ) -> Admitted | Refused:
        outage = self._outage
        if outage is None:  # it has ended while this call was told that it began
            raise StorageLost("the shared store was lost a moment ago")
        answer: Admitted | Refused | None = None
        try:
            answer = await outage.shares.admit(hold_id, claims, ttl_s)
        finally:
            self.tally.answered(answer)
            if maybe_known and not isinstance(answer, Admitted):
                outage.missed.release(hold_id)
        if isinstance(answer, Admitted):
            self._held.add(hold_id, claims, ttl_s, known=maybe_known)
            if self._shares:
                self._recent.saw(claims)  # the next outage may begin before a look
            if maybe_known:
                self._held.tell_again(hold_id)
        return answer

    async def extend(self, hold_id: str, unit: Unit, more: int) -> bool:
        if unit not in TOTALS:
            raise ValueError(f"{unit} is not held in amounts")
        if self._outage is None:
            try:
                held = await self._remote.extend(hold_id, unit, more)
            except StorageLost as lost:
                await self._begin(lost)
            else:
                if held:
                    self._held.extend(hold_id, unit, more)
                return held
        return await self._extend_alone(hold_id, unit, more)

    async def _extend_alone(self, hold_id: str, unit: Unit, more: int) -> bool:
        """Raises StorageLost where there is no room: whether the budget has some is not known."""
        outage, call = self._outage, self._held.get(hold_id)
        if outage is None or call is None:
            raise StorageLost(f"the shared store is lost, and {hold_id} is not known here")
        part = call.another(hold_id, unit, more)
        if not isinstance(await outage.shares.admit(part, call.on(unit, more), 86_400.0), Admitted):
            raise StorageLost(f"the shared store is lost, and nothing more is held for {hold_id}")
        self._held.extend(hold_id, unit, more)
        if call.known and not call.again:
            outage.missed.extend(hold_id, unit, more)
        return True

    @property
    def fills(self) -> int:
        return self._remote.fills

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        return await self.settle_written(hold_id, claims, actual, 0)

    async def settle_written(
        self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int], fills: int
    ) -> int:
        call = self._held.pop(hold_id)
        if self._outage is None:
            try:
                return await self._remote.settle_written(hold_id, claims, actual, fills)
            except StorageLost as lost:
                await self._begin(lost)
        outage = self._outage
        if outage is None:
            raise StorageLost("the shared store was lost a moment ago")
        if call is None or call.known:
            outage.missed.settle(hold_id, claims, actual)
        else:
            outage.missed.spend(claims, actual, call.admitted_at)
        await self._end_alone(outage, hold_id, call, actual)
        return 0

    async def release(self, hold_id: str) -> None:
        call = self._held.pop(hold_id)
        if self._outage is None:
            try:
                return await self._remote.release(hold_id)
            except StorageLost as lost:
                await self._begin(lost)
        outage = self._outage
        if outage is None:
            raise StorageLost("the shared store was lost a moment ago")
        if call is None or call.known:
            outage.missed.release(hold_id)
        await self._end_alone(outage, hold_id, call, None)
        return None

    async def _end_alone(
        self, outage: _Outage, hold_id: str, call: HeldCall | None, actual: dict[Unit, int] | None
    ) -> None:
        """``actual`` None: as if the call had not been."""
        shares = outage.shares
        if actual is None:
            await shares.release(hold_id)
        else:
            await shares.settle(hold_id, actual)
        for part, unit, more in () if call is None else call.parts:
            if actual is None:
                await shares.release(part)
            else:
                await shares.settle(part, {unit: more})

    async def reinstate(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        self._held.widen(hold_id, claims, ttl_s)
        if self._outage is None:
            try:
                return await self._remote.reinstate(hold_id, claims, ttl_s)
            except StorageLost as lost:
                await self._begin(lost)
        self._held.tell_again(hold_id)
        return None

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        if self._outage is None:
            try:
                return await self._remote.statuses(claims)
            except StorageLost as lost:
                await self._begin(lost)
        outage = self._outage
        if outage is None:
            raise StorageLost("the shared store was lost a moment ago")
        return await outage.shares.statuses(claims)

    async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
        if self._outage is not None:
            raise StorageLost(self._outage.reason)
        return await self._remote.spent(claims)

    # --- the store ----------------------------------------------------------------------------

    async def restore(self, spent: Iterable[Counted]) -> None:
        if self._outage is not None:
            raise StorageLost(self._outage.reason)
        try:
            await self._remote.restore(spent)
            self._gateways = (await self._remote.beat()).gateways
        except StorageLost as lost:
            await self._begin(lost)
            raise

    async def ping(self) -> None:
        """A sign of life to the others, too. Waits for nothing during an outage."""
        if self._outage is not None:
            raise StorageLost(self._outage.reason)
        try:
            self._gateways = (await self._remote.beat()).gateways
            await self._recent.look()
        except StorageLost as lost:
            await self._begin(lost)
            raise

    @property
    def failing(self) -> str:
        if self._outage is None or not self._answers.all_closed:
            return ""
        return self._outage.reason

    @property
    def degraded(self) -> str:
        if self._outage is None or self._answers.all_closed:
            return ""
        return f"limits hold by {self._answers}, of {self._gateways} gateways"

    def readings(self) -> Iterable[Reading]:
        """Gauges, at the instant of a scrape."""
        lost_s = self._clock.monotonic() - self._outage.since if self._outage is not None else 0.0
        yield "spillgate_gateways", "Gateways on the shared store", {}, float(self._gateways)
        yield "spillgate_shared_store_lost_seconds", "Of this outage", {}, lost_s
        yield from self.tally.readings(lost_s)

    async def aclose(self) -> None:
        """What is not told stays in the ledger, from which the next start fills the counters."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        with contextlib.suppress(StorageUnavailable):
            await self._remote.leave()
        await self._remote.aclose()

    # --- an outage ----------------------------------------------------------------------------

    async def _begin(self, lost: StorageLost) -> None:
        if self._outage is not None:
            return
        now = self._clock.monotonic()
        left = self._recent.left()
        shares = LocalShares(self._clock, self._answers, self._gateways, left)
        self._outage = _Outage(shares, str(lost), now)
        self.tally.outages += 1
        log.error("the shared store is lost: %s; limits meanwhile: %s", lost, self._answers)
        for hold_id, call in self._held.alive():
            await shares.insist(hold_id, call.claims, call.ttl_s(now))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Until it has answered; one question at a time."""
        pause = _SOONEST_S
        while self._outage is not None:
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LATEST_S)
            try:
                await self._tell()
            except StorageLost:
                continue
            except Exception:  # whatever it was, the next attempt may do better
                log.exception("the shared store could not be told what it missed")

    async def _tell(self) -> None:
        """Tells what was not told, then what has happened since; between that and the next call
        nobody else is asked. Raises StorageLost."""
        outage = self._outage
        assert outage is not None
        if not self._untold:
            self._collect(outage)
        while self._untold:
            await self._tell_first()
        self._collect(outage)
        self._outage = None
        try:
            if self._untold[0].empty:
                self._untold.clear()
            else:
                await self._tell_first()
        except StorageLost as lost:
            await self._begin(lost)
            raise
        lasted = self._clock.monotonic() - outage.since
        self.tally.lasted_s += lasted
        log.warning("the shared store is back after %.1f s; it was told what it missed", lasted)

    def _collect(self, outage: _Outage) -> None:
        self._untold.append(outage.missed.told(self._held.unknown(self._clock.monotonic())))
        outage.missed = Missed()

    async def _tell_first(self) -> None:
        alive = await self._remote.catch_up(self._untold[0])
        self._untold.popleft()
        self._gateways = alive.gateways
        if alive.past_nano:
            self._past(alive.past_nano)
