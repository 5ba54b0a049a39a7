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


def elsewhere(active: ActivePolicy, backend: LiveBackend, now: float) -> bool:
    """Whether all its calls go to others just now, for it rests or is not well."""
    if not backend.standing.blocked(now):
        return False
    serving = (active.policy.models[model].backends for model in active.served_by(backend))
    return all(
        any(
            not active.backends[name].standing.blocked(now)
            for name in names
            if name != backend.name
        )
        for names in serving
    )


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
        workers = _workers_for(models, plan)
        if _start_s(other) > max(models.plan.slo_s, _start_s(backend)):
            workers = min(workers, other.workers.up(now))
        found[other.name] = workers * other.workers.per_worker
    return found


def _workers_for(models: PlannedModels, plan: BackendPlan) -> int:
    """Of the workers that a platform will have for all its models, the part of some: where they are
    fewer than all need together, each has the same share of what it needs."""
    needed = sum(one.minimum.workers for one in plan.pools)
    found, before, workers = 0, 0, min(plan.minimum.workers, needed)
    for one in plan.pools:
        after = before + one.minimum.workers
        if not models.pool.isdisjoint(one.models):
            found += after * workers // needed - before * workers // needed if needed else 0
        before = after
    return found


def _start_s(backend: LiveBackend) -> float:
    cold = backend.learned.cold
    return 0.0 if cold is None else cold.p50
