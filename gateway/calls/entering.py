"""The way into a backend: a row that is durable where that is paid, a slot, and room in the limits
that the backend has itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial
from math import inf
from typing import NamedTuple

from gateway.active_policy import ActivePolicy, Queued
from gateway.backends.leases import Lease
from gateway.backends.live import LiveBackend
from gateway.backends.rests import Caller, LeftAlone
from gateway.backends.slots import Reconsider, Replaced
from gateway.calls.attempt import Attempt
from gateway.calls.backend_limits import BackendLimits, TooLate
from gateway.calls.rerouting import Rerouted, reroute
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.planning.line import Place
from gateway.routing.regions import is_in
from gateway.routing.router import Decision, Quote
from gateway.storage.base import Ledger

Decide = Callable[[ActivePolicy, CallState, Queued], Decision]
"""Routes a call that waits in line."""


class Entering:
    """Takes calls into backends."""

    def __init__(
        self, *, ledger: Ledger, clock: Clock, backend_limits: BackendLimits, decide: Decide
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._limits = backend_limits
        self._decide = decide
        self.begun: Callable[[CallState], None] | None = None
        """Is told of each call that has its slot."""

    def asks_too(self, attempt: Attempt) -> None:
        """A second backend is about to be asked for a call that is at one."""

    async def enter(
        self,
        active: ActivePolicy,
        state: CallState,
        quote: Quote,
        untried: Collection[Quote] = (),
        *,
        last_resort: bool,
    ) -> Attempt:
        """Waits for a slot of the backend, after the row is durable where the backend is paid; or
        for one of ``untried`` that is free sooner. Raises LeftAlone where the backend has begun to
        rest since the decision, was drained while others can be asked, or another call is the one
        that tries it, and NoRoom where a limit of its own is reached."""
        if state.attempt is not None:  # a job that another gateway has sent there
            return state.attempt
        limits = self._limits
        hold = limits.foresee(active, state, quote) if active.limits_backends else None
        backend = state.backend = active.backends[quote.backend]
        if quote.paid:
            try:
                await self._ledger.open(open_row(state, hold, quote.estimate.hold))
            except asyncio.CancelledError:  # it may have its row all the same: it is ended
                state.opened = True
                raise
            state.opened = True
        since = self._clock.monotonic()
        if backend.successor is not None:
            backend = state.backend = backend.newest()
        if (
            backend.standing.draining and untried
        ):  # the call may have waited for money since it was decided
            raise LeftAlone(0.0, hard=True)
        lease = None
        if state.durable is None:
            backend.queue.arrivals += 1
            lease = backend.lease_at_once(since, quote.delay.load_s)
        try:
            if lease is None:
                waits = _Waits(active, state, quote, tuple(untried), last_resort)
                lease, quote = await self._wait_for_lease(waits)
        except (Rerouted, LeftAlone):
            state.waited(self._clock.monotonic() - since)
            raise
        if (waited_s := lease.leased_at - since) or state.tried:
            self._check_time(state, lease, waited_s)
        if hold is not None:
            await limits.take(state, hold, state.backend, lease)
        if self.begun is not None:
            self.begun(state)
        return state.begin(state.backend, quote, lease, waited_s)

    def _check_time(self, state: CallState, lease: Lease, waited_s: float) -> None:
        """Gives the slot back where the run would be cut before it could end: nothing is bought for
        nobody. Raises TooLate then."""
        backend, model = state.backend, state.call.model
        assert backend is not None
        until = state.call.deadline + min(waited_s, state.may_wait_s)
        least_s, left_s = backend.learned.run_time(model).low, until - lease.leased_at
        if left_s < least_s:
            backend.end(lease, model, None, None)
            raise TooLate(least_s, left_s)

    async def _wait_for_lease(self, waits: _Waits) -> tuple[Lease, Quote]:
        """Of ``state.backend``, in its line, or in that of the one that a reload puts in its place
        meanwhile; or of one of the others that the call may take."""
        active, state, quote = waits.active, waits.state, waits.quote
        user = state.principal.user
        while True:
            assert state.backend is not None
            backend = state.backend = state.backend.newest()
            others = waits.others()
            reconsider = self._reconsider(active, state, quote)
            foreseen = _Foreseen()
            foreseen.renew(quote.delay.seconds, backend.leases.begun_at, self._clock.monotonic())
            state.place = partial(self._place, waits, foreseen, backend, reconsider)
            try:
                at, lease = await backend.first_lease(
                    tuple(others),
                    reconsider,
                    load_s=quote.delay.load_s,
                    place=waits.place(backend),
                    since=state.received,
                    caller=Caller(state.call.model, user, waits.last_resort),
                )
            except Replaced:
                continue
            finally:
                state.place = None
            if at is backend:
                return lease, quote
            return lease, await self._moved(state, at, lease, others[at])

    async def _moved(self, state: CallState, at: LiveBackend, lease: Lease, quote: Quote) -> Quote:
        """The call goes to another backend than it was in line for, which its row says where there
        is one, or must be."""
        state.backend = at
        state.moves_to(quote)
        if quote.paid or state.opened:
            try:
                await self._ledger.open(open_row(state, None, quote.estimate.hold))
            except BaseException as failed:
                state.opened = state.opened or isinstance(failed, asyncio.CancelledError)
                at.end(lease, state.call.model, None, None)
                raise
            state.opened = True
        return quote

    def _place(
        self, waits: _Waits, foreseen: _Foreseen, backend: LiveBackend, reconsider: Reconsider
    ) -> tuple[int, float] | None:
        """The calls before one that waits in line, and seconds until it should begin, there or
        where it would be sent now; None where nobody can say."""
        before, now = backend.queue.before(reconsider), self._clock.monotonic()
        if before is None:
            return None
        if foreseen.is_outdated(before, now):
            delay_s = self._delay_of(waits, backend, before)
            if delay_s is None:
                return None
            foreseen.renew(delay_s, backend.leases.begun_at, now)
        foreseen.before = before
        return before, foreseen.begins_at - now

    def _delay_of(self, waits: _Waits, backend: LiveBackend, before: int) -> float | None:
        state = waits.state
        waited = self._clock.monotonic() - state.received
        queued = Queued(backend.name, backend.queue.running + before, waited)
        quotes = self._decide(waits.active, state, queued).quotes
        return next((one.delay.seconds for one in quotes if one.backend == backend.name), None)

    def _reconsider(self, active: ActivePolicy, state: CallState, quote: Quote) -> Reconsider:
        """For a call that waits in line: the quotes to go on with, if another backend would now
        answer it clearly sooner than its place in the line does."""

        def ask(ahead: int) -> Rerouted | None:
            waited = self._clock.monotonic() - state.received
            decision = self._decide(active, state, Queued(quote.backend, ahead, waited))
            return reroute(decision, state, quote.backend)

        return ask


class _Foreseen:
    """When a call in line should begin, in monotonic seconds: an instant, which comes nearer."""

    begins_at: float

    def __init__(self) -> None:
        self.before: int | None = None
        """The calls that were before it when it was asked last."""

    def is_outdated(self, before: int, now: float) -> bool:
        """It has passed, or the place in line is another one."""
        return now >= self.begins_at or self.before not in (None, before)

    def renew(self, delay_s: float, last_begun: float, now: float) -> None:
        """``delay_s``: what is quoted after ``last_begun``, when a call was sent there last."""
        self.begins_at = last_begun + delay_s
        if self.begins_at <= now:
            self.begins_at = now + delay_s


class _Waits(NamedTuple):
    """A call that is about to stand in line for the backend of ``quote``."""

    active: ActivePolicy
    state: CallState
    quote: Quote
    untried: tuple[Quote, ...]
    last_resort: bool

    def place(self, backend: LiveBackend) -> Place:
        """What its place there depends on."""
        active, state = self.active, self.state
        priority = active.priority(state.principal, state.preferences)
        return Place(
            slo_s=active.slo(state.call.model, state.route),
            rank=state.preferences.rank(priority),
            user=state.principal.user,
            work_s=backend.learned.run_time(state.call.model).mean,
            patience_s=inf if state.preferences.patience is None else state.preferences.patience,
        )

    def _may_take(self, quote: Quote) -> bool:
        """What is paid for anyhow, or is started for calls that wait."""
        return quote.reserved or self.active.backends[quote.backend].workers.started_ahead

    def others(self) -> dict[LiveBackend, Quote]:
        """Where it may go instead, as soon as a slot is free there: to what is paid for anyhow. Not
        where backends have limits of their own, for which a call holds before it is sent."""
        active, state = self.active, self.state
        if active.limits_backends or not active.binds_late(state.route):
            return {}
        assert state.decision is not None
        refused = {name for name, _ in state.decision.refused}
        refused.update(one.backend for one in state.tried)
        region = state.decision.region
        if region and not is_in(self.quote, region):
            region = ""
        found = {
            active.backends[quote.backend].newest(): quote
            for quote in self.untried
            if self._may_take(quote) and quote.backend not in refused and not quote.delay.load_s
            if not region or is_in(quote, region)
        }
        return {backend: quote for backend, quote in found.items() if not backend.draining}
