"""Every way that a call can end: its place is given back, and it is settled exactly once.

Whatever must not be broken off by a cancellation runs shielded, and ``BackgroundTasks`` knows of
it.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec

from adapters.errors import BackendError
from adapters.types import Usage
from gateway.calls.refusals import store_unavailable
from gateway.calls.state import BROKEN_OFF, CallState
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.money.settlement import Settler, settlement_of
from gateway.storage.base import LedgerRow, Outcome, SharedStore, StorageUnavailable
from gateway.tasks import BackgroundTasks
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_CANCEL_S = 10.0
"""The longest that stopping remote work may take before the call is settled without it."""


class Completion:
    def __init__(
        self,
        *,
        shared: SharedStore,
        house: Settler,
        clock: Clock,
        metrics: Metrics,
        top_up: TopUp,
        afterwards: BackgroundTasks,
    ) -> None:
        self._shared = shared
        self._house = house
        self._clock = clock
        self._metrics = metrics
        self._top_up = top_up
        self._afterwards = afterwards

    async def finish(self, exchange: CallState, usage: Usage) -> None:
        """The call succeeded. Raises ApiError when its row cannot be made durable."""
        used = exchange.used(usage)
        self._release(exchange, used, None)
        try:
            await self._close(exchange, "success", used, status=200, error="")
        except StorageUnavailable as unavailable:
            raise store_unavailable(unavailable) from None

    async def fail(self, exchange: CallState, failure: BackendError) -> None:
        """A stream broke off after it began."""
        exchange.tried.append(f"{exchange.backend}: {failure.failure.slug}")
        self._metrics.failures.labels(exchange.backend, failure.failure.slug).inc()
        await self.failed(exchange, failure)

    async def failed(self, exchange: CallState, failure: BackendError) -> None:
        """No backend answered, and ``failure`` is the last word."""
        await self._afterwards.shielded(self._settle_failure(exchange, failure))

    async def _settle_failure(self, exchange: CallState, failure: BackendError) -> None:
        used: Usage | None = None
        if exchange.lease is not None:  # without one it was not asked, or is an attempt by now
            used = exchange.used_by_failure(failure, self._clock.monotonic())
            if failure.failure.maybe_running:
                stopped = await self._stop_remote(exchange)
                used = used if stopped is None else exchange.used(stopped)
        self._release(exchange, None, failure)
        kind = failure.failure
        try:
            await self._close(exchange, "error", used, status=kind.status, error=kind.slug)
        except StorageUnavailable as unavailable:
            log.error(
                "ledger: %s; the row of failed call %s is lost", unavailable, exchange.call.id
            )

    async def abandon(self, exchange: CallState) -> None:
        """The call was broken off: stops the remote work and charges what it used."""
        used: Usage | None = None
        if exchange.lease is not None:
            now = self._clock.monotonic()
            used = exchange.used_until(now, await self._stop_remote(exchange))
            self._release(exchange, None, None)
        outcome, status, code = BROKEN_OFF[exchange.stop_cause]
        try:
            await self._close(exchange, outcome, used, status=status, error=code)
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s is lost", unavailable, exchange.call.id)

    async def _stop_remote(self, exchange: CallState) -> Usage | None:
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
        self, exchange: CallState, usage: Usage | None, failure: BackendError | None
    ) -> None:
        self._top_up.disarm(exchange)
        lease, standing = exchange.lease, exchange.standing
        if lease is not None and standing is not None:
            exchange.lease = None
            standing.end(lease, exchange.call.model, usage, failure)

    async def _close(
        self, exchange: CallState, outcome: Outcome, used: Usage | None, *, status: int, error: str
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
            await self._afterwards.shielded(self._house.settle(settlement, opened=True))
            raise
        self._count(exchange, outcome)

    def _count(self, exchange: CallState, outcome: Outcome) -> None:
        row = exchange.row
        assert row is not None
        elapsed = self._clock.monotonic() - exchange.arrival.received
        pair = self._metrics.pair(row.model, row.backend)
        pair.ended(outcome)
        pair.seconds.observe(elapsed)
        if row.cost_nano:
            pair.cost.value += row.cost_nano / 1e9
        if row.gpu_us:
            pair.gpu.value += row.gpu_us / MICRO
        if row.cold_us:
            pair.cold.value += 1
        if exchange.answered_s and not row.stream:
            self._metrics.overhead.observe(max(0.0, elapsed - exchange.answered_s))

    async def abandon_shielded(self, exchange: CallState) -> None:
        """``abandon`` that runs to its end even when the caller is cancelled once more."""
        await self._afterwards.shielded(self.abandon(exchange))

    async def abandon_broken(self, exchange: CallState) -> None:
        """Something raised what it must not, such as an adapter with a fault: whatever it was,
        the call's lease and hold are not kept for ever."""
        exchange.stop_cause = exchange.stop_cause or "fault"
        await self.abandon_shielded(exchange)

    def attempt(self, exchange: CallState, failure: BackendError) -> LedgerRow | None:
        """Gives the lease back; an attempt that was charged gets a row of its own."""
        self._top_up.disarm(exchange)
        used = exchange.used_by_failure(failure, self._clock.monotonic())
        self._release(exchange, None, failure)
        if used is None or exchange.standing is None:
            return None
        row = exchange.end_row(
            "error",
            used,
            status=failure.failure.status,
            error=failure.failure.slug,
            now_at=self._clock.time(),
        )
        if not row.cost_nano and not row.gpu_us:
            return None
        number = len(exchange.attempts) + 1
        row = msgspec.structs.replace(row, id=f"{row.id}#{number}", kind="attempt", hold_nano=0)
        exchange.attempts.append(row)
        return row

    async def unasked(self, exchange: CallState) -> None:
        """The row could not be made durable, so the backend was not asked: nothing is charged,
        except for attempts before it."""
        await self._afterwards.shielded(self._settle_unasked(exchange))

    async def _settle_unasked(self, exchange: CallState) -> None:
        try:
            if exchange.opened or exchange.attempts:
                await self._close(exchange, "error", None, status=503, error="store_unavailable")
            elif exchange.claims:
                await self._give_back(exchange)
        except StorageUnavailable as unavailable:
            log.error("ledger: %s; the row of call %s is lost", unavailable, exchange.call.id)

    async def _give_back(self, exchange: CallState) -> None:
        """The hold of a call that asked no backend."""
        try:
            await self._shared.release(exchange.call.id)
        except StorageUnavailable as unavailable:
            log.error("store: %s; the hold of %s expires by itself", unavailable, exchange.call.id)
