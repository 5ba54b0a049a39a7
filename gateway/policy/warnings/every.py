"""What a valid policy says in vain: rules that can never match, names that nobody uses."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping

from gateway.policy.limit_section import limits_in_vain
from gateway.policy.model import Policy
from gateway.policy.schedule_section import schedules_in_vain
from gateway.policy.sections.limits import Limits
from gateway.policy.sections.price import DatedPrices, epoch_s
from gateway.policy.sections.webhooks import AlertSettings, doubtful
from gateway.policy.syntax.problems import Mark, Problem, place_of, problem_at
from gateway.policy.warnings.places import Found
from gateway.policy.warnings.providers import providers_in_vain
from gateway.policy.warnings.routes import routes_in_vain
from gateway.policy.warnings.stores import stores_in_doubt

PRICE_DAYS = 180
"""A price that was looked up longer ago is worth another look."""


def warnings_of(
    policy: Policy,
    *,
    today: datetime.date,
    places: Mapping[str, Mark] | None = None,
    plans_in_use: Collection[str] | None = None,
) -> tuple[Problem, ...]:
    """Every warning, in the order of the file.

    ``places`` are those of ``load_with_places``; without them a warning names its key path
    alone. Keys, not policies, name plans: unused ones are told only where ``plans_in_use`` is
    given.
    """
    found = [
        *routes_in_vain(policy),
        *_unused(policy, plans_in_use),
        *_old_prices(policy.prices, today),
        *_warm_pool(policy),
        *_pinged_too_late(policy),
        *_keys(policy),
        *limits_in_vain(policy, today),
        *schedules_in_vain(policy),
        *providers_in_vain(policy),
        *_listener(policy),
        *stores_in_doubt(policy),
        *doubtful(policy.webhooks, policy.alerts),
        *_alerts(policy),
    ]
    at = places or {}
    problems = [problem_at(place_of(path, at), path, message) for path, message in found]
    return tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))


def _unused(policy: Policy, plans_in_use: Collection[str] | None) -> Found:
    served = {name for model in policy.models.values() for name in model.backends}
    routed = {name for route in policy.routes for name in route.use}
    charged = {spec.common.price for spec in policy.backends.values()}
    for name in policy.backends:
        if name not in served:
            yield f"backends.{name}", "no model lists it"
        elif name not in routed:
            yield f"backends.{name}", "no route uses it"
    for name in policy.prices:
        if name not in charged:
            yield f"prices.{name}", "no backend has this price"
    for name in policy.plans:
        if plans_in_use is not None and name not in plans_in_use:
            yield f"plans.{name}", "no key is on this plan"


def _old_prices(prices: Mapping[str, DatedPrices], today: datetime.date) -> Found:
    now = epoch_s(today.isoformat())
    for name, dated in prices.items():
        price, path = dated.at(now), _path_at(name, dated, now)
        if price.until is not None and price.until <= today.isoformat():
            yield f"{path}.until", f"holds no more since {price.until}, and no price follows"
        if price.as_of is None:
            continue
        days = (today - datetime.date.fromisoformat(price.as_of)).days
        if days > PRICE_DAYS:
            yield f"{path}.as_of", f"looked up {days} days ago; see whether it still holds"
        elif days < 0:
            yield f"{path}.as_of", "lies in the future"


def _path_at(name: str, dated: DatedPrices, now: float) -> str:
    index = f"[{dated.index_at(now)}]" if len(dated.entries) > 1 else ""
    return f"prices.{name}{index}"


def _warm_pool(policy: Policy) -> Found:
    for name in policy.warm_pool:
        if policy.backends[name].common.cold_start is None:
            yield (
                f"warm_pool.{name}",
                f"without effect: {name} has no cold_start, so it is always warm",
            )


def _pinged_too_late(policy: Policy) -> Found:
    """Where a worker has gone to sleep before its next ping."""
    for name, rule in policy.warm_pool.items():
        spec = policy.backends[name]
        idle = spec.common.idle_timeout
        if idle is None:
            idle = getattr(spec.settings, "warm_for", None)
        # What the platform was told to keep stays without a ping.
        pinged = rule.keep != "none" and not rule.spare and rule.plan != "act"
        if idle is not None and pinged and rule.ping_every > idle:
            yield (
                f"warm_pool.{name}.ping_every",
                f"{rule.ping_every:g} s is longer than the {idle:g} s that {name} stays warm "
                "unused: it is cold again before each ping",
            )


def _keys(policy: Policy) -> Found:
    """Keys that nothing limits, or that can hardly be made."""
    if policy.keys.unlimited:
        yield "keys.unlimited", "a key may be made that nothing limits: who has it may spend it all"
    elif policy.plans and "default" not in policy.plans:
        yield "plans", "none is called default: a key takes a plan by name, or limits of its own"


def _listener(policy: Policy) -> Found:
    host, _ = policy.server.listen
    if policy.server.tls == "auto" and host in ("0.0.0.0", "::"):
        yield (
            "server.listen",
            f"{host} is reached from elsewhere, but the certificate that is made is for localhost "
            "alone: listen on the name or address that clients use, or give files of your own",
        )


def _alerts(policy: Policy) -> Found:
    """Limits that are to be told of, and that nobody has. Of keys' own limits a policy knows
    nothing."""
    if policy.alerts == AlertSettings():
        return
    plans = policy.plans.values()
    limits: dict[str, list[Limits]] = {
        "user": [*plans, *policy.limits.users.values()],
        "plan": [plan.shared for plan in plans if plan.shared is not None],
        "tag": [one for values in policy.limits.tags.values() for one in values.values()],
        "model": [*policy.limits.models.values()],
        "backend": [*policy.limits.backends.values()],
        "warm-pool": [policy.limits.warm_pool],
        "gateway": [policy.limits],
    }
    for index, kind in enumerate(policy.alerts.of):
        if kind != "key" and not any(one.spend or one.gpu_seconds for one in limits[kind]):
            yield f"alerts.of[{index}]", f"never told: no limit of spend or gpu_seconds of a {kind}"
