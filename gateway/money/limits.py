"""What a caller may use: the limits of each scope as claims on the shared store, and how they are
told in headers.

A caller sees the figures of its own scopes only, those of its key and its user: those of the others
are made by other tenants.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from math import ceil
from types import MappingProxyType

from gateway.money.scopes import (
    GATEWAY,
    WARM_POOL,
    Allowed,
    InForce,
    allowed,
    backend_scope,
    in_force,
    model_scope,
    tag_scope,
)
from gateway.money.text import usd
from gateway.policy.model import Policy
from gateway.policy.sections.limits import Limits
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused
from gateway.storage.claims import ClaimTemplate, template_of
from gateway.storage.counters import TOTALS
from gateway.types import MICRO, TOKEN_TAG, Principal, Unit
from gateway.windows import RATE_US

_NO_TAGS: Mapping[str, str] = MappingProxyType({})
_OWN = ("key:", "user:", f"tag:{TOKEN_TAG}=")
"""Scopes whose figures a caller is shown."""
NOBODY = Principal(key_id="", user="")
"""For limits that are no caller's."""
_NAMES: dict[Unit, str] = {"gpu_us": "gpu_seconds", "nano_usd": "usd", "calls": "requests"}


# --- claims -----------------------------------------------------------------------------------


def compile_claims(
    principal: Principal,
    policy: Policy,
    now: float = 0.0,
    model: str = "",
    tags: Mapping[str, str] = _NO_TAGS,
) -> ClaimTemplate:
    """Made once for a principal and a policy, and ``model`` where that has limits of its own; holds
    from ``now``, in seconds since the epoch, until ``ClaimTemplate.until``. ``tags``: those of a
    call, beside the key's own. Each counter appears once, under the smallest of the limits that
    name it.

    Raises ApiError 403 for a plan that the policy does not define: without its limits the
    caller would have none.
    """
    return _template(principal, in_force(allowed(principal, policy, model, tags), now))


def backend_claims(policy: Policy, backend: str, now: float) -> ClaimTemplate:
    """The same of the limits that the backend has itself; without any where there are none."""
    limits = policy.limits.backends.get(backend, Limits())
    return _template(NOBODY, in_force([Allowed(backend_scope(backend), limits)], now))


def model_claims(policy: Policy, model: str, now: float) -> ClaimTemplate:
    """The same of the limits that the model has itself."""
    limits = policy.limits.models.get(model, Limits())
    return _template(NOBODY, in_force([Allowed(model_scope(model), limits)], now))


def warm_pool_claims(policy: Policy, now: float) -> ClaimTemplate:
    """The same of what pings and spares are counted in: nobody's key and nobody's plan pays for
    them."""
    places = [Allowed(WARM_POOL, policy.limits.warm_pool), Allowed(GATEWAY, policy.limits)]
    return _template(NOBODY, in_force(places, now))


def _template(principal: Principal, found: InForce) -> ClaimTemplate:
    own = {one.scope for one in found.claims if is_shown(one, principal)}
    return template_of(principal, found.claims, own, found.until)


def is_callers_own(claim: Claim) -> bool:
    """Whether its figures are the caller's own to see, not made by other tenants."""
    return claim.scope.startswith(_OWN)


def is_shown(claim: Claim, principal: Principal) -> bool:
    """The same of whoever shows a client token, whose own are the token's alone."""
    if principal.token is None:
        return is_callers_own(claim)
    return claim.scope == tag_scope(TOKEN_TAG, principal.id)


# --- headers ----------------------------------------------------------------------------------


def rate_limit_headers(answer: Admitted | Refused) -> list[tuple[bytes, bytes]]:
    """``RateLimit-Policy`` and ``RateLimit`` of the caller's own rates; empty when it has none.

    Source: draft-ietf-httpapi-ratelimit-headers-10. ``t`` is when the whole quota is there
    again.
    """
    statuses = answer.statuses if isinstance(answer, Admitted) else (answer.status,)
    policies: list[bytes] = []
    states: list[bytes] = []
    for status in statuses:
        item = _policy_item(status.claim)
        if item is not None:
            policies.append(item[1])
            states.append(b"%b;r=%d;t=%d" % (item[0], status.remaining, ceil(status.reset_s)))
    if not policies:
        return []
    return [(b"ratelimit-policy", b", ".join(policies)), (b"ratelimit", b", ".join(states))]


@functools.lru_cache(maxsize=4096)
def _policy_item(claim: Claim) -> tuple[bytes, bytes] | None:
    """Its name, and all of it; None of a claim that is not shown to the caller."""
    if claim.unit != "requests" or not is_callers_own(claim):
        return None
    name = f'"{claim.scope.partition(":")[0]}-{claim.window}"'
    item = f"{name};q={claim.limit};w={RATE_US[claim.window] // MICRO}"
    return name.encode(), item.encode()


def left_header(statuses: Iterable[LimitStatus]) -> list[tuple[bytes, bytes]]:
    """``X-Spillgate-Left`` of the caller's own budgets: a list of items with parameters, as
    RFC 9651 writes them. Empty where there are none."""
    items = [_left_item(status) for status in statuses if is_own_budget(status.claim)]
    return [(b"x-spillgate-left", ", ".join(items).encode())] if items else []


def is_own_budget(claim: Claim) -> bool:
    """Whether it is held in amounts, and its figures are the caller's own."""
    return claim.unit in TOTALS and is_callers_own(claim)


def _left_item(status: LimitStatus) -> str:
    claim = status.claim
    scope, unit = claim.scope.partition(":")[0], unit_name(claim.unit)
    left, limit = amount_text(claim.unit, status.likely), amount_text(claim.unit, claim.limit)
    reset = ceil(status.reset_s)
    return f'{scope};unit={unit};window="{claim.window}";left={left};limit={limit};t={reset}'


def unit_name(unit: Unit) -> str:
    """How callers are told a unit."""
    return _NAMES.get(unit, unit)


def amount_text(unit: Unit, amount: int) -> str:
    """An amount in the unit that callers are told."""
    if unit == "nano_usd":
        return usd(amount)
    return f"{amount / MICRO:g}" if unit == "gpu_us" else str(amount)
