"""The warm pool's loop: asks the plan, sends the pings and keeps the spares, and pays for both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from adapters.base import Warmable
from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.money.scopes import ACCOUNT
from gateway.policy.model import WarmRule
from gateway.storage.base import StorageUnavailable
from gateway.tasks import BackgroundTasks
from gateway.warm.account import WarmAccount
from gateway.warm.minimums import AGAIN_S, WorkerMinimums
from gateway.warm.pings import Pings
from gateway.warm.plan import WarmView, plan
from gateway.warm.plans import WorkerPlans
from gateway.warm.spares import Spares

__all__ = ["ACCOUNT", "WarmKeeper"]

log = logging.getLogger("spillgate")

_TICK_S = 0.5
_PLANNED_PAUSE_S = 1.0
"""Between two changes of what a platform is told by a plan."""
_REFUSED_S = 60.0
"""Until a spare is asked for again that the limits had no room for."""


class WarmKeeper:
    """Holds what the policy's warm pool asks for, pays for it, and takes back what it has set."""

    def __init__(
        self,
        *,
        active: Callable[[], ActivePolicy],
        account: WarmAccount,
        minimums: WorkerMinimums,
        clock: Clock,
        metrics: Metrics,
        leads: Callable[[], bool] = lambda: True,
        plans: WorkerPlans | None = None,
    ) -> None:
        """``leads``: whether it falls to this process, of several, to act; ``plans``: what planned
        backends should keep; None: none is planned."""
        self._leads = leads
        self._active = active
        self._plans = plans
        self._minimums = minimums
        self._spares = Spares(account)
        self._clock = clock
        self._pings = Pings(active=active, account=account, metrics=metrics)
        self._pinged: dict[str, float] = {}
        self._refused_until: dict[str, float] = {}
        """Of backends for whose workers the limits had no room when they were asked last."""
        self._scaling: set[str] = set()
        self._closing = False
        self._background = BackgroundTasks()

    async def run(self) -> None:
        """Two ticks a second, for ever."""
        self._tell_of_strangers()
        failed = False
        while True:
            try:
                self.tick()
                failed = False
            except Exception:
                if not failed:
                    log.exception("a look at the warm pool failed; the next one is in its time")
                failed = True
            await self._clock.sleep(_TICK_S)

    def _tell_of_strangers(self) -> None:
        """What was set at platforms that this policy does not know can be taken back by hand
        alone."""
        for name, workers in self._minimums.kept().items():
            backend = self._active().backends.get(name)
            if backend is None or backend.scalable is None:
                text = (
                    "%s was told to keep %d workers and is not in the policy: set that back there"
                )
                log.error(text, name, workers)

    def tick(self) -> None:
        """Starts what the plan asks for at this instant, and takes back what it does not."""
        if self._closing or not self._leads():
            self._send_at_once()
            return
        active = self._active()
        rules = active.policy.warm_pool
        self._spares.count(self._clock.monotonic())
        if self._plans is not None:
            self._plans.look()
            self._follow_lead(self._plans, rules)
        for name, backend in active.backends.items():
            rule = rules.get(name)
            if rule is None or backend.draining:
                backend.workers.started_ahead = False
            else:
                self._apply(backend, rule)
        for name in self._minimums.kept():
            unwanted = active.backends.get(name)
            if unwanted is not None and (unwanted.draining or name not in rules):
                self._keep(unwanted, 0)

    def _follow_lead(self, plans: WorkerPlans, rules: Mapping[str, WarmRule]) -> None:
        """Platforms have one minimum: where another gateway leads it is that one's to take back,
        and one that takes over from it knows of none until it has told its own."""
        lead = plans.lead
        acting = [name for name, rule in rules.items() if rule.plan == "act"]
        if lead.took_over():
            self._minimums.doubt(acting)
        elif lead.other_leads:
            for name in self._minimums.kept().keys() & set(acting) - self._scaling:
                self._scaling.add(name)
                self._background.run(self._leave_to_other(name))
        if lead.is_due and acting:
            self._background.run(lead.keep())

    async def _leave_to_other(self, name: str) -> None:
        try:
            await self._minimums.forget(name)
            await self._spares.end(name, self._clock.monotonic())
        finally:
            self._scaling.discard(name)

    def _apply(self, backend: LiveBackend, rule: WarmRule) -> None:
        now, plans = self._clock.monotonic(), self._plans
        if plans is not None and rule.plan == "act" and backend.scalable is not None:
            self._carry_out(backend, plans, rule)
            return
        backend.workers.started_ahead = False
        actions = plan(rule, self._view(backend, rule, now), self._clock.time())
        if actions.workers is not None:
            self._keep(backend, actions.workers)
        if actions.pings and backend.warmable is not None:
            self._pinged[backend.name] = now
            for _ in range(actions.pings):
                self._background.run(self.ping(backend, backend.warmable, actions.reason))

    def _carry_out(self, backend: LiveBackend, plans: WorkerPlans, rule: WarmRule) -> None:
        """What the plan wants kept, where this gateway is the one to tell the platform; calls wait
        for the workers that it starts, as long as it can start any."""
        last, name = plans.last(backend.name), backend.name
        leads = last is not None and plans.in_charge(backend, rule)
        obeys = name not in self._refused_until and not self._minimums.fails(name)
        backend.workers.started_ahead = leads and obeys
        if last is not None and leads:
            self._keep(backend, last.minimum.workers, pause_s=_PLANNED_PAUSE_S)

    def _keep(self, backend: LiveBackend, workers: int, *, pause_s: float = 0.0) -> None:
        """Has the platform told, where it is due, to keep so many workers."""
        name, now = backend.name, self._clock.monotonic()
        if backend.scalable is None or name in self._scaling:
            return
        if now < self._refused_until.get(name, now):
            workers = 0
        if self._minimums.is_due(name, workers, pause_s=pause_s):
            self._scaling.add(name)
            self._background.run(self._scale(backend, workers))

    async def _scale(self, backend: LiveBackend, workers: int) -> None:
        name, now = backend.name, self._clock.monotonic()
        policy = self._active().policy
        try:
            if workers and not await self._spares.begin(policy, backend, workers, AGAIN_S, now):
                self._refused_until[name] = now + _REFUSED_S
                workers = 0
                if not self._minimums.is_due(name, 0):
                    return
            elif workers:
                self._refused_until.pop(name, None)
            if await self._minimums.tell(backend, workers) and not workers:
                await self._spares.end(name, self._clock.monotonic())
        finally:
            self._scaling.discard(name)

    def _view(self, backend: LiveBackend, rule: WarmRule, now: float) -> WarmView:
        pinged, called = self._pinged.get(backend.name), backend.last_call
        idle = backend.workers.idle(now)
        return WarmView(
            warm_idle=1 if idle is None else idle,
            in_flight=backend.calls_in_all,
            rested_s=now - backend.last_end,
            since_call_s=None if called is None else now - called,
            since_ping_s=None if pinged is None else now - pinged,
            learned_s=backend.learned.gaps.timeout(_worth(backend, rule)),
            scalable=backend.scalable is not None,
        )

    async def ping(self, backend: LiveBackend, warmable: Warmable, reason: str) -> None:
        """One ping, as a row of its own: admitted and held before the platform is asked."""
        try:
            await self._pings.send(backend, warmable, reason)
        except StorageUnavailable as unavailable:
            log.error("the ledger takes no ping of %s: %s", backend.name, unavailable)

    async def drain(self) -> None:
        """Waits for the pings under way; for tests and for the end."""
        await self._background.drain()

    async def replaced(self, old: LiveBackend, new: LiveBackend | None) -> None:
        """A reload put ``new`` in the place of ``old``, or nothing."""
        await self._minimums.replace(old, new)
        if old.name not in self._minimums.kept():
            await self._spares.end(old.name, self._clock.monotonic())

    async def aclose(self) -> None:
        """Breaks off the pings under way and waits for their ends, then takes back what was set at
        platforms, within a bound in time, and settles the spares."""
        await self.break_off()
        await self._minimums.leave(self._active().backends)
        await self._give_up_plans()
        await self._spares.end_all(self._clock.monotonic())

    async def break_off(self) -> None:
        """Breaks off the pings under way and waits for their ends."""
        self._closing = True
        await self._background.cancel()

    async def hand_over(self, until: float) -> None:
        """Another process goes on: pings under way end here, what was set at platforms stays, and
        the spares are settled up to ``until`` at the latest, in monotonic seconds."""
        self._closing = True
        await self._give_up_plans()
        await self._spares.end_all(min(until, self._clock.monotonic()))

    async def _give_up_plans(self) -> None:
        self._send_at_once()
        if self._plans is not None:
            await self._plans.lead.give_up()

    def _send_at_once(self) -> None:
        """Calls wait for no worker that nobody starts."""
        for backend in self._active().backends.values():
            backend.workers.started_ahead = False


def _worth(backend: LiveBackend, rule: WarmRule) -> float:
    """Idle seconds that one cold start is worth: its own, and what the operator gives for it."""
    cold = backend.learned.cold
    cold_s = 0.0 if cold is None else cold.p50
    per_second = 0 if backend.price is None else backend.price.per_second or 0
    return cold_s + (rule.cold_start_worth / per_second if per_second else 60.0)
