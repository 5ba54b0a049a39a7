"""The way in: a call holds what its backends may cost, within its caller's limits.

What is held bounds what can be spent. So an answer that the call itself does not bound is given a
bound where it is paid by tokens: what its model may produce, or what the budget still reaches for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.calls.admission import Admission, counted_amounts, without_dearest
from gateway.calls.slow_clients import SlowClients
from gateway.calls.state import CallState
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
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
        reinstating: Sequence[Reinstate],
    ) -> None:
        """``held``: the calls that hold something; whoever settles one takes it out.
        ``reinstating``: of what they hold beside their admission."""
        self._shared = shared
        self._slow_clients = slow_clients
        self._decide = decide
        self._clock = clock
        self._top_up = top_up
        self._spending = spending
        self._reinstating = reinstating
        self.held = held

    async def admit(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...]
    ) -> tuple[Quote, ...]:
        """Holds the dearest quote that the limits still allow; dearer ones are struck off. Raises
        ApiError 402 or 429 where none is, and StorageUnavailable."""
        template = active.template(
            state.principal, state.call.model, state.received_at, state.preferences.tags
        )
        if self._slow_clients.any:
            await self._slow_clients.check(template)
        if not template.limits:
            self.held.add(state)
            return quotes
        refused = await self._try(active, state, template, quotes)
        if refused is None:
            return quotes
        again = partial(self._try, active, state, template)
        try:
            left = await self._less(active, state, quotes, refused, again)
        except _NoRoomError as error:
            self._spending.refuse(error.refused.status.claim)
            raise refusal(error.refused) from None
        state.narrowed(left)
        return left

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
        return quotes if refused is None else await self._less(active, state, quotes, refused, ask)

    async def _less(
        self,
        active: ActivePolicy,
        state: CallState,
        quotes: tuple[Quote, ...],
        refused: Refused,
        hold: Hold,
    ) -> tuple[Quote, ...]:
        """What there is room for after ``quotes`` were ``refused``. Raises _NoRoomError."""
        tries = _TRIES
        while True:
            left = _affordable(quotes, refused)
            if not left and tries:
                tries -= 1
                left = self._shortened(active, state, quotes, refused.status)
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
        nano = max([quote.estimate.hold for quote in quotes])
        if template.rest:
            state.counted = counted_amounts(active, state.call, state.preferences, template, quotes)
        claims = CallClaims(template, nano, device_us(quotes), state.counted)
        ttl_s = state.hold_lasts_s(self._clock.monotonic())
        result = await self._shared.admit(state.call.id, claims, ttl_s)
        if not isinstance(result, Admitted):
            return result
        state.admission = Admission(result, claims, nano)
        self.held.add(state)
        wanted = state.preferences
        if wanted.unbounded and (template.spends or template.tokens):
            # What is sent is what was held for, whatever a later decision finds.
            state.output_bound = max(1, wanted.output_tokens // wanted.unbounded)
        return None

    async def reinstate(self, active: ActivePolicy) -> None:
        """Every call that holds something holds it again, where the store has forgotten it, and in
        the limits that the policy has brought since. Raises StorageUnavailable."""
        for state in tuple(self.held):
            if state not in self.held:
                continue
            now, attempt, widened = self._clock.monotonic(), state.attempt, False
            # since it was asked: its hold ends when it did
            watched = bool(state.admission.claims or state.beside)
            with contextlib.suppress(ApiError):  # its plan has gone: what it holds stays
                widened = state.widen(self._limits(active, state), now)
            claims, ttl_s = state.admission.claims, state.hold_lasts_s(now)
            await self._shared.reinstate(state.call.id, claims, ttl_s)
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
        return template.limits

    def _shortened(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...], short: LimitStatus
    ) -> tuple[Quote, ...]:
        """The same for an answer as long as the caller's own budget reaches for; none where it
        says itself how long it may be, or that would be too short. Of what others have left
        nobody is told by the length of an answer."""
        wanted, unit = state.preferences, short.claim.unit
        if not wanted.unbounded or not is_callers_own(short.claim):
            return ()
        if unit in ("tokens", "output_tokens"):
            return self._with_fewer_tokens(active, state, quotes, short)
        if unit != "nano_usd":
            return ()
        cheapest = min(quotes, key=_hold)
        without = self._asked_for(active, state, 0, cheapest.backend)
        if without is None or cheapest.estimate.hold <= without.estimate.hold:
            return ()
        left = short.remaining - without.estimate.hold
        each = cheapest.estimate.hold - without.estimate.hold
        tokens = left * wanted.output_tokens // each // wanted.unbounded
        if tokens < _FEWEST:
            return ()
        shorter = self._asked_for(active, state, tokens * wanted.unbounded, cheapest.backend)
        return () if shorter is None else (shorter,)

    def _with_fewer_tokens(
        self, active: ActivePolicy, state: CallState, quotes: tuple[Quote, ...], short: LimitStatus
    ) -> tuple[Quote, ...]:
        """The same where it is tokens of which few are left."""
        each, read = state.preferences.unbounded, 0
        if short.claim.unit == "tokens":
            read = state.counted["input_tokens"]
        tokens = (short.remaining - read) // each
        if tokens < _FEWEST or tokens * each >= state.preferences.output_tokens:
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


def _hold(quote: Quote) -> int:
    return quote.estimate.hold


def _affordable(quotes: tuple[Quote, ...], refused: Refused) -> tuple[Quote, ...]:
    """The quotes that hold less than the one that did not fit; none when money is not why."""
    if refused.status.claim.unit != "nano_usd":
        return ()
    return without_dearest(quotes)
