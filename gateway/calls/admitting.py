"""The way in: a call holds what its backends may cost, within its caller's limits.

What is held bounds what can be spent. So an answer that the call itself does not bound is given a
bound where it is paid by tokens: what its model may produce, or what the budget still reaches for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.calls.admission import (
    Admission,
    counted_amounts,
    without_concurrency,
    without_dearest,
)
from gateway.calls.slow_clients import SlowClients
from gateway.calls.state import CallState
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.holds.line import LONGEST_S, RoomLines, WaitForRoom
from gateway.holds.usual_costs import UsualCosts
from gateway.metrics import SeldomCounter
from gateway.money.limit_refusals import refusal
from gateway.money.limits import is_callers_own
from gateway.money.room import Room
from gateway.money.spending import Spending
from gateway.routing.router import Decision, Quote, device_us
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused, SharedStore
from gateway.storage.claims import CallClaims, ClaimTemplate
from gateway.types import ApiError

_FEWEST = 16
"""Tokens; a shorter answer is of no use to anybody, and the call is refused."""
_TRIES = 4
"""How often an answer is made shorter: others spend the same budget meanwhile."""

Decide = Callable[[ActivePolicy, CallState], Decision]
Reinstate = Callable[[ActivePolicy, CallState], Awaitable[bool]]
"""A call holds the same again; True where it holds in more limits than before."""
Hold = Callable[[tuple[Quote, ...]], Awaitable[Refused | None]]
"""Takes what all of the quotes may need, or says what did not fit."""


class _NoRoomError(Exception):
    """The limits have room for none of the quotes."""

    def __init__(self, refused: Refused) -> None:
        super().__init__()
        self.refused = refused


class Admitting:
    """Takes calls into the limits of their callers."""

    def __init__(
        self,
        *,
        shared: SharedStore,
        slow_clients: SlowClients,
        held: set[CallState],
        decide: Decide,
        clock: Clock,
        top_up: TopUp,
        spending: Spending,
        usual: UsualCosts,
        lines: RoomLines,
        waits: SeldomCounter,
        reinstating: Sequence[Reinstate],
    ) -> None:
        """``held``: the calls that hold something; whoever settles one takes it out.
        ``reinstating``: of what they hold beside their admission. ``waits`` counts calls that have
        waited, by what came of it."""
        self._shared = shared
        self._slow_clients = slow_clients
        self._decide = decide
        self._clock = clock
        self._top_up = top_up
        self._spending = spending
        self._usual = usual
        self._lines = lines
        self._waits = waits
        self._reinstating = reinstating
        self._newest: ActivePolicy | None = None
        """That came with the last reload."""
        self.held = held

    async def admit(
        self,
        active: ActivePolicy,
        state: CallState,
        quotes: tuple[Quote, ...],
    ) -> tuple[Quote, ...]:
        """Holds the dearest quote that the limits still allow; dearer ones are struck off. Waits
        for a while where others hold more than they will probably cost. Raises ApiError 402 or
        429 where there is no room, and StorageUnavailable."""
        template, newest = _own_limits(active, state, state.received_at), self._newest
        waiting = self._slow_clients
        if waiting.held or waiting.busy:  # else there is nothing that could leave it no room
            await waiting.check(template)
        refused = await self._try(active, state, template, quotes)
        left = quotes
        if refused is not None:
            try:
                left = await self._find_room(active, state, template, quotes, refused)
            except _NoRoomError as error:
                self._spending.refuse(error.refused.status.claim)
                raise refusal(error.refused) from None
            if left is not quotes:
                state.narrowed(left)
        if self._newest is not newest:
            await self._catch_up(state)
        return left

    async def _catch_up(self, state: CallState) -> None:
        """A reload has brought limits while the store was asked: who held nothing yet was passed
        over."""
        assert self._newest is not None
        try:
            await self.hold_again(self._newest, state)
        except BaseException:
            self.held.discard(state)
            await self._shared.release(state.call.id)
            raise

    async def _find_room(
        self,
        active: ActivePolicy,
        state: CallState,
        template: ClaimTemplate,
        quotes: tuple[Quote, ...],
        refused: Refused,
    ) -> tuple[Quote, ...]:
        """What there is room for after ``quotes`` were ``refused``: now, or when others have ended.
        An answer is cut short where that helps alone. Raises _NoRoomError, and ApiError for a
        caller whose plan has gone meanwhile."""
        wanted, hold = state.preferences, partial(self._try, active, state, template)
        mean = self._usual.mean(state.principal.key_id, state.call.model)
        until = min(self._clock.monotonic() + LONGEST_S, state.call.deadline)
        with WaitForRoom(self._lines, mean, until) as patience, self._counting(state, patience):
            last, patient = refused, True
            while True:
                try:
                    return await self._less(active, state, quotes, last, hold, patient)
                except _NoRoomError as error:
                    if not patient:
                        raise
                    last = error.refused
                patient = await patience.wait(last.status)
                state.preferences = wanted
                if patient:
                    hold = partial(self._try, active, state, self._template_now(active, state))
                    again = await hold(quotes)
                    if again is None:
                        return quotes
                    refused = again
                last = refused

    def _template_now(self, active: ActivePolicy, state: CallState) -> ClaimTemplate:
        """The limits of a call that has waited: others may have come. Raises ApiError."""
        return _own_limits(self._newest or active, state, self._clock.time())

    @contextlib.contextmanager
    def _counting(self, state: CallState, patience: WaitForRoom) -> Iterator[None]:
        result = "refused"
        try:
            yield
            result = "admitted"
        finally:
            if patience.began is not None:
                state.waited(self._clock.monotonic() - patience.began)
                self._waits.labels(result).inc()

    async def foresee(
        self, active: ActivePolicy, state: CallState, room: Room
    ) -> tuple[Quote, ...]:
        """Those that the call would be sent to in turn, by what its caller's limits of money have
        left; nothing is held and nobody is asked. Empty where there are none."""
        decision = self._decide(active, state)
        state.routed(decision)
        if not decision.quotes:
            return ()
        with contextlib.suppress(ApiError, _NoRoomError):
            return await self._foresee(active, state, decision.quotes, room)
        return ()

    async def _foresee(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...], room: Room
    ) -> tuple[Quote, ...]:

        async def ask(quotes: tuple[Quote, ...]) -> Refused | None:
            return room.short_of_money(max(map(_hold, quotes)))

        refused = await ask(quotes)
        if refused is None:
            return quotes
        return await self._less(active, state, quotes, refused, ask, False)

    async def _less(
        self,
        active: ActivePolicy,
        state: CallState,
        quotes: tuple[Quote, ...],
        refused: Refused,
        hold: Hold,
        patient: bool,
    ) -> tuple[Quote, ...]:
        """What there is room for after ``quotes`` were ``refused``; where the call is ``patient``,
        without an answer that would probably be cut short. Raises _NoRoomError."""
        tries = _TRIES
        while True:
            left = _affordable(quotes, refused)
            if not left and tries:
                tries -= 1
                left = self._shortened(active, state, quotes, refused.status, patient)
            if not left:
                raise _NoRoomError(refused)
            again = await hold(left)
            if again is None:
                return left
            quotes, refused = left, again

    async def _try(
        self,
        active: ActivePolicy,
        state: CallState,
        template: ClaimTemplate,
        quotes: tuple[Quote, ...],
    ) -> Refused | None:
        if not template.limits:
            self.held.add(state)
            return None
        nano = quotes[0].estimate.hold
        if len(quotes) > 1:
            nano = max([quote.estimate.hold for quote in quotes])
        surplus = self._usual.surplus(state.principal.key_id, state.call.model, nano)
        if template.rest:
            state.counted = counted_amounts(active, state.call, state.preferences, template, quotes)
        claims = CallClaims(template, nano, device_us(quotes), state.counted, surplus)
        ttl_s = state.hold_lasts_s(self._clock.monotonic())
        result = await self._shared.admit(state.call.id, claims, ttl_s)
        if not isinstance(result, Admitted):
            return result
        state.admission = Admission(result, claims, nano, surplus)
        self.held.add(state)
        wanted = state.preferences
        if wanted.unbounded and (template.spends or template.tokens):
            # What is sent is what was held for, whatever a later decision finds.
            state.output_bound = max(1, wanted.output_tokens // wanted.unbounded)
        return None

    async def reinstate(self, active: ActivePolicy) -> None:
        """Every call that holds something holds it again, where the store has forgotten it, and in
        the limits that the policy has brought since. Raises StorageUnavailable."""
        self._newest = active
        for state in tuple(self.held):
            if state in self.held:
                await self.hold_again(active, state)

    async def hold_again(self, active: ActivePolicy, state: CallState) -> None:
        """The same of one call, which is one of those."""
        now, attempt, widened = self._clock.monotonic(), state.attempt, False
        # since it was asked: its hold ends when it did
        watched = bool(state.admission.claims or state.beside)
        with contextlib.suppress(ApiError):  # its plan has gone: what it holds stays
            widened = state.widen(self._limits(active, state), now)
        if claims := state.admission.claims:
            await self._shared.reinstate(state.call.id, claims, state.hold_lasts_s(now))
        for more in self._reinstating:
            if state in self.held:
                widened = await more(active, state) or widened
        if widened and not watched and attempt is not None and state.attempt is attempt:
            self._top_up.arm(state, attempt)
        if state not in self.held:
            await self._shared.release(state.call.id)

    def _limits(self, active: ActivePolicy, state: CallState) -> tuple[Claim, ...]:
        """Those in force now. Raises ApiError for a caller whose plan has gone."""
        template = active.template(
            state.principal, state.asked_model, self._clock.time(), state.preferences.tags
        )
        if template.rest and not state.counted:
            quotes = () if state.decision is None else state.decision.quotes
            state.counted = counted_amounts(active, state.call, state.preferences, template, quotes)
        return template.limits if state.durable is None else without_concurrency(template).limits

    def _shortened(
        self,
        active: ActivePolicy,
        state: CallState,
        quotes: tuple[Quote, ...],
        short: LimitStatus,
        patient: bool,
    ) -> tuple[Quote, ...]:
        """The same for an answer as long as the caller's own budget reaches for; none where it
        says itself how long it may be, or that would be too short. Of what others have left
        nobody is told by the length of an answer."""
        wanted, unit = state.preferences, short.claim.unit
        if not wanted.unbounded or not is_callers_own(short.claim):
            return ()
        if unit in ("tokens", "output_tokens"):
            return self._with_fewer_tokens(active, state, quotes, short, patient)
        if unit != "nano_usd":
            return ()
        cheapest, most = min(quotes, key=_hold), wanted.output_tokens
        without = self._asked_for(active, state, 0, cheapest.backend)
        if without is None or cheapest.estimate.hold <= without.estimate.hold:
            return ()
        left = short.remaining - without.estimate.hold
        each = cheapest.estimate.hold - without.estimate.hold
        tokens = left * most // each // wanted.unbounded
        usual = self._least(state, cheapest.estimate.hold) - without.estimate.hold
        if tokens < max(_FEWEST, usual * most // each // wanted.unbounded if patient else 0):
            return ()
        shorter = self._asked_for(active, state, tokens * wanted.unbounded, cheapest.backend)
        return () if shorter is None else (shorter,)

    def _least(self, state: CallState, held: int) -> int:
        return self._usual.least(state.principal.key_id, state.call.model, held)

    def _with_fewer_tokens(
        self,
        active: ActivePolicy,
        state: CallState,
        quotes: tuple[Quote, ...],
        short: LimitStatus,
        patient: bool,
    ) -> tuple[Quote, ...]:
        """The same where it is tokens of which few are left."""
        each, read = state.preferences.unbounded, 0
        if short.claim.unit == "tokens":
            read = state.counted["input_tokens"]
        tokens = (short.remaining - read) // each
        most = state.preferences.output_tokens
        if tokens < max(_FEWEST, self._least(state, most) // each if patient else 0):
            return ()
        if tokens * each >= most:
            return ()
        names = {quote.backend for quote in quotes}
        found = self._decided_for(active, state, tokens * each)
        return tuple(quote for quote in found.quotes if quote.backend in names)

    def _asked_for(
        self, active: ActivePolicy, state: CallState, output_tokens: int, backend: str
    ) -> Quote | None:
        """What the backend means for the call with so many tokens of output, which it asks for
        from now on."""
        found = self._decided_for(active, state, output_tokens)
        return next((quote for quote in found.quotes if quote.backend == backend), None)

    def _decided_for(self, active: ActivePolicy, state: CallState, output_tokens: int) -> Decision:
        state.preferences = msgspec.structs.replace(state.preferences, output_tokens=output_tokens)
        return self._decide(active, state)


def _own_limits(active: ActivePolicy, state: CallState, now_at: float) -> ClaimTemplate:
    """Raises ApiError for a caller whose plan has gone."""
    tags = state.preferences.tags
    template = active.template(state.principal, state.call.model, now_at, tags)
    return template if state.durable is None else without_concurrency(template)


def _hold(quote: Quote) -> int:
    return quote.estimate.hold


def _affordable(quotes: tuple[Quote, ...], refused: Refused) -> tuple[Quote, ...]:
    """The quotes that hold less than the one that did not fit; none when money is not why."""
    if refused.status.claim.unit != "nano_usd":
        return ()
    return without_dearest(quotes)
