"""Keeping a call's hold ahead of its run: more is held before the first hold is used up.

A call whose limits have no room for more ends when its hold is used up, so that what is settled
never passes a cap, however long the call would have run. A store that does not answer is not an
empty purse: a call goes on for ``PATIENCE_S`` past its hold before it ends for that. A wait in a
platform's own queue uses up nothing: a call is not stopped for money before it has cost any.

What is held more is written into the call's open row too: of a gateway that dies, the next start
charges what the row says. So it is of a call that nothing limits, whose row is written ahead, for
``ROW_AHEAD_S`` at a time: seldom, and for no more than that is too much charged.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from math import inf

from gateway.calls.admission import without_dearest
from gateway.calls.attempt import Attempt
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.money.pricing import output_cost
from gateway.routing.repeating import WhyNot
from gateway.routing.router import Quote, device_us
from gateway.shared_timer import EVERY_S, LaterLooks, Look, SharedTimer
from gateway.storage.base import Claim, Ledger, SharedStore, StorageUnavailable, WindowSpent
from gateway.tasks import BackgroundTasks
from gateway.types import MICRO, Unit
from gateway.windows import bounds, read_window

log = logging.getLogger("spillgate")

_AT = 0.75
"""The share of the held seconds after which more is held."""
_NO_ROOM: WhyNot = "budget"
_FEWEST = 256
"""Tokens that are held more at once, where a stream brings more than its hold covers."""
ROW_AHEAD_S = 20.0
PATIENCE_S = 10.0
"""How long a call whose hold is used up may run on while the shared store does not answer."""


class TopUp:
    """Watches the calls whose time costs something."""

    def __init__(
        self,
        *,
        shared: SharedStore,
        ledger: Ledger,
        clock: Clock,
        timer: SharedTimer,
        background: BackgroundTasks,
    ) -> None:
        self._shared = shared
        self._ledger = ledger
        self._clock = clock
        self._looks = LaterLooks(timer, clock)
        self._background = background
        self.watched: set[int] = set()
        """The attempts for whose time more may have to be held: most have none."""

    def arm(
        self,
        state: CallState,
        attempt: Attempt,
        since: float | None = None,
        held_s: float | None = None,
    ) -> None:
        """More is held before what is held for the attempt's time is used up, which is used
        ``since``: now, where nothing else is said. ``held_s``: for how long it lasts; left out: as
        long as the quote's."""
        hold_s = attempt.quote.hold_s
        since = self._clock.monotonic() if since is None else since
        lasts_s = hold_s if held_s is None else held_s
        look_s = max(lasts_s - hold_s * (1 - _AT) - EVERY_S, 0.0)

        def look(now: float) -> None:
            if now >= max(since, attempt.charged_from()) + look_s:
                self.disarm(attempt)
                self._background.run(self._extend(state, attempt, since, lasts_s))

        self._watch(attempt, look, since + look_s)

    def _watch(self, attempt: Attempt, look: Look, since: float) -> None:
        self.watched.add(id(attempt))  # it is one of its call's, and may be equal to another's
        self._looks.watch(id(attempt), look, since)

    def disarm(self, attempt: Attempt) -> None:
        """The attempt is over: nothing more is held for it."""
        self.watched.discard(id(attempt))
        self._looks.unwatch(id(attempt))

    async def _extend(
        self, state: CallState, attempt: Attempt, since: float, held_s: float
    ) -> None:
        hold_s = step_s = attempt.quote.hold_s
        if not _limits_time(state):
            used_s = self._clock.monotonic() - max(since, attempt.charged_from())
            held_s, step_s = max(held_s, used_s), max(hold_s, ROW_AHEAD_S)
        more = self._seconds(attempt.quote, step_s)
        held = await self._answered(state, attempt, more, hold_s * (1 - _AT))
        if held is None or not _uses_more(state, attempt):
            return
        if held:
            self.arm(state, attempt, since, held_s + step_s)
        else:
            self._stop_at_the_end(state, attempt, since, held_s)

    def more_output(self, state: CallState, attempt: Attempt) -> int:
        """A stream has brought all the tokens that its hold covers: holds more behind its back,
        and stops the call where there is no room. Returns how many more it may bring until then.
        """
        more = max(_FEWEST, (attempt.quote.output_held or state.preferences.output_tokens) // 4)
        if state.pays_for_output:
            self._background.run(self._extend_output(state, attempt, more))
        return more

    async def _extend_output(self, state: CallState, attempt: Attempt, tokens: int) -> None:
        in_force = attempt.quote.in_force
        nano = 0 if in_force is None else output_cost(in_force.dearest, tokens)
        more: dict[Unit, int] = {"nano_usd": nano, "output_tokens": tokens, "tokens": tokens}
        held = await self._answered(state, attempt, more, 0.0)
        if held is False and state.attempt is attempt:
            state.stop("budget")

    async def hold_more(
        self, state: CallState, attempt: Attempt, more: dict[Unit, int]
    ) -> bool | None:
        """Whether so much more is held now, where it is limited; None where the call ended before,
        or was stopped, since the store did not answer for too long."""
        return await self._answered(state, attempt, more, 0.0)

    async def _answered(
        self, state: CallState, attempt: Attempt, more: dict[Unit, int], covered_s: float
    ) -> bool | None:
        """Whether more is held, once the store says so; None where the attempt ended before, or
        the call was stopped, since the store did not answer for too long."""
        until = self._clock.monotonic() + covered_s + PATIENCE_S
        left: dict[str, dict[Unit, int]] = {}
        while _uses_more(state, attempt):
            held = await self._hold(state, lambda hold_id: left.setdefault(hold_id, dict(more)))
            if held:
                self._write_down(state, attempt, more.get("nano_usd", 0))
            if held is not None:
                return held
            if self._clock.monotonic() >= until:
                state.stop("store")
                return None
            await self._clock.sleep(EVERY_S)
        return None

    def _write_down(self, state: CallState, attempt: Attempt, nano: int) -> None:
        """Its open row says what may have been spent by now, also where nothing limits it."""
        if not nano or not state.opened:
            return
        if not state.admission.holds("nano_usd"):
            now, other = self._clock.monotonic(), state.other_would_hold
            spent = sum(row.cost_nano for row in state.charged)
            beside = 0 if other is None else other(now)["nano_usd"]
            most = spent + beside + attempt.would_hold(now)["nano_usd"] + nano
            more = max(0, most - state.admission.hold_nano)
            state.hold_more(state.call.id, "nano_usd", more)
        self._background.run(self._open_anew(state, attempt))

    async def _open_anew(self, state: CallState, attempt: Attempt) -> None:
        if state.attempt is not attempt:
            return
        try:
            await self._ledger.open(open_row(state, state.at_backend))
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s says less", unavailable, state.call.id)
        except ValueError:  # it was settled meanwhile
            return

    def _stop_at_the_end(
        self, state: CallState, attempt: Attempt, since: float, held_s: float
    ) -> None:
        """There is no room for more: the call is stopped when its hold is used up."""

        def look(now: float) -> None:
            if now + EVERY_S >= max(since, attempt.charged_from()) + held_s:
                self.disarm(attempt)
                if _uses_more(state, attempt):
                    state.stop("budget")

        self._watch(attempt, look, since + held_s - EVERY_S)

    async def hold_for(
        self, state: CallState, quotes: Sequence[Quote], *, leaves_model: bool = False
    ) -> tuple[Quote, ...]:
        """Holds what is lacking for these quotes, beyond what is held and was not used up by
        attempts that failed. Returns those that are held for: the dearest are left out where the
        limits have no room for them, and all where the store does not answer. ``leaves_model``:
        they are another model's, so nothing is held in the limits of this one."""
        left, why = tuple(quotes), _NO_ROOM
        while left:
            held = await self._hold(state, _lacking(state, left, leaves_model))
            if held:
                break
            if held is None:
                left, why = (), "store"
                break
            left = without_dearest(left)
        asked = {quote.backend for quote in left} | {one.backend for one in state.tried}
        state.leave_out([q.backend for q in quotes if q.backend not in asked], why)
        return left

    async def will_have_room(self, state: CallState, quotes: Sequence[Quote]) -> bool:
        """Whether the limits had room for what is lacking for one of these quotes if all that
        others hold came back. Raises StorageUnavailable."""
        windows = [(id, await self._shared.spent(claims)) for id, claims in _holds(state)]

        def fits(quote: Quote) -> bool:
            lacking = _lacking(state, (quote,), leaves_model=False)
            for hold_id, spent in windows:
                more = lacking(hold_id)
                for one in spent:
                    lacks = more.get(one.claim.unit, 0)
                    if lacks and one.spent + _held_in(one, state) + lacks > one.claim.limit:
                        return False
            return True

        return any(map(fits, quotes))

    async def hold_beside(self, state: CallState, quote: Quote) -> bool:
        """Holds what a second backend may cost, beside what the first may: no part of the first
        one's hold counts for it. False where there is no room, or the store does not answer."""
        needed: dict[Unit, int] = {
            **{unit: n for unit, n in state.counted.items() if unit != "calls"},
            "gpu_us": device_us((quote,)),
            "nano_usd": quote.estimate.hold,
        }
        own = state.call.id
        return bool(await self._hold(state, lambda name: dict(needed) if name == own else {}))

    async def lengthen(self, state: CallState) -> None:
        """What is held outlives the call, which may take longer than it was admitted for."""
        lasts_s = state.hold_lasts_s(self._clock.monotonic())
        for hold_id, claims in _holds(state):
            with contextlib.suppress(StorageUnavailable):  # it lives as long as it did
                await self._shared.reinstate(hold_id, claims, lasts_s)

    def _seconds(self, quote: Quote, seconds: float) -> dict[Unit, int]:
        return {
            "gpu_us": device_us((quote,)),
            "nano_usd": round(quote.estimate.per_second * seconds),
        }

    async def _hold(
        self, state: CallState, lacking: Callable[[str], dict[Unit, int]]
    ) -> bool | None:
        """Whether there is room for what each of its holds lacks, by its id; None where the store
        does not answer."""
        for hold_id, claims in _holds(state):
            held = await self._extended(state, hold_id, claims, lacking(hold_id))
            if not held:
                return held
        return True

    async def _extended(
        self, state: CallState, hold_id: str, claims: Sequence[Claim], more: dict[Unit, int]
    ) -> bool | None:
        limited = {claim.unit for claim in claims}
        try:
            for unit, amount in more.items():
                if unit not in limited or not amount:
                    continue
                if not await self._shared.extend(hold_id, unit, amount):
                    return False
                state.hold_more(hold_id, unit, amount)
                more[unit] = 0  # a repetition after a silence must not hold it twice
        except StorageUnavailable:
            return None
        return True


def _uses_more(state: CallState, attempt: Attempt) -> bool:
    """Whether the call is at the backend: what came of it, and waits to be kept, costs nothing
    more."""
    return state.attempt is attempt and attempt.progress.ended_at == inf


def _holds(state: CallState) -> list[tuple[str, Sequence[Claim]]]:
    """All that a call holds, by id; in its caller's own limits first."""
    own, claims = state.call.id, state.admission.claims
    return ([(own, claims)] if claims else []) + [(one.id, one.claims) for one in state.beside]


def _limits_time(state: CallState) -> bool:
    """Whether what its time costs, or takes of a device, is limited anywhere."""
    return any(
        claim.unit in ("nano_usd", "gpu_us") for _, claims in _holds(state) for claim in claims
    )


def _held_in(window: WindowSpent, state: CallState) -> int:
    """What the call holds in the window of now: nothing, where it came in an earlier one."""
    claim = window.claim
    began_us, _ = bounds(claim.window, window.ends_at - 1)
    came_before = round(state.received_at * MICRO) < began_us
    return 0 if came_before and not read_window(claim.window).rolling else claim.take


def _lacking(
    state: CallState, quotes: Sequence[Quote], leaves_model: bool
) -> Callable[[str], dict[Unit, int]]:
    """What the dearest and the longest of the quotes need beyond what is held under an id."""
    nano = max(quote.estimate.hold for quote in quotes)
    needed: dict[Unit, int] = {**state.counted, "gpu_us": device_us(quotes), "nano_usd": nano}

    def lacking(hold_id: str) -> dict[Unit, int]:
        own = hold_id == state.call.id
        if leaves_model and not own:
            return {}
        room = state.room if own else state.room_at_model
        return {unit: max(0, amount - room(unit)) for unit, amount in needed.items()}

    return lacking
