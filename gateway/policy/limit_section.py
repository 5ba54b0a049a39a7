"""What is wrong with limits that stand beside each other: raises of nothing, limits that callers
choose; and what is said in vain: limits that another one keeps from ever being reached."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.policy.model import Plan, Policy, RequestTags
from gateway.policy.sections.limits import Bounds, GatewayLimits, Limits
from gateway.policy.syntax.findings import BAD, Findings
from gateway.policy.syntax.problems import join, place_of
from gateway.types import Limit, Unit
from gateway.windows import read_window

_Found = Iterator[tuple[str, str]]
"""(key path, message)."""
_NAMES: dict[Unit, str] = {"gpu_us": "gpu_seconds", "nano_usd": "spend", "calls": "requests"}
_OF_PLANS = ("key", "user")
"""Kinds of scope whose limits may come from plans as well: what they raise may be there."""
_NOT_PINGED: tuple[Unit, ...] = (
    "requests", "calls", "concurrent", "tokens", "input_tokens", "output_tokens",
)  # fmt: skip


def check_limits(values: Mapping[str, Any], reading: Findings) -> None:
    """Notes each raise to which there is no limit, or that is none; and each tag with limits that
    any caller could name, where the policy does not say that callers may."""
    plans: Any = values.get("plans", {})
    limits: Any = values.get("limits", BAD)
    for path, scope in _scopes({} if plans is BAD else plans, limits):
        for where, message in _raised_in_vain(path, scope):
            reading.note(place_of(where, reading.places), where, message)
    for where, message in _chosen(values.get("tags"), limits):
        reading.note(place_of(where, reading.places), where, message)


def _chosen(tags: Any, limits: Any) -> _Found:
    if not isinstance(tags, RequestTags) or not isinstance(limits, GatewayLimits):
        return
    for path, name in () if tags.choose_limits else tags.places():
        if name in limits.tags:
            yield (
                path,
                f"limits.tags has limits of {name}, and a request that names another's value would "
                "use up that one's: take it from keys alone, or say choose_limits: true",
            )


def _scopes(plans: Mapping[str, Plan], limits: Any) -> Iterator[tuple[str, Limits]]:
    for name, plan in plans.items():
        yield from _of_plan(join("plans", name), plan)
    if isinstance(limits, GatewayLimits):
        for kind, path, scope in limits.parts():
            if kind not in _OF_PLANS:
                yield path, scope


def _of_plan(path: str, plan: Plan) -> Iterator[tuple[str, Limits]]:
    yield path, plan
    for part in ("per_key", "shared"):
        scope: Limits | None = getattr(plan, part)
        if scope is not None:
            yield f"{path}.{part}", scope


def _raised_in_vain(path: str, scope: Limits) -> _Found:
    own = _amounts(scope)
    for index, more in enumerate(scope.raises):
        for limit in more.flat():
            where = f"{path}.raises[{index}].{named(limit)}"
            base = own.get((limit.unit, limit.window))
            window = f" in the window {limit.window}" if limit.window else ""
            if base is None:
                yield where, f"there is no limit of {named(limit)}{window} here to raise"
            elif limit.amount <= base:
                yield where, f"is not above the limit that it raises{window}"


def _amounts(bounds: Bounds) -> dict[tuple[Unit, str], int]:
    """The smallest amount of each unit and window."""
    found: dict[tuple[Unit, str], int] = {}
    for limit in bounds.flat():
        key = (limit.unit, limit.window)
        found[key] = min(limit.amount, found.get(key, limit.amount))
    return found


def named(limit: Limit) -> str:
    """The key under which a policy has such a limit."""
    return _NAMES.get(limit.unit, limit.unit)


# --- warnings -----------------------------------------------------------------------------------


def limits_in_vain(policy: Policy, now: datetime.date) -> _Found:
    """Limits and raises that change nothing."""
    today = datetime.datetime.combine(now, datetime.time(tzinfo=datetime.UTC)).timestamp()
    for path, scope in _every_scope(policy):
        yield from _never_reached(path, scope)
        yield from _past_raises(path, scope, today)
    for name, plan in policy.plans.items():
        yield from _wider_than_outside(join("plans", name), plan, policy.limits)
    yield from _unpriced(policy)
    yield from _warm_pool(policy)


def _every_scope(policy: Policy) -> Iterator[tuple[str, Limits]]:
    for name, plan in policy.plans.items():
        yield from _of_plan(join("plans", name), plan)
    for _, path, scope in policy.limits.parts():
        yield path, scope


def _never_reached(path: str, scope: Bounds) -> _Found:
    """Of two limits of one unit the longer window's allows as little."""
    for limit in scope.flat():
        for other in scope.flat():
            if other is not limit and _is_under(other, limit):
                yield (
                    f"{path}.{named(limit)}",
                    f"the limit by {limit.window} is never reached: that by {other.window} allows "
                    "no more",
                )
                break


def _is_under(other: Limit, limit: Limit) -> bool:
    """Whether ``other`` is reached first, whatever happens."""
    if named(other) != named(limit) or other.amount > limit.amount:
        return False
    if other.window == limit.window:
        return other.amount < limit.amount
    return read_window(other.window).length_us > read_window(limit.window).length_us


def _past_raises(path: str, scope: Limits, today: float) -> _Found:
    for index, more in enumerate(scope.raises):
        if more.end <= today:
            ended = datetime.datetime.fromtimestamp(more.end, datetime.UTC).isoformat()
            yield f"{path}.raises[{index}].end", f"without effect: it was over at {ended}"


def _wider_than_outside(path: str, plan: Plan, whole: Limits) -> _Found:
    """A narrower scope's limit lies above that of the scope around it."""
    rings: list[tuple[str, Bounds | None]] = [
        (f"{path}.per_key", plan.per_key), (path, plan), (f"{path}.shared", plan.shared),
        ("limits", whole),
    ]  # fmt: skip
    there = [(where, ring) for where, ring in rings if ring is not None]
    for index, (where, ring) in enumerate(there):
        for limit in ring.flat():
            yield from _held_back(where, limit, there[index + 1 :])


def _held_back(where: str, limit: Limit, outside: Iterable[tuple[str, Bounds]]) -> _Found:
    for around, ring in outside:
        most = _amounts(ring).get((limit.unit, limit.window))
        if most is not None and most < limit.amount:
            yield f"{where}.{named(limit)}", f"is never reached: {around} allows less of it"
            return


def _unpriced(policy: Policy) -> _Found:
    for name, limits in policy.limits.backends.items():
        if limits.spend and policy.backends[name].common.price is None:
            yield (
                f"limits.backends.{name}.spend",
                f"without effect: {name} has no price, so nothing is spent there",
            )


def _warm_pool(policy: Policy) -> _Found:
    limits = policy.limits.warm_pool
    if limits.flat() and not policy.warm_pool:
        yield "limits.warm_pool", "without effect: nothing is kept warm"
    for limit in limits.flat():
        if limit.unit in _NOT_PINGED:
            yield (
                f"limits.warm_pool.{named(limit)}",
                "without effect: pings and spares are counted in spend and gpu_seconds alone",
            )
