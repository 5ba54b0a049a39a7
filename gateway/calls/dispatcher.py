"""The road: admit a call, walk its decision backend by backend, settle it exactly once.

Steps, and what a caller or a dying process leaves behind at each await:

    admit      nothing is held before it; after it the hold is settled, or expires by itself
    open row   only before a paid backend; from here on a restart settles the call
    invoke     cancelled: the remote work is stopped, what was used is charged
    settle     in the shared store, then in the ledger; both take a call's end only once
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque

from adapters.errors import BackendError
from adapters.types import Call, Reply
from gateway.active_policy import ActivePolicy, Preferences, Queued
from gateway.backends.slots import Reconsider
from gateway.calls.completion import Completion
from gateway.calls.refusals import budget_reached, no_backend, refusal_of, store_unavailable
from gateway.calls.rerouting import Rerouted, called_away
from gateway.calls.state import Arrival, CallState
from gateway.calls.stream import SettledStream
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.money.limits import claims_for, refusal
from gateway.money.settlement import Settler
from gateway.routing.router import Decision, Quote
from gateway.routing.volume import CallVolume
from gateway.shared_timer import SharedTimer
from gateway.storage.base import Admitted, Refused, SharedStore, StorageUnavailable
from gateway.tasks import BackgroundTasks, take_back_cancellation
from gateway.types import MICRO, ApiError

log = logging.getLogger("spillgate")

_GRACE_S = 60.0
"""A hold outlives the longest run by this much before it expires by itself."""


Answer = Reply | SettledStream
"""Whole, and its call settled; or a stream that has begun, which settles its call itself."""


class Dispatcher:
    def __init__(
        self,
        *,
        shared: SharedStore,
        house: Settler,
        clock: Clock,
        metrics: Metrics,
        random_source: random.Random,
    ) -> None:
        self.volume = CallVolume()
        self.rounds = SharedTimer(clock)
        self._shared = shared
        self._house = house
        self._clock = clock
        self._metrics = metrics
        self._random = random_source
        self._afterwards = BackgroundTasks()
        self._top_up = TopUp(
            shared=shared, clock=clock, rounds=self.rounds, run=self._afterwards.run
        )
        self._ends = Completion(
            shared=shared,
            house=house,
            clock=clock,
            metrics=metrics,
            top_up=self._top_up,
            afterwards=self._afterwards,
        )

    # --- the way in ---------------------------------------------------------------------------

    def decide(
        self, current: ActivePolicy, call: Call, arrival: Arrival, wish: Preferences
    ) -> Decision:
        """The decision for a call, without making it."""
        return current.decide(
            call,
            arrival.principal,
            wish,
            now=self._clock.monotonic(),
            per_day=lambda: self.volume.per_day(call.model, arrival.received_at),
            draw=self._random.random,
        )

    async def ask(self, current: ActivePolicy, exchange: CallState, wish: Preferences) -> Answer:
        """Runs the call. A whole answer is settled when this returns; of a stream the first chunk
        is here, and whoever takes it closes it.

        Raises ApiError after settling, or CancelledError after settling when the exchange was
        stopped.
        """
        try:
            self._house.check()
            exchange.wish = wish
            decision = exchange.decision = self.decide(
                current, exchange.call, exchange.arrival, wish
            )
            if not decision.quotes:
                raise no_backend(decision, current.backends)
            quotes = await self._admit(current, exchange, decision)
        except StorageUnavailable as unavailable:
            raise self._refused(store_unavailable(unavailable)) from None
        except ApiError as error:
            raise self._refused(error) from None
        self.volume.add(exchange.call.model, exchange.arrival.received_at)
        return await self._walk(current, exchange, quotes)

    def _refused(self, error: ApiError) -> ApiError:
        self._metrics.refused.labels(error.code).inc()
        return error

    async def _admit(
        self, current: ActivePolicy, exchange: CallState, decision: Decision
    ) -> tuple[Quote, ...]:
        """Holds the dearest quote that the limits still allow; dearer ones are struck off."""
        template = current.template(exchange.principal)
        exchange.reason = decision.reason
        quotes = decision.quotes
        if not template.limits:
            return quotes
        while True:
            nano = max(quote.estimate.hold for quote in quotes)
            seconds = max(quote.hold_s for quote in quotes)
            claims = claims_for(template, nano, round(seconds * MICRO))
            ttl = max(current.backends[q.backend].spec.common.max_run for q in quotes) + _GRACE_S
            result = await self._shared.admit(exchange.call.id, claims, ttl)
            if isinstance(result, Admitted):
                exchange.admitted, exchange.claims, exchange.hold_nano = result, claims, nano
                return quotes
            cheaper = _affordable(quotes, result, nano)
            if not cheaper:
                raise refusal(result)
            quotes = cheaper

    # --- the walk -----------------------------------------------------------------------------

    async def _walk(
        self, current: ActivePolicy, exchange: CallState, quotes: tuple[Quote, ...]
    ) -> Answer:
        failure: BackendError | None = None
        try:
            untried = deque(quotes)
            while untried:
                quote = untried.popleft()
                exchange.standing, exchange.quote = current.backends[quote.backend], quote
                try:
                    return await self._attempt(current, exchange, quote)
                except Rerouted as called:
                    exchange.decision, exchange.reason = called.decision, called.decision.reason
                    untried = deque(called.quotes)
                except BackendError as error:
                    failure = error
                    if not await self._goes_on(exchange, error, bool(untried)):
                        break
                    exchange.reason = "FAILOVER"
            assert failure is not None
            await self._ends.failed(exchange, failure)
        except asyncio.CancelledError:
            await self._ends.abandon_shielded(exchange)
            if exchange.stop_cause == "budget":
                take_back_cancellation()
                raise budget_reached() from None
            raise
        except StorageUnavailable as unavailable:
            await self._ends.unasked(exchange)
            raise store_unavailable(unavailable) from None
        except Exception:
            await self._ends.abandon_broken(exchange)
            raise
        raise refusal_of(failure, exchange.tried)

    async def _attempt(self, current: ActivePolicy, exchange: CallState, quote: Quote) -> Answer:
        standing = exchange.standing
        assert standing is not None
        before = self._clock.monotonic()
        if quote.paid:
            await self._house.open(exchange.open_row())
            exchange.opened = True
        exchange.lease = await standing.lease(
            self._reconsider(current, exchange, quote), load_s=quote.delay.load_s
        )
        exchange.asked_at = exchange.lease.leased_at
        exchange.waited_s += exchange.asked_at - before
        if exchange.claims and (quote.estimate.per_second or quote.reserved):
            self._top_up.arm(exchange, quote)
        reply = await standing.adapter.invoke(exchange.call)
        if reply.chunks is None:
            exchange.answered_s = self._clock.monotonic() - exchange.asked_at
            await self._ends.finish(exchange, reply.usage)
            return standing.veil.over(reply)
        exchange.progress.usage = reply.usage
        stream = SettledStream(self._ends, exchange, reply)
        await stream.begin()
        exchange.answered_s = self._clock.monotonic() - exchange.asked_at
        return stream

    def _reconsider(self, current: ActivePolicy, exchange: CallState, quote: Quote) -> Reconsider:
        """For a call that waits in line: the quotes to go on with, if another backend would now
        answer it clearly sooner than its place in the line does."""

        def ask(ahead: int) -> Rerouted | None:
            waited = self._clock.monotonic() - exchange.arrival.received
            decision = current.decide(
                exchange.call,
                exchange.principal,
                exchange.wish,
                now=self._clock.monotonic(),
                per_day=lambda: self.volume.per_day(
                    exchange.call.model, exchange.arrival.received_at
                ),
                draw=self._random.random,
                queued=Queued(quote.backend, ahead, waited),
            )
            return called_away(decision, exchange, quote.backend)

        return ask

    async def _goes_on(self, exchange: CallState, failure: BackendError, another: bool) -> bool:
        """Notes a failed attempt; True when there is another backend and it may be asked, and what
        the attempt has used up is held again."""
        standing = exchange.standing
        assert standing is not None
        kind = failure.failure
        self._metrics.failures.labels(standing.name, kind.slug).inc()
        exchange.tried.append(f"{standing.name}: {kind.slug}")
        log.warning(
            "call %s failed at %s (%s): %s %s",
            exchange.call.id,
            standing.name,
            kind.slug,
            failure.message,
            failure.detail,
        )
        if not another or not kind.try_next:
            return False
        charged = self._ends.attempt(exchange, failure)
        return charged is None or await self._top_up.cover(exchange, charged)

    async def drain(self) -> None:
        """Waits for settlements that outlived their calls."""
        await self._afterwards.drain()


def _affordable(quotes: tuple[Quote, ...], refused: Refused, nano: int) -> tuple[Quote, ...]:
    """The quotes that hold less than the one that did not fit; none when money is not why."""
    if refused.standing.claim.unit != "nano_usd":
        return ()
    return tuple(quote for quote in quotes if quote.estimate.hold < nano)
