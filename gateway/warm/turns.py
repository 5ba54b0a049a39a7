"""In which order backends are planned, and what a later one may count on. Pure.

Two platforms that serve the same models would both start workers for the whole load: so the one
whose seconds are cheapest is planned first, and the next one for what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.money.pricing import second_rate
from gateway.policy.model import WarmRule
from gateway.warm.planned import BackendPlan, PlannedModels


def in_turn(active: ActivePolicy, planned: Mapping[str, WarmRule]) -> list[LiveBackend]:
    """The backends that start workers, by what a second of a call costs there; at one price in the
    policy's order."""
    backends = (active.backends[name] for name in planned)
    starting = [each for each in backends if each.learned.cold is not None]
    return sorted(starting, key=lambda each: _rate(each, planned[each.name]))


def _rate(backend: LiveBackend, rule: WarmRule) -> float:
    """Nano-dollars a second and call. What has no price comes last."""
    price = backend.price
    return inf if price is None else second_rate(price) / rule.calls_per_worker


def counted_on(
    backend: LiveBackend,
    models: PlannedModels,
    sooner: Sequence[tuple[LiveBackend, BackendPlan]],
    now: float,
) -> dict[str, int]:
    """Calls of the models that workers of other backends will run, by the plans that were made
    before: those which are up, and where a start there is no longer than what is promised, or than
    one here, those which start."""
    found: dict[str, int] = {}
    for other, plan in sooner:
        looks = [one for one in plan.pools if not models.pool.isdisjoint(one.models)]
        workers = min(plan.minimum.workers, sum(one.minimum.workers for one in looks))
        if _start_s(other) > max(models.plan.slo_s, _start_s(backend)):
            workers = min(workers, other.workers.up(now))
        found[other.name] = workers * other.workers.per_worker
    return found


def _start_s(backend: LiveBackend) -> float:
    cold = backend.learned.cold
    return 0.0 if cold is None else cold.p50
