"""The backends of a policy as they stand: what each one is doing, and what was learned of it.

One event loop owns them; nothing here awaits except a lease that must queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal

import msgspec

from adapters.base import Backend, Cancellable, Clock, Scalable, Warmable
from adapters.errors import BackendError, FailureClass
from adapters.types import Probe, Usage
from gateway.policy.model import BackendSpec, Price
from gateway.routing.forecast import ColdTime, Load, RunTime, WarmSet
from gateway.routing.gaps import GapHistory
from gateway.routing.health import HEALTHY, Health, after_failure, after_success
from gateway.routing.router import Candidate

COLD_FLOOR_S = 0.5
"""A shorter reported start-up is a warm hand-over, not a cold start."""
_QUEUE_PER_SLOT = 64
"""Calls that may wait for each slot of a backend that the gateway queues for."""


class Lease(msgspec.Struct, frozen=True):
    """A place at a backend, from ``StandingBackend.lease`` to ``end``."""

    expected_cold: bool
    leased_at: float


class StandingBackend:
    """One backend: its adapter, its work in flight, its health, and what was learned."""

    def __init__(
        self, spec: BackendSpec, price: Price | None, adapter: Backend, clock: Clock
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.price = price
        self.adapter = adapter
        self.cancellable = adapter if isinstance(adapter, Cancellable) else None
        self.warmable = adapter if isinstance(adapter, Warmable) else None
        self.scalable = adapter if isinstance(adapter, Scalable) else None
        self.draining = False
        self.health: Health = HEALTHY
        self.in_flight = 0
        """Calls that hold a lease or wait for one."""
        self.last_end = clock.monotonic()
        """When it last ended a call or a ping."""
        self.last_call: float | None = None
        self.gaps = GapHistory()
        self.probed_ready: bool | None = None
        self.probe_detail = ""
        self._clock = clock
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._runs: dict[str, RunTime] = {}
        self._starting: deque[float] = deque()
        common = spec.common
        self.cold = (
            ColdTime(common.cold_start.p50, common.cold_start.p95) if (common.cold_start) else None
        )
        self.warm = WarmSet(60.0 if common.idle_timeout is None else common.idle_timeout)
        self._prior = RunTime.prior(common.expect)
        self._limit = common.max_request

    # --- what the router sees -----------------------------------------------------------------

    @property
    def slots(self) -> int | None:
        """Calls it runs at once: what the adapter says, no more than the policy allows."""
        cap, own = self.spec.common.concurrency, self.adapter.slots
        if cap is None or own is None:
            return own if cap is None else cap
        return min(cap, own)

    @property
    def is_warm(self) -> bool:
        """A call sent now would find a warm worker, as far as is known."""
        if self.adapter.slots == 0:
            return False
        if self.probed_ready is False:
            return False
        return self.cold is None or self.warm.idle(self._clock.monotonic()) > 0

    def run_time(self, model: str) -> RunTime:
        return self._runs.get(model, self._prior)

    def blocked(self, now: float) -> Literal["", "drained", "not_ready", "cooling_down"]:
        if self.draining:
            return "drained"
        if self.health.open_until > now:
            return "cooling_down"
        if self.cold is None and self.adapter.slots == 0:
            return "not_ready"
        return ""

    def candidate(self, model: str, now: float) -> Candidate:
        """The backend at this instant, frozen."""
        capabilities = self.adapter.capabilities
        cold = self.cold
        load = Load(
            self.in_flight,
            self.slots,
            0 if cold is None else self.warm.idle(now),
            now - self._starting[0] if self._starting else None,
        )
        return Candidate(
            self.name,
            self.price,
            capabilities,
            capabilities.max_request_bytes if self._limit is None else self._limit,
            load,
            self._runs.get(model, self._prior),
            None if cold is None else cold.p95,
            self.spec.common.max_run,
            self.blocked(now),
            None if load.slots is None else max(load.slots, 1) * _QUEUE_PER_SLOT,
        )

    # --- leases -------------------------------------------------------------------------------

    async def lease(self, *, ping: bool = False) -> Lease:
        """Waits for a place where the policy bounds concurrency; first come, first served.

        Pings keep it warm but say nothing of when callers come.
        """
        if not ping:
            self._note_call()
        self.in_flight += 1
        cap = self.spec.common.concurrency
        if cap is not None:
            await self._queue(cap)
        now = self._clock.monotonic()
        expected_cold = self.cold is not None and not self.warm.take(now)
        if expected_cold:
            self._starting.append(now)
        return Lease(expected_cold, now)

    def _note_call(self) -> None:
        now = self._clock.monotonic()
        if self.cold is not None and self.in_flight == 0 and self.last_call is not None:
            self.gaps.observe(now - self.last_call)
        self.last_call = now

    async def _queue(self, cap: int) -> None:
        if self._running < cap and not self._waiting:
            self._running += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            self.in_flight -= 1
            if place.done() and not place.cancelled():
                self._pass_on()
            else:
                self._waiting.remove(place)
            raise

    def _pass_on(self) -> None:
        """Gives a freed place to the first that still waits."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._running -= 1

    def end(
        self,
        lease: Lease,
        model: str,
        usage: Usage | None,
        failure: BackendError | None,
    ) -> None:
        """Gives the place back and learns from what happened. ``usage`` of a success or ``None``;
        ``failure`` of a failed attempt; neither when the call was broken off."""
        now = self._clock.monotonic()
        self.in_flight -= 1
        self.last_end = now
        if self.last_call is not None:
            self.last_call = now
        if self.spec.common.concurrency is not None:
            self._pass_on()
        if lease.expected_cold and self._starting:
            self._starting.popleft()
        if failure is not None:
            self._failed(failure, now)
        elif usage is not None:
            self._succeeded(lease, model, usage)
        if self.cold is not None and failure is None:
            self.warm.give(now)

    def probed(self, probe: Probe) -> None:
        """Takes over what the backend says of itself; its word on warm workers beats ours."""
        self.probed_ready = probe.ready
        self.probe_detail = probe.detail
        if self.cold is None or probe.warm_workers is None:
            return
        now = self._clock.monotonic()
        if probe.warm_workers == 0:
            self.warm.clear()
        elif self.in_flight == 0 and not self.warm.idle(now):
            self.warm.give(now)

    def _succeeded(self, lease: Lease, model: str, usage: Usage) -> None:
        self.health = after_success(self.health)
        if usage.exec_s is not None:
            self._runs[model] = self._runs.get(model, self._prior).observe(usage.exec_s)
        if self.cold is not None and usage.cold_s is not None and usage.cold_s >= COLD_FLOOR_S:
            self.cold.observe(usage.cold_s)
            if not lease.expected_cold:
                # The platform took down workers that were believed warm.
                self.warm.clear()

    def _failed(self, failure: BackendError, now: float) -> None:
        self.health = after_failure(self.health, failure.failure, now, failure.retry_after)
        if failure.failure is FailureClass.UNREACHABLE:
            self.warm.clear()
