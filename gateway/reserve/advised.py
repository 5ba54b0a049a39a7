"""For how many calls at once instances are worth their price, as a plan says."""

from __future__ import annotations

from gateway.active_policy import ActivePolicy
from gateway.policy.sections.reserve import Reserve
from gateway.warm.planned import BackendPlan


def advised_by(active: ActivePolicy, plan: BackendPlan, rule: Reserve) -> int:
    """What the plan's last look would reserve, of all models that the instances serve, less what
    other backends run that are paid for by the hour anyhow."""
    served = set(active.served_by(active.backends[rule.backend]))
    looks = [look for look in plan.pools if served.issuperset(look.models)]
    models = {model for look in looks for model in look.models}
    return max(0, sum(look.capacity.reserved for look in looks) - _elsewhere(active, models, rule))


def _elsewhere(active: ActivePolicy, models: set[str], rule: Reserve) -> int:
    named = {name for model in models for name in active.policy.models[model].backends}
    others = [active.backends[name] for name in named if name != rule.backend]
    return sum(one.slots or 0 for one in others if one.price is not None and one.price.reserved)
