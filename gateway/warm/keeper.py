"""The warm pool's loop: asks the plan, sends the pings, writes each one into the ledger."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

import msgspec

from adapters.base import Scalable, Warmable
from adapters.errors import BackendError
from adapters.types import Usage
from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.money.pricing import charge, credible
from gateway.money.settlement import Settler
from gateway.policy.model import WarmRule
from gateway.storage.base import Ledger, LedgerRow, StorageUnavailable
from gateway.tasks import BackgroundTasks
from gateway.types import MICRO
from gateway.warm.plan import WarmView, plan

log = logging.getLogger("spillgate")

ACCOUNT = "system:warm-pool"
"""The user to whom pings are charged."""

_TICK_S = 1.0
_SCALE_AGAIN_S = 600.0
"""Platforms forget a minimum at the next deploy, so it is set again."""
_PING_TIMEOUT_S = 300.0


class WarmKeeper:
    """Holds what the policy's warm pool asks for, and pays for it."""

    def __init__(
        self,
        *,
        active: Callable[[], ActivePolicy],
        ledger: Ledger,
        settler: Settler,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._active = active
        self._ledger = ledger
        self._settler = settler
        self._clock = clock
        self._metrics = metrics
        self._pinged: dict[str, float] = {}
        self._scaled: dict[str, tuple[int, float]] = {}
        self._background = BackgroundTasks()

    async def run(self) -> None:
        """A tick a second, for ever."""
        while True:
            self.tick()
            await self._clock.sleep(_TICK_S)

    def tick(self) -> None:
        """Starts what the plan asks for at this instant."""
        active = self._active()
        for name, rule in active.policy.warm_pool.items():
            backend = active.backends[name]
            if not backend.draining:
                self._apply(backend, rule)

    def _apply(self, backend: LiveBackend, rule: WarmRule) -> None:
        now = self._clock.monotonic()
        actions = plan(rule, self._view(backend, rule, now), self._clock.time())
        name, workers, scalable = backend.name, actions.workers, backend.scalable
        if scalable is not None and workers is not None and self._must_scale(name, workers, now):
            self._scaled[name] = workers, now
            self._background.run(self._scale(name, scalable, workers))
        if actions.pings and backend.warmable is not None:
            self._pinged[name] = now
            for _ in range(actions.pings):
                self._background.run(self.ping(backend, backend.warmable, actions.reason))

    def _view(self, backend: LiveBackend, rule: WarmRule, now: float) -> WarmView:
        pinged, called = self._pinged.get(backend.name), backend.last_call
        idle = backend.learned.warm_idle(now)
        return WarmView(
            warm_idle=1 if idle is None else idle,
            in_flight=backend.in_flight,
            rested_s=now - backend.last_end,
            since_call_s=None if called is None else now - called,
            since_ping_s=None if pinged is None else now - pinged,
            learned_s=backend.learned.gaps.timeout(_worth(backend, rule)),
            scalable=backend.scalable is not None,
        )

    def _must_scale(self, name: str, workers: int, now: float) -> bool:
        last = self._scaled.get(name)
        if last is None:
            return workers > 0
        return last[0] != workers or (workers > 0 and now - last[1] >= _SCALE_AGAIN_S)

    async def _scale(self, name: str, scalable: Scalable, workers: int) -> None:
        try:
            await scalable.keep_workers(workers)
        except BackendError as error:
            self._scaled.pop(name, None)
            log.warning("telling %s to keep %d workers failed: %s", name, workers, error)

    async def ping(self, backend: LiveBackend, warmable: Warmable, reason: str) -> None:
        """One ping, as a row of its own: held in the ledger before the platform is asked."""
        row = _open_row(backend, reason, self._active().policy.version, self._clock.time())
        paid = backend.price is not None and not backend.price.reserved
        try:
            if paid:
                await self._ledger.open(row)
            usage, failure = await self._send(backend, warmable)
            ended = _ended(row, backend, usage, failure, self._clock.time())
            await self._settler.settle((ended,), (), opened=paid)
            self._metrics.pings.labels(backend.name, ended.outcome).inc()
        except StorageUnavailable as unavailable:
            log.error("the ledger takes no ping of %s: %s", backend.name, unavailable)

    async def _send(
        self, backend: LiveBackend, warmable: Warmable
    ) -> tuple[Usage | None, BackendError | None]:
        lease = await backend.lease(ping=True)
        usage: Usage | None = None
        failure: BackendError | None = None
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                usage = credible(await warmable.ping())
        except BackendError as error:
            failure = error
            log.warning("pinging %s failed: %s %s", backend.name, error, error.detail)
        except TimeoutError:
            log.warning("pinging %s did not end within %d s", backend.name, _PING_TIMEOUT_S)
        finally:
            # A ping's run time says nothing of a call's: only its cold start is learned from.
            learned = None if usage is None else msgspec.structs.replace(usage, exec_s=None)
            backend.end(lease, "", learned, failure)
        return usage, failure

    async def drain(self) -> None:
        """Waits for the pings under way; for tests and for the end."""
        await self._background.drain()

    async def aclose(self) -> None:
        """Breaks off the pings under way, and waits for their ends."""
        await self._background.cancel()


def _worth(backend: LiveBackend, rule: WarmRule) -> float:
    """Idle seconds that one cold start is worth: its own, and what the operator gives for it."""
    cold = backend.learned.cold
    cold_s = 0.0 if cold is None else cold.p50
    per_second = 0 if backend.price is None else backend.price.per_second or 0
    return cold_s + (rule.cold_start_worth / per_second if per_second else 60.0)


def _open_row(backend: LiveBackend, reason: str, policy: str, now_at: float) -> LedgerRow:
    return LedgerRow(
        id=f"ping_{os.urandom(12).hex()}",
        kind="ping",
        started_at=now_at,
        key_id=ACCOUNT,
        user=ACCOUNT,
        model="",
        task="ping",
        backend=backend.name,
        reason=reason,
        policy=policy,
        price=backend.spec.common.price or "",
    )


def _ended(
    row: LedgerRow,
    backend: LiveBackend,
    usage: Usage | None,
    failure: BackendError | None,
    now_at: float,
) -> LedgerRow:
    used = usage or credible((failure and failure.usage) or Usage())
    cost = charge(backend.price, used) if used.exec_s is not None else 0
    return msgspec.structs.replace(
        row,
        outcome="success" if usage is not None else "error",
        ended_at=now_at,
        error="" if failure is None else failure.failure.slug,
        queue_us=round((used.queue_s or 0.0) * MICRO),
        cold_us=round((used.cold_s or 0.0) * MICRO),
        exec_us=round((used.exec_s or 0.0) * MICRO),
        gpu_us=round((used.gpu_s or used.exec_s or 0.0) * MICRO),
        cost_nano=cost,
        cost_basis="none" if not cost else "reported" if used.reported else "estimated",
        worker=used.worker or "",
    )
