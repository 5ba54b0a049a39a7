"""Where limits lie: the scopes of a call, and what the policy allows in each of them.

A scope is named as its counters are: ``key:ID``, ``user:NAME``, ``plan:NAME``, ``tag:NAME=VALUE``,
``model:NAME``, ``backend:NAME``, ``warm-pool``, ``gateway``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from gateway.policy.model import Plan, Policy
from gateway.policy.sections.limits import Limits
from gateway.storage.base import Claim
from gateway.storage.counters import TOTALS
from gateway.types import TOKEN_TAG, ApiError, Limit, Principal, Unit, with_own

GATEWAY = "gateway"
WARM_POOL = "warm-pool"
ACCOUNT = "system:warm-pool"
"""The user to whom pings and spares are charged."""


def key_scope(key_id: str) -> str:
    """Of one key."""
    return f"key:{key_id}"


def user_scope(user: str) -> str:
    """Of all keys of a user together."""
    return f"user:{user}"


def plan_scope(plan: str) -> str:
    """Of all users of a plan together."""
    return f"plan:{plan}"


def tag_scope(name: str, value: str) -> str:
    """Of all calls with a tag of this value."""
    return f"tag:{name}={value}"


def model_scope(model: str) -> str:
    """Of all calls of a model."""
    return f"model:{model}"


def backend_scope(backend: str) -> str:
    """Of all that a backend does."""
    return f"backend:{backend}"


class Allowed(NamedTuple):
    """What one place in the policy allows in a scope."""

    scope: str
    limits: Limits
    overrides: bool = False
    """Its raises are above what any other place allows there."""
    own: tuple[Limit, ...] = ()
    """Limits beside the policy's: those that a key was made with."""


def allowed(
    principal: Principal,
    policy: Policy,
    model: str = "",
    tags: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Allowed]:
    """Of a call of the principal that asks for ``model``, narrowest first; without a model: of
    whatever it may ask for. ``tags``: those of the call, beside the key's own. Raises ApiError 403
    for a plan that the policy does not define: without its limits the caller would have none."""
    key, user = key_scope(principal.key_id), user_scope(principal.user)
    plan, limits = _plan(principal, policy), policy.limits
    if principal.token is not None:
        yield Allowed(tag_scope(TOKEN_TAG, principal.id), Limits(), own=principal.token.limits)
    for one in principal.tagged:
        yield Allowed(tag_scope(one.name, one.value), Limits(), own=one.limits)
    if principal.limits:
        yield Allowed(key, Limits(), own=principal.limits)
    if plan is not None and plan.per_key is not None:
        yield Allowed(key, plan.per_key)
    if principal.key_id in limits.keys:
        yield Allowed(key, limits.keys[principal.key_id], overrides=True)
    if plan is not None:
        yield Allowed(user, plan)
    if principal.user in limits.users:
        yield Allowed(user, limits.users[principal.user], overrides=True)
    yield from _tagged(with_own(tags, principal.tags) if tags else principal.tags, policy)
    if plan is not None and plan.shared is not None:
        yield Allowed(plan_scope(principal.plan), plan.shared)
    if model in limits.models:
        yield Allowed(model_scope(model), limits.models[model])
    yield Allowed(GATEWAY, limits)


def _plan(principal: Principal, policy: Policy) -> Plan | None:
    if not principal.plan:
        return None
    plan = policy.plans.get(principal.plan)
    if plan is None:
        raise _plan_unknown(principal.plan)
    return plan


def _tagged(tags: Mapping[str, str], policy: Policy) -> Iterator[Allowed]:
    for name, value in tags.items():
        found = policy.limits.tagged(name, value)
        if found is not None:
            yield Allowed(tag_scope(name, value), found)


def _plan_unknown(plan: str) -> ApiError:
    return ApiError(
        403,
        "plan_not_found",
        f"Your key is on the plan {plan!r}, which this gateway does not define any more. Ask "
        "whoever runs it for a key on another plan.",
        type="permission_error",
    )


class InForce(NamedTuple):
    """The limits that hold at an instant, as claims that take nothing in amounts."""

    claims: tuple[Claim, ...]
    """Each counter once, under the smallest of the limits that name it."""
    until: float
    """Seconds since the epoch: when one of them changes."""


def in_force(places: Iterable[Allowed], now: float) -> InForce:
    """What holds at ``now``, in seconds since the epoch."""
    smallest: dict[tuple[str, Unit, str], Claim] = {}
    raised: dict[tuple[str, Unit, str], int] = {}
    until = inf
    for place in places:
        for limit in (*place.own, *place.limits.at(now)):
            key = (place.scope, limit.unit, limit.window)
            if key not in smallest or limit.amount < smallest[key].limit:
                take = 0 if limit.unit in TOTALS else 1
                smallest[key] = Claim(*key, limit.amount, take)
        if place.limits.raises:
            until = min(until, place.limits.changes_at(now))
            if place.overrides:
                more = place.limits.raised(now)
                raised |= {(place.scope, *key): amount for key, amount in more.items()}
    return InForce(tuple(_raised(claim, raised) for claim in smallest.values()), until)


def _raised(claim: Claim, raised: Mapping[tuple[str, Unit, str], int]) -> Claim:
    amount = raised.get((claim.scope, claim.unit, claim.window), 0)
    if amount <= claim.limit:
        return claim
    return Claim(claim.scope, claim.unit, claim.window, amount, claim.take)
