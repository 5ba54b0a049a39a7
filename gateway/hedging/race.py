"""One call's way where a second backend may be asked.

The call's own task leads; each attempt has a task that does nothing but wait for its answer. What
may happen, and what is left of it:

    the first answers in time        nobody else was asked
    either answers                   the other is stopped, its place free, what it used charged
    both answer in the same moment   the first one's is taken
    one fails                        it is recorded as ever; the other goes on alone
    the request is at fault          nobody else can answer it: the other is stopped
    both fail                        the call goes on from the last failure as ever
    the call is broken off           both are stopped and charged
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, NamedTuple

import msgspec

from adapters.errors import BackendError, FailureClass, Fault
from adapters.types import Progress
from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.calls.answer_limit import answer_limit
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.dispatcher import Begin
from gateway.calls.failover import Failover
from gateway.calls.rows import open_row, row_as_said
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.dialects.asking import ask
from gateway.hedging.hedges import Hedges
from gateway.hedging.rules import second_choice
from gateway.hedging.sides import Brought, Racer, answer_of, dropped, failure_of, side_of, turn_to
from gateway.routing.router import Quote, device_us
from gateway.shared_timer import SharedTimer
from gateway.storage.base import Hold, Ledger, LedgerRow, MaybeWritten, StorageUnavailable
from gateway.tasks import BackgroundTasks
from gateway.types import Unit

_LEFT = {
    "lost": "Another backend answered sooner.",
    "too_long": "What was held for this attempt was used up; the first backend went on alone.",
}
"""Result -> why an attempt was left."""


class RaceParts(NamedTuple):
    """What races of a gateway are made of."""

    failover: Failover
    completion: Completion
    top_up: TopUp
    hedges: Hedges
    ledger: Ledger
    clock: Clock
    timer: SharedTimer
    background: BackgroundTasks
    asks_too: Callable[[Attempt], None]
    """Is told of each second attempt before it is asked."""


class Race:
    """A call at one backend, and soon perhaps at two."""

    def __init__(
        self,
        parts: RaceParts,
        active: ActivePolicy,
        state: CallState,
        attempt: Attempt,
        untried: deque[Quote],
        begin: Begin,
    ) -> None:
        self._parts, self._active, self._state = parts, active, state
        self._clock, self._count = parts.clock, parts.hedges.count
        self._untried, self._begin = untried, begin
        self._answered_s, self._asked_at = state.answered_s, attempt.asked_at
        self._leader = self._start(attempt, second=False)
        """That the state is turned to."""
        self._racers = [self._leader]

    async def run(self, hedge_at: float) -> Brought:
        """What the first to answer brings. ``hedge_at``: monotonic seconds."""
        try:
            await self._wait(hedge_at)
            if not self._leader.task.done():
                await self._ask_second()
            brought = await self._first_answer()
        except BaseException:
            await self._break_off()
            self._count_time()
            raise
        self._count_time()
        attempt = self._state.attempt
        if isinstance(brought, SettledStream) and attempt is not None:
            self._state.answered(attempt, self._clock.monotonic())
        return brought

    def _count_time(self) -> None:
        """What both were waited for at the same time counts once; the last attempt's own seconds
        are counted by whoever ends it."""
        attempt, state = self._state.attempt, self._state
        if attempt is not None:
            state.earlier_s = self._answered_s + attempt.asked_at - self._asked_at
            state.answered_s = state.earlier_s

    # --- an attempt ---------------------------------------------------------------------------

    def _start(self, attempt: Attempt, *, second: bool) -> Racer:
        task = asyncio.get_running_loop().create_task(self._bring(attempt))
        return Racer(attempt, side_of(self._state), task, second=second)

    async def _bring(self, attempt: Attempt) -> Brought:
        active, state, parts = self._active, self._state, self._parts
        may_leave = partial(parts.failover.may_leave, active, state, untried=self._untried)
        with answer_limit(parts.timer, active, state, attempt, may_leave):
            reply = await ask(attempt.backend.adapter, attempt.call, attempt.output_bound)
            return reply if reply.chunks is None else await self._begin(state, attempt, reply)

    async def _wait(self, until: float = inf) -> None:
        """Until one of them has ended, or so late."""
        late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = None
        if until < inf:
            left_s = max(0.0, until - self._clock.monotonic())
            timer = self._clock.call_later(left_s, lambda: _end(late))
        try:
            awaited: list[asyncio.Future[Any]] = [late, *(racer.task for racer in self._racers)]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            late.cancel()
            if timer is not None:
                timer.cancel()

    # --- the second ---------------------------------------------------------------------------

    async def _ask_second(self) -> None:
        """Asks one that can begin at once, where the policy's share and the caller's limits have
        room for it; nothing has changed where nobody is asked."""
        active, state, now = self._active, self._state, self._clock.monotonic()
        found = second_choice(active, state, self._untried, now)
        if found is None:
            self._count("", "no_backend")
            return
        quote, backend = found
        if not self._has_share(quote, now):
            self._count(quote.backend, "no_share")
            return
        held = await self._held_meanwhile(quote)
        if not held:
            self._tell_state()
        if self._leader.task.done():
            return
        if held:
            self._send(quote, backend)
        else:
            self._count(quote.backend, "no_room")

    async def _held_meanwhile(self, quote: Quote) -> bool:
        """The same as ``_is_held``; False, too, where the first answers before a slow store does:
        nobody waits for that then, and what it may hold all the same ends with the call."""
        holding = asyncio.get_running_loop().create_task(self._is_held(quote))
        try:
            await asyncio.wait((holding, self._leader.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not holding.done():
                holding.cancel()
                await asyncio.wait((holding,))
        return not holding.cancelled() and holding.result()

    def _has_share(self, quote: Quote, now: float) -> bool:
        active, parts = self._active, self._parts
        if not parts.failover.has_room_at(active, quote.backend, now):
            return False
        return parts.hedges.has_share(active, self._state.route, now)

    async def _is_held(self, quote: Quote) -> bool:
        """What both may cost is held, and the row says so before the second is asked."""
        state = self._state
        state.other_would_hold = lambda now: _would_hold(quote)
        if not await self._parts.top_up.hold_beside(state, quote):
            return False
        if not quote.paid and not state.opened:
            return True
        at_most = self._leader.attempt.quote.estimate.hold + quote.estimate.hold
        try:
            await self._parts.ledger.open(open_row(state, state.at_backend, at_most))
        except asyncio.CancelledError:
            state.may_be_open = True
            raise
        except StorageUnavailable as unavailable:
            state.may_be_open = state.may_be_open or isinstance(unavailable, MaybeWritten)
            return False
        state.opened = True
        return True

    def _send(self, quote: Quote, backend: LiveBackend) -> None:
        active, parts, now = self._active, self._parts, self._clock.monotonic()
        has_share = self._has_share(quote, now)  # others may have taken it while this one waited
        lease = backend.lease_at_once(now, quote.delay.load_s) if has_share else None
        if lease is None:
            self._tell_state()
            self._count(quote.backend, "no_backend" if has_share else "no_share")
            return
        state, first = self._state, side_of(self._state)
        parts.failover.take_room_at(active, quote.backend, now)
        parts.hedges.take_share(active, state.route, now)
        self._untried.remove(quote)
        state.backend, state.at_backend, state.reason = backend, None, "HEDGE"
        attempt = state.begin(backend, quote, lease, 0.0)
        alone = msgspec.structs.replace(attempt.call, progress=Progress())
        attempt = state.attempt = msgspec.structs.replace(attempt, call=alone)
        parts.asks_too(attempt)
        self._racers.append(self._start(attempt, second=True))
        turn_to(state, first)
        self._tell_state()

    # --- what comes of them -------------------------------------------------------------------

    async def _first_answer(self) -> Brought:
        """Raises BackendError where none is left, or the request is at fault."""
        while True:
            await self._wait(self._looks_at_second())
            for racer in tuple(self._racers):
                if racer.task.done() and racer in self._racers:
                    brought = self._look_at(racer)
                    if brought is not None:
                        return brought
            if self._clock.monotonic() >= self._second_lasts_until():
                self._leave(self._racers[1], "too_long")

    def _look_at(self, racer: Racer) -> Brought | None:
        """What it has brought; None where it failed and the other goes on. Raises what it failed
        of, where that does not."""
        try:
            brought = racer.task.result()
        except BackendError as failure:
            self._fails(racer, failure)
            return None
        except BaseException:
            self._turn_to(racer)
            raise
        self._wins(racer)
        return brought

    def _fails(self, racer: Racer, raised: BackendError) -> None:
        other = self._other_than(racer)
        if other is None or raised.fault is Fault.REQUEST:
            self._turn_to(racer)
            if racer.is_second:
                self._count(racer.attempt.backend.name, "failed")
            self._leave_others(racer)
            raise raised
        self._record_failure(racer, raised)
        self._racers.remove(racer)
        self._turn_to(other)
        self._goes_on_alone(other)

    def _record_failure(self, racer: Racer, raised: BackendError) -> None:
        state, parts = self._state, self._parts
        self._turn_to(racer)
        failure = parts.failover.record(state, racer.attempt, raised)
        parts.completion.close_attempt(state, racer.attempt, failure)
        if racer.is_second:
            self._count(racer.attempt.backend.name, "failed")

    def _wins(self, racer: Racer) -> None:
        self._parts.hedges.learn(racer.attempt, self._clock.monotonic())
        self._leave_others(racer)
        self._turn_to(racer)
        if racer.is_second:
            self._count(racer.attempt.backend.name, "won")
        self._goes_on_alone(racer)

    def _goes_on_alone(self, racer: Racer) -> None:
        """What is held for its time grows with it from here on, as the first one's does from its
        beginning."""
        if racer.is_second and (self._state.opened or self._is_timed(racer.attempt)):
            self._parts.top_up.arm(self._state, racer.attempt, racer.attempt.asked_at)

    def _leave_others(self, winner: Racer) -> None:
        for racer in tuple(self._racers):
            if racer is not winner:
                self._leave(racer, "lost")

    def _leave(self, racer: Racer, result: str) -> None:
        """It is stopped, its place is free, and what it has used is charged to the call, in a row
        of its own. ``result``: what is counted, where it was the second."""
        before = self._leader
        self._racers.remove(racer)
        failure = failure_of(racer)
        if failure is not None:
            self._record_failure(racer, failure)
        else:
            self._stop(racer, result)
        if before is not racer:
            self._turn_to(before)

    def _stop(self, racer: Racer, result: str) -> None:
        state, attempt, parts = self._state, racer.attempt, self._parts
        now = self._clock.monotonic()
        if not racer.is_second:
            parts.hedges.learn(attempt, now)
        used = attempt.used_when_left(answer_of(racer), now, state.preferences.images)
        self._turn_to(racer)
        left = BackendError(FailureClass.CANCELLED, _LEFT.get(result, _LEFT["lost"]))
        state.failed(attempt, left, now, self._clock.time())
        state.tried[-1] = msgspec.structs.replace(state.tried[-1], hedged=True)
        hold = state.at_backend
        charged = parts.completion.close_hedged(state, attempt, used)
        racer.task.cancel()
        parts.background.run(self._end(racer, charged, hold, now))
        if racer.is_second:
            self._count(attempt.backend.name, result)

    async def _end(
        self, racer: Racer, row: LedgerRow | None, hold: Hold | None, left_at: float
    ) -> None:
        """Nothing of it is left: no connection, no task, and no work at its backend; what that says
        of its use, its ``row`` says too, and the limits of which it left ``hold``."""
        await dropped(racer)
        state, attempt, completion = self._state, racer.attempt, self._parts.completion
        said = await completion.forget_remote(attempt)
        if said is not None and said.reported and row is not None:
            used = attempt.used_until(left_at, said, state.preferences.images)
            await completion.correct(state, row, row_as_said(row, attempt, used), hold)

    async def _break_off(self) -> None:
        """The call is over, or has failed: what still runs is stopped. The first of them is the
        attempt that the call ends with."""
        for racer in self._racers[1:]:
            self._leave(racer, "broken_off")
        [last] = self._racers
        self._turn_to(last)
        last.task.cancel()
        await dropped(last)

    # --- which is which -----------------------------------------------------------------------

    def _turn_to(self, racer: Racer) -> None:
        """From here on the state is of this attempt."""
        if racer is not self._leader:
            self._leader.side = side_of(self._state)
            turn_to(self._state, racer.side)
            self._leader = racer
        self._tell_state()

    def _tell_state(self) -> None:
        """What the other attempt than that of the state would hold, if there is one."""
        other = self._other_than(self._leader)
        self._state.other_would_hold = None if other is None else other.attempt.would_hold
        self._state.other = other

    def _other_than(self, racer: Racer) -> Racer | None:
        return next((one for one in self._racers if one is not racer), None)

    def _is_timed(self, attempt: Attempt) -> bool:
        """Whether its time is held for."""
        state = self._state
        at_other = None if state.other is None else state.other.at_backend
        limited = state.admission.claims or state.beside or at_other
        return attempt.quote.uses_device and bool(limited)

    def _looks_at_second(self) -> float:
        """In monotonic seconds: when the second has had its time. While nothing limits the call,
        before it has used up what is held for it by a limit that a reload brings."""
        if len(self._racers) < 2 or not self._racers[1].attempt.quote.uses_device:
            return inf
        lasts_until = self._second_lasts_until()
        if lasts_until < inf:
            return lasts_until
        return self._clock.monotonic() + self._racers[1].attempt.quote.hold_s

    def _second_lasts_until(self) -> float:
        """While two are asked, the second has the time that is held for it, in monotonic
        seconds."""
        if len(self._racers) < 2 or not self._is_timed(self._racers[1].attempt):
            return inf
        attempt = self._racers[1].attempt
        return attempt.charged_from() + attempt.quote.hold_s


def _would_hold(quote: Quote) -> dict[Unit, int]:
    """Of an attempt that has not begun."""
    return {"nano_usd": quote.estimate.hold, "gpu_us": device_us((quote,))}


def _end(late: asyncio.Future[None]) -> None:
    if not late.done():
        late.set_result(None)
