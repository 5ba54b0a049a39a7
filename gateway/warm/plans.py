"""The planner at work: a look at each backend that is planned, twice a second."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.calls.state import CallState
from gateway.clock import Clock
from gateway.planning.coming import ComingCalls, JobsInLine
from gateway.planning.minimum import AWAY, NOTHING, PlanBounds, together
from gateway.policy.hours import within
from gateway.policy.model import WarmRule
from gateway.warm.demand import Pool, pools_of, seen_by
from gateway.warm.lead import Lead
from gateway.warm.planned import BackendPlan, Foreseen, PlannedModels, plan_rule
from gateway.warm.turns import counted_on, elsewhere, in_turn

_ORDERED_S = 1.5
"""From a look until the platform has been told: one may be told a second after the last time."""


class WorkerPlans:
    """What backends should keep, by the calls that this gateway has."""

    def __init__(
        self,
        *,
        active: Callable[[], ActivePolicy],
        calls: Collection[CallState],
        lead: Lead,
        clock: Clock,
        coming: Callable[[float], Sequence[ComingCalls]] = lambda within_s: (),
        jobs: Callable[[], Sequence[JobsInLine]] = tuple,
    ) -> None:
        """``calls``: those on their way, as they come and go; ``coming``: those that begin within
        so many seconds, as far as that is known; ``jobs``: that wait in the store."""
        self._active = active
        self._calls = calls
        self._coming = coming
        self._jobs = jobs
        self._clock = clock
        self.lead = lead
        self._planned: dict[tuple[str, Pool], PlannedModels] = {}
        self._by_policy: ActivePolicy | None = None
        self._pools: dict[str, list[PlannedModels]] = {}
        """Of each backend, by the policy that was in force at the last look."""
        self._last: dict[str, BackendPlan] = {}

    @property
    def acts(self) -> bool:
        """Whether any plan is to be carried out."""
        return any(rule.plan == "act" for rule in self._active().policy.warm_pool.values())

    def look(self) -> None:
        """At every backend with a plan."""
        active = self._active()
        rules = active.policy.warm_pool
        planned = {name: rule for name, rule in rules.items() if rule.plan != "off"}
        for name in [name for name in self._last if name not in planned]:
            del self._last[name]
        sooner: list[tuple[LiveBackend, BackendPlan]] = []
        for backend in in_turn(active, planned):
            rule = planned[backend.name]
            backend.workers.per_worker = rule.calls_per_worker
            found = self._look_at(active, backend, rule, sooner)
            self._last[backend.name] = found
            if backend.workers.started_ahead:
                sooner.append((backend, found))

    def rest(self, looks: int) -> None:
        """So many looks in a row, up to now, would have seen no call, and no worker but those that
        are reserved."""
        now = self._clock.monotonic()
        for models in self._planned.values():
            models.planner.rest(now, looks)

    def _look_at(
        self,
        active: ActivePolicy,
        backend: LiveBackend,
        rule: WarmRule,
        sooner: Sequence[tuple[LiveBackend, BackendPlan]],
    ) -> BackendPlan:
        now, now_at = self._clock.monotonic(), self._clock.time()
        coming = self._coming(_lead_s(backend))
        known = Foreseen(now_at=now_at, coming=coming, jobs=self._jobs())
        looks = []
        for models in self._models(active, backend, now):
            planned = counted_on(backend, models, sooner, now)
            seen, at_home = seen_by(active, backend, models.pool, self._calls, now, planned)
            looks.append(models.look(backend, seen, at_home, now, known))
        minimum = NOTHING
        if within(rule.hours, now_at, rule.ahead):
            bounds = PlanBounds(rule.spare, max(rule.most, rule.spare))
            away = elsewhere(active, backend, now)
            minimum = together([AWAY] if away else [look.minimum for look in looks], bounds)
        return BackendPlan(now_at, minimum, tuple(looks))

    def _models(
        self, active: ActivePolicy, backend: LiveBackend, now: float
    ) -> list[PlannedModels]:
        if active is not self._by_policy:
            self._by_policy, self._pools = active, {}
        found = self._pools.get(backend.name)
        if found is None:
            pools = pools_of(active, backend)
            found = [self._of(active, backend, pool, now) for pool in pools]
            self._pools[backend.name] = found
        return found

    def _of(
        self, active: ActivePolicy, backend: LiveBackend, pool: Pool, now: float
    ) -> PlannedModels:
        """What was learned stays over a reload that changes nothing of what is promised or paid."""
        key, plan = (backend.name, pool), plan_rule(active, backend, pool)
        found = self._planned.get(key)
        if found is None or found.plan != plan:
            found = self._planned[key] = PlannedModels(pool, plan, backend, now)
        return found

    def last(self, name: str) -> BackendPlan | None:
        """The last look at a backend; None where none was taken."""
        return self._last.get(name)

    def in_charge(self, backend: LiveBackend, rule: WarmRule) -> bool:
        """Whether this gateway is to tell the platform what to keep."""
        return rule.plan == "act" and backend.scalable is not None and self.lead.leads

    def begun(self, state: CallState) -> None:
        """A call has got its worker: whether in time is told to the plans that are carried out."""
        if not self._planned:
            return
        active, model = self._active(), state.call.model
        rules = active.policy.warm_pool
        for (name, pool), models in self._planned.items():
            if model in pool and name in rules and rules[name].plan == "act":
                waited_s = self._clock.monotonic() - state.received
                models.planner.feedback.observe(waited_s <= models.plan.slo_s)


def _lead_s(backend: LiveBackend) -> float:
    """So long before an instant a worker must be started, to be up by then nearly always."""
    cold = backend.learned.cold
    return 0.0 if cold is None else cold.p95 + _ORDERED_S
