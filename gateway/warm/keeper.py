"""The warm pool's loop: asks the plan, sends the pings, writes each one into the ledger."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from adapters.errors import BackendError
from adapters.types import Usage
from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.money.pricing import charge, credible
from gateway.money.settlement import Settler, settlement_of
from gateway.policy.model import WarmRule
from gateway.storage.base import LedgerRow, StorageUnavailable
from gateway.types import MICRO
from gateway.warm.plan import WarmView, plan

log = logging.getLogger("spillgate")

ACCOUNT = "system:warm-pool"
"""The user to whom pings are charged."""

_TICK_S = 1.0
_TELL_AGAIN_S = 600.0
"""Platforms forget a minimum at the next deploy, so it is told again."""
_PING_TIMEOUT_S = 300.0


class WarmKeeper:
    def __init__(
        self,
        *,
        current: Callable[[], ActivePolicy],
        house: Settler,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._current = current
        self._house = house
        self._clock = clock
        self._metrics = metrics
        self._pinged: dict[str, float] = {}
        self._told: dict[str, tuple[int, float]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            self.tick()
            await self._clock.sleep(_TICK_S)

    def tick(self) -> None:
        """Starts what the plan asks for at this instant."""
        current = self._current()
        for name, rule in current.policy.warm_pool.items():
            standing = current.backends[name]
            if not standing.draining:
                self._apply(standing, rule)

    def _apply(self, standing: LiveBackend, rule: WarmRule) -> None:
        now = self._clock.monotonic()
        actions = plan(rule, self._view(standing, rule, now), self._clock.time())
        if actions.workers is not None and self._must_tell(standing.name, actions.workers, now):
            self._told[standing.name] = actions.workers, now
            self._start(self._tell(standing, actions.workers))
        if actions.pings and standing.warmable is not None:
            self._pinged[standing.name] = now
            for _ in range(actions.pings):
                self._start(self.ping(standing, actions.reason))

    def _view(self, standing: LiveBackend, rule: WarmRule, now: float) -> WarmView:
        pinged, called = self._pinged.get(standing.name), standing.last_call
        return WarmView(
            warm_idle=standing.warm.idle(now) if standing.cold is not None else 1,
            in_flight=standing.in_flight,
            rested_s=now - standing.last_end,
            since_call_s=None if called is None else now - called,
            since_ping_s=None if pinged is None else now - pinged,
            learned_s=standing.gaps.timeout(_worth(standing, rule)),
            scalable=standing.scalable is not None,
        )

    def _must_tell(self, name: str, workers: int, now: float) -> bool:
        told = self._told.get(name)
        if told is None:
            return workers > 0
        return told[0] != workers or (workers > 0 and now - told[1] >= _TELL_AGAIN_S)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, standing: LiveBackend, workers: int) -> None:
        assert standing.scalable is not None
        try:
            await standing.scalable.keep_workers(workers)
        except BackendError as error:
            self._told.pop(standing.name, None)
            log.warning("telling %s to keep %d workers failed: %s", standing.name, workers, error)

    async def ping(self, standing: LiveBackend, reason: str) -> None:
        """One ping, as a row of its own: held in the ledger before the platform is asked."""
        row = _open_row(standing, reason, self._current().policy.version, self._clock.time())
        paid = standing.price is not None and not standing.price.reserved
        try:
            if paid:
                await self._house.open(row)
            usage, failure = await self._send(standing)
            ended = _ended(row, standing, usage, failure, self._clock.time())
            await self._house.settle(settlement_of(row.id, (), (ended,)), opened=paid)
            self._metrics.pings.labels(standing.name, ended.outcome).inc()
        except StorageUnavailable as unavailable:
            log.error("the ledger takes no ping of %s: %s", standing.name, unavailable)

    async def _send(self, standing: LiveBackend) -> tuple[Usage | None, BackendError | None]:
        assert standing.warmable is not None
        lease = await standing.lease(ping=True)
        usage: Usage | None = None
        failure: BackendError | None = None
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                usage = credible(await standing.warmable.ping())
        except BackendError as error:
            failure = error
            log.warning("pinging %s failed: %s %s", standing.name, error, error.detail)
        except TimeoutError:
            log.warning("pinging %s did not end within %d s", standing.name, _PING_TIMEOUT_S)
        finally:
            # A ping's run time says nothing of a call's: only its cold start is learned from.
            learned = None if usage is None else msgspec.structs.replace(usage, exec_s=None)
            standing.end(lease, "", learned, failure)
        return usage, failure

    async def drain(self) -> None:
        """Waits for the pings under way; for tests and for the end."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def aclose(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _worth(standing: LiveBackend, rule: WarmRule) -> float:
    """Idle seconds that one cold start is worth: its own, and what the operator gives for it."""
    cold_s = 0.0 if standing.cold is None else standing.cold.p50
    per_second = 0 if standing.price is None else standing.price.per_second or 0
    return cold_s + (rule.cold_start_worth / per_second if per_second else 60.0)


def _open_row(standing: LiveBackend, reason: str, policy: str, now_at: float) -> LedgerRow:
    return LedgerRow(
        id=f"ping_{os.urandom(12).hex()}",
        kind="ping",
        started_at=now_at,
        key_id=ACCOUNT,
        user=ACCOUNT,
        model="",
        task="ping",
        backend=standing.name,
        reason=reason,
        policy=policy,
        price=standing.spec.common.price or "",
    )


def _ended(
    row: LedgerRow,
    standing: LiveBackend,
    usage: Usage | None,
    failure: BackendError | None,
    now_at: float,
) -> LedgerRow:
    used = usage or credible((failure and failure.usage) or Usage())
    cost = charge(standing.price, used) if used.exec_s is not None else 0
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
