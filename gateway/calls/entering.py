"""The way into a backend: a row that is durable where that is paid, a slot, and room in the limits
that the backend has itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.active_policy import RANK, ActivePolicy, Queued
from gateway.backends.leases import Lease
from gateway.backends.rests import Caller
from gateway.backends.slots import Reconsider, Replaced
from gateway.calls.attempt import Attempt
from gateway.calls.backend_limits import BackendLimits
from gateway.calls.rerouting import Rerouted, reroute
from gateway.calls.rows import open_row
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.routing.router import Decision, Quote
from gateway.storage.base import Hold, Ledger

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

    async def _open(self, state: CallState, at_backend: Hold | None) -> None:
        """A call that is cancelled meanwhile may have its row all the same: it is ended."""
        try:
            await self._ledger.open(open_row(state, at_backend))
        except asyncio.CancelledError:
            state.opened = True
            raise
        state.opened = True

    async def enter(
        self, active: ActivePolicy, state: CallState, quote: Quote, *, last_resort: bool
    ) -> Attempt:
        """Waits for a slot of the backend, after the row is durable where the backend is paid.
        Raises LeftAlone where the backend has begun to rest since the decision, or another call is
        the one that tries it, and NoRoom where a limit of its own is reached."""
        limits = self._limits
        hold = limits.foresee(active, state, quote) if active.limits_backends else None
        backend = state.backend = active.backends[quote.backend]
        if quote.paid:
            await self._open(state, hold)
        since = self._clock.monotonic()
        backend = state.backend = backend.newest()
        lease = backend.lease_at_once(since, quote.delay.load_s)
        try:
            if lease is None:
                lease = await self._wait_for_lease(active, state, quote, last_resort=last_resort)
        except Rerouted:
            state.waited_s += self._clock.monotonic() - since
            raise
        if hold is not None:
            await limits.take(state, hold, state.backend, lease)
        return state.begin(state.backend, quote, lease, lease.leased_at - since)

    async def _wait_for_lease(
        self, active: ActivePolicy, state: CallState, quote: Quote, *, last_resort: bool
    ) -> Lease:
        """Of ``state.backend``, in its line, or in that of the one that a reload puts in its place
        meanwhile."""
        rank = RANK[active.priority(state.principal, state.preferences)]
        while True:
            assert state.backend is not None
            backend = state.backend = state.backend.newest()
            try:
                return await backend.lease(
                    self._reconsider(active, state, quote),
                    load_s=quote.delay.load_s,
                    rank=rank,
                    caller=Caller(state.call.model, state.principal.user, last_resort),
                )
            except Replaced:
                continue

    def _reconsider(self, active: ActivePolicy, state: CallState, quote: Quote) -> Reconsider:
        """For a call that waits in line: the quotes to go on with, if another backend would now
        answer it clearly sooner than its place in the line does."""

        def ask(ahead: int) -> Rerouted | None:
            waited = self._clock.monotonic() - state.received
            decision = self._decide(active, state, Queued(quote.backend, ahead, waited))
            return reroute(decision, state, quote.backend)

        return ask
