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
from collections.abc import Coroutine
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Chunk, Reply, Usage
from gateway.clock import Clock
from gateway.current import Current, Queued, Wish
from gateway.exchange import BROKEN_OFF, Arrival, Exchange
from gateway.limits import claims_for, refusal
from gateway.metrics import Metrics
from gateway.places import Reconsider
from gateway.refusals import budget_reached, no_backend, refusal_of, store_unavailable
from gateway.rerouting import CalledAway, called_away
from gateway.rounds import Rounds
from gateway.routing.router import Decision, Quote
from gateway.routing.volume import Volume
from gateway.settlement import CountingHouse, settlement_of
from gateway.storage.base import Admitted, Outcome, Refused, SharedStore, StoreUnavailable
from gateway.top_up import TopUp
from gateway.types import MICRO, ApiError

log = logging.getLogger("spillgate")

_GRACE_S = 60.0
"""A hold outlives the longest run by this much before it expires by itself."""
_CANCEL_S = 10.0
"""The longest that stopping remote work may take before the call is settled without it."""


class Answer(msgspec.Struct, frozen=True):
    """A reply that has begun: whole and settled, or a stream whose first chunk is here."""

    reply: Reply
    first: Chunk | None = None


class Dispatcher:
    def __init__(
        self,
        *,
        shared: SharedStore,
        house: CountingHouse,
        clock: Clock,
        metrics: Metrics,
        random_source: random.Random,
    ) -> None:
        self.volume = Volume()
        self.rounds = Rounds(clock)
        self._shared = shared
        self._house = house
        self._clock = clock
        self._metrics = metrics
        self._random = random_source
        self._afterwards: set[asyncio.Task[Any]] = set()
        self._top_up = TopUp(
            shared=shared, clock=clock, rounds=self.rounds, run=self._afterwards_run
        )

    # --- the way in ---------------------------------------------------------------------------

    def decide(self, current: Current, call: Call, arrival: Arrival, wish: Wish) -> Decision:
        """The decision for a call, without making it."""
        return current.decide(
            call,
            arrival.principal,
            wish,
            now=self._clock.monotonic(),
            per_day=lambda: self.volume.per_day(call.model, arrival.received_at),
            draw=self._random.random,
        )

    async def ask(self, current: Current, exchange: Exchange, wish: Wish) -> Answer:
        """Runs the call. A whole answer is settled when this returns; of a stream the first chunk
        is here, and the relay ends it with ``finish``, ``fail`` or ``abandon``.

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
                raise no_backend(decision)
            quotes = await self._admit(current, exchange, decision)
        except StoreUnavailable as unavailable:
            raise self._refused(store_unavailable(unavailable)) from None
        except ApiError as error:
            raise self._refused(error) from None
        self.volume.add(exchange.call.model, exchange.arrival.received_at)
        return await self._walk(current, exchange, quotes)

    def _refused(self, error: ApiError) -> ApiError:
        self._metrics.refused.labels(error.code).inc()
        return error

    async def _admit(
        self, current: Current, exchange: Exchange, decision: Decision
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
        self, current: Current, exchange: Exchange, quotes: tuple[Quote, ...]
    ) -> Answer:
        failure: BackendError | None = None
        try:
            untried = deque(quotes)
            while untried:
                quote = untried.popleft()
                exchange.standing, exchange.quote = current.backends[quote.backend], quote
                try:
                    return await self._attempt(current, exchange, quote)
                except CalledAway as called:
                    exchange.decision, exchange.reason = called.decision, called.decision.reason
                    untried = deque(called.quotes)
                except BackendError as error:
                    failure = error
                    if not self._goes_on(exchange, error):
                        break
                    exchange.reason = "FAILOVER"
            assert failure is not None
            await self._shielded(self._settle_failure(exchange, failure))
        except asyncio.CancelledError:
            await self.abandon_shielded(exchange)
            if exchange.stop_cause == "budget":
                _take_back_cancel()
                raise budget_reached() from None
            raise
        except StoreUnavailable as unavailable:
            await self._shielded(self._unasked(exchange))
            raise store_unavailable(unavailable) from None
        except Exception:
            await self.abandon_broken(exchange)
            raise
        raise refusal_of(failure, exchange.tried)

    async def _attempt(self, current: Current, exchange: Exchange, quote: Quote) -> Answer:
        standing = exchange.standing
        assert standing is not None
        before = self._clock.monotonic()
        if quote.paid:
            await self._house.open(exchange.open_row())
            exchange.opened = True
        exchange.lease = await standing.lease(self._reconsider(current, exchange, quote))
        exchange.asked_at = exchange.lease.leased_at
        exchange.waited_s += exchange.asked_at - before
        if exchange.claims and (quote.estimate.per_second or quote.reserved):
            self._top_up.arm(exchange, quote)
        reply = await standing.adapter.invoke(exchange.call)
        if reply.chunks is None:
            exchange.answered_s = self._clock.monotonic() - exchange.asked_at
            await self.finish(exchange, reply.usage)
            return Answer(reply)
        exchange.progress.usage = reply.usage
        return Answer(reply, await _first(reply))

    def _reconsider(self, current: Current, exchange: Exchange, quote: Quote) -> Reconsider:
        """For a call that waits in line: the quotes to go on with, if another backend would now
        answer it clearly sooner than its place in the line does."""

        def ask(ahead: int) -> CalledAway | None:
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

    def _goes_on(self, exchange: Exchange, failure: BackendError) -> bool:
        """Notes a failed attempt; True when the next backend may be asked."""
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
        if not kind.try_next:
            return False
        self._end_attempt(exchange, failure)
        return True

    def _end_attempt(self, exchange: Exchange, failure: BackendError) -> None:
        """Gives the lease back; an attempt that was charged gets a row of its own."""
        self._top_up.disarm(exchange)
        used = exchange.used_by_failure(failure, self._clock.monotonic())
        self._release(exchange, None, failure)
        if used is None or exchange.standing is None:
            return
        row = exchange.end_row(
            "error",
            used,
            status=failure.failure.status,
            error=failure.failure.slug,
            now_at=self._clock.time(),
        )
        if row.cost_nano or row.gpu_us:
            number = len(exchange.attempts) + 1
            exchange.attempts.append(
                msgspec.structs.replace(row, id=f"{row.id}#{number}", kind="attempt", hold_nano=0)
            )

    async def _unasked(self, exchange: Exchange) -> None:
        """The row could not be made durable, so the backend was not asked: nothing is charged,
        except for attempts before it."""
        try:
            if exchange.opened or exchange.attempts:
                await self._close(exchange, "error", None, status=503, error="store_unavailable")
            elif exchange.claims:
                await self._give_back(exchange)
        except StoreUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s is lost", unavailable, exchange.call.id)

    async def _give_back(self, exchange: Exchange) -> None:
        """The hold of a call that asked no backend."""
        try:
            await self._shared.release(exchange.call.id)
        except StoreUnavailable as unavailable:
            log.error("store: %s; the hold of %s expires by itself", unavailable, exchange.call.id)

    # --- the ends of a call -------------------------------------------------------------------

    async def finish(self, exchange: Exchange, usage: Usage) -> None:
        """The call succeeded. Raises ApiError when its row cannot be made durable."""
        used = exchange.used(usage)
        self._release(exchange, used, None)
        try:
            await self._close(exchange, "success", used, status=200, error="")
        except StoreUnavailable as unavailable:
            raise store_unavailable(unavailable) from None

    async def fail(self, exchange: Exchange, failure: BackendError) -> None:
        """A stream broke off after it began."""
        exchange.tried.append(f"{exchange.backend}: {failure.failure.slug}")
        self._metrics.failures.labels(exchange.backend, failure.failure.slug).inc()
        await self._shielded(self._settle_failure(exchange, failure))

    async def _settle_failure(self, exchange: Exchange, failure: BackendError) -> None:
        used = exchange.used_by_failure(failure, self._clock.monotonic())
        if failure.failure.maybe_running and exchange.lease is not None:
            used = await self._stop_remote(exchange) or used
        self._release(exchange, None, failure)
        kind = failure.failure
        try:
            await self._close(exchange, "error", used, status=kind.status, error=kind.slug)
        except StoreUnavailable as unavailable:
            log.error(
                "ledger: %s; the row of failed call %s is lost", unavailable, exchange.call.id
            )

    async def abandon(self, exchange: Exchange) -> None:
        """The call was broken off: stops the remote work and charges what it used."""
        used: Usage | None = None
        if exchange.lease is not None:
            now = self._clock.monotonic()
            used = exchange.used_until(now, await self._stop_remote(exchange))
            self._release(exchange, None, None)
        outcome, status, code = BROKEN_OFF[exchange.stop_cause]
        try:
            await self._close(exchange, outcome, used, status=status, error=code)
        except StoreUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s is lost", unavailable, exchange.call.id)

    async def _stop_remote(self, exchange: Exchange) -> Usage | None:
        standing = exchange.standing
        if standing is None or standing.cancellable is None:
            return None
        try:
            async with asyncio.timeout(_CANCEL_S):
                return await standing.cancellable.cancel(exchange.call.id)
        except (BackendError, TimeoutError) as error:
            log.warning("cancelling %s at %s failed: %r", exchange.call.id, standing.name, error)
            return None

    def _release(
        self, exchange: Exchange, usage: Usage | None, failure: BackendError | None
    ) -> None:
        self._top_up.disarm(exchange)
        lease, standing = exchange.lease, exchange.standing
        if lease is not None and standing is not None:
            exchange.lease = None
            standing.end(lease, exchange.call.model, usage, failure)

    async def _close(
        self, exchange: Exchange, outcome: Outcome, used: Usage | None, *, status: int, error: str
    ) -> None:
        """Settles, once. Raises StoreUnavailable only where no durable row existed."""
        if exchange.settled:
            return
        exchange.settled = True
        row = exchange.row = exchange.end_row(
            outcome, used, status=status, error=error, now_at=self._clock.time()
        )
        settlement = settlement_of(exchange.call.id, exchange.claims, (row, *exchange.attempts))
        try:
            await self._house.settle(settlement, opened=exchange.opened)
        except asyncio.CancelledError:
            # Nobody knows how far it came; both stores take it only once.
            self._count(exchange, outcome)
            await self._shielded(self._house.settle(settlement, opened=True))
            raise
        self._count(exchange, outcome)

    def _count(self, exchange: Exchange, outcome: Outcome) -> None:
        row = exchange.row
        assert row is not None
        elapsed = self._clock.monotonic() - exchange.arrival.received
        pair = self._metrics.pair(row.model, row.backend)
        pair.ended(outcome)
        pair.seconds.observe(elapsed)
        if row.cost_nano:
            pair.cost.inc(row.cost_nano / 1e9)
        if row.gpu_us:
            pair.gpu.inc(row.gpu_us / MICRO)
        if row.cold_us:
            pair.cold.inc()
        if exchange.answered_s and not row.stream:
            self._metrics.overhead.observe(max(0.0, elapsed - exchange.answered_s))

    # --- work that outlives its call ----------------------------------------------------------

    def _afterwards_run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)
        return task

    async def abandon_shielded(self, exchange: Exchange) -> None:
        """``abandon`` that runs to its end even when the caller is cancelled once more."""
        await self._shielded(self.abandon(exchange))

    async def abandon_broken(self, exchange: Exchange) -> None:
        """Something raised what it must not, such as an adapter with a fault: whatever it was,
        the call's lease and hold are not kept for ever."""
        exchange.stop_cause = exchange.stop_cause or "fault"
        await self.abandon_shielded(exchange)

    async def _shielded(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.shield(self._afterwards_run(work))

    async def drain(self) -> None:
        """Waits for settlements that outlived their calls."""
        while self._afterwards:
            await asyncio.gather(*self._afterwards, return_exceptions=True)


async def _first(reply: Reply) -> Chunk:
    assert reply.chunks is not None
    async for chunk in reply.chunks:
        return chunk
    raise BackendError(FailureClass.TRUNCATED, "the backend's stream held nothing")


def _affordable(quotes: tuple[Quote, ...], refused: Refused, nano: int) -> tuple[Quote, ...]:
    """The quotes that hold less than the one that did not fit; none when money is not why."""
    if refused.standing.claim.unit != "nano_usd":
        return ()
    return tuple(quote for quote in quotes if quote.estimate.hold < nano)


def _take_back_cancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
