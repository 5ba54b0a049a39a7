"""Whether anything limits what a key may use, beside what limits everybody together. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from gateway.money.scopes import GATEWAY, Allowed, allowed
from gateway.policy.model import Policy
from gateway.storage.key_records import KeyRecord
from gateway.types import ApiError, Permitted, Principal

_WITHOUT_CALLS = ("/admin/", "/dashboard", "/usage", "/v1/route/explain")
"""What lies there costs nothing."""


def check_limited(principal: Principal, policy: Policy) -> None:
    """Raises ApiError 400 for a key that nothing would limit, where the policy does not say that
    there may be such keys."""
    if policy.keys.unlimited or is_limited(principal, policy):
        return
    raise ApiError(
        400,
        "invalid_key_request",
        f"Nothing would limit what this key uses: {_why(principal, policy)}. Give it limits of its "
        "own, such as spend 5 USD/month, or a plan that has some. A key that is bound to paths "
        "below /admin/* and /usage needs none; `keys: {unlimited: true}` in the policy allows any.",
        param="limits",
    )


def check_team_limited(principal: Principal, policy: Policy) -> None:
    """Raises ApiError 400 for a delegate's key where nothing would limit all the keys together that
    it may make: each would have as much as the plan gives a user, and there is no end of users."""
    if principal.role != "delegate" or policy.keys.unlimited:
        return
    plan = policy.plans.get(principal.plan)
    places = [None if plan is None else plan.shared]
    places += [policy.limits.tagged(name, value) for name, value in principal.tags.items()]
    if not any(place is not None and place.flat() for place in places):
        raise ApiError(
            400,
            "invalid_key_request",
            "Nothing would limit what the keys use together that this delegate makes. Give one of "
            "its tags limits in the policy, limits: {tags: {team: {nlp: {spend: 50 USD/month}}}}, "
            "or its plan `shared` ones; `keys: {unlimited: true}` allows it without.",
            param="delegate",
        )


def _why(principal: Principal, policy: Policy) -> str:
    if principal.plan:
        return f"the plan {principal.plan!r} has no limits, and it has none of its own"
    if policy.plans:
        return "it has neither limits of its own nor a plan, and no plan is called default"
    return "it has no limits of its own, and the policy has no plans"


def is_limited(principal: Principal, policy: Policy) -> bool:
    """Whether some limit of the key, its user, plan or tags holds, or it can make no calls. One
    whose plan is gone can make none either."""
    if not makes_calls(principal.permitted):
        return True
    try:
        places = list(allowed(principal, policy))
    except ApiError:
        return True
    return any(_limits(place) for place in places if place.scope != GATEWAY)


def _limits(place: Allowed) -> bool:
    return bool(place.own or place.limits.flat())


def makes_calls(permitted: Permitted | None) -> bool:
    """Whether what a key is bound to lets it ask a backend for something."""
    paths = () if permitted is None else permitted.paths
    return not paths or not all(path.startswith(_WITHOUT_CALLS) for path in paths)


def unlimited(records: Iterable[KeyRecord], policy: Policy, now_at: float) -> Iterator[KeyRecord]:
    """The keys in use at ``now_at`` (seconds since the epoch) that nothing limits."""
    for record in records:
        ends = math.inf if record.expires_at is None else record.expires_at
        if record.revoked_at is None and ends > now_at and not is_limited(record.principal, policy):
            yield record
