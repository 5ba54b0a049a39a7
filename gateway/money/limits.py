"""What a caller may use: a principal's limits as claims on the shared store, and how a refusal
is told.

A caller sees the figures of its own scopes only, those of its key and its user: those of the others
are made by other tenants.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gateway.money.text import usd
from gateway.policy.model import Policy
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused
from gateway.storage.claims import ClaimTemplate, template_of
from gateway.storage.counters import TOTALS
from gateway.storage.windows import RATE_US
from gateway.types import MICRO, ApiError, Limit, Principal

_OWN = ("key:", "user:")
"""Scopes whose figures a caller is shown."""
_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


# --- scopes -----------------------------------------------------------------------------------


class Scopes(NamedTuple):
    """Where the limits of one call may lie, narrowest first. A counter of the shared store belongs
    to one of them; what a call claims and what a restart refills are both read off here."""

    key: str
    """``key:<id>``"""
    user: str
    """``user:<name>``: all keys of the user together."""
    plan: str
    """``plan:<name>``: all users of the plan together. Empty for a caller without a plan."""
    gateway: str = "gateway"

    def named(self) -> list[str]:
        """Those that there are: all but an empty plan."""
        return [scope for scope in self if scope]


def scopes_of(key_id: str, user: str, plan: str) -> Scopes:
    """The scopes of a call that the key ``key_id`` of ``user`` makes; ``plan`` may be empty."""
    return Scopes(f"key:{key_id}", f"user:{user}", f"plan:{plan}" if plan else "")


# --- claims -----------------------------------------------------------------------------------


def compile_claims(principal: Principal, policy: Policy) -> ClaimTemplate:
    """Made once for a principal and a policy. Each counter appears once, under the smallest of
    the limits that name it.

    Raises ApiError 403 for a plan that the policy does not define: without its limits the
    caller would have none.
    """
    smallest: dict[tuple[str, str, str], Claim] = {}
    for scope, limit in _limits(principal, policy):
        key = (scope, limit.unit, limit.window)
        if key not in smallest or limit.amount < smallest[key].limit:
            take = 0 if limit.unit in TOTALS else 1
            smallest[key] = Claim(scope, limit.unit, limit.window, limit.amount, take)
    claims = tuple(smallest.values())
    return template_of(principal, claims, {one.scope for one in claims if is_callers_own(one)})


def _limits(principal: Principal, policy: Policy) -> Iterator[tuple[str, Limit]]:
    scopes = scopes_of(principal.key_id, principal.user, principal.plan)
    yield from _each(scopes.key, principal.limits)
    if principal.plan:
        plan = policy.plans.get(principal.plan)
        if plan is None:
            raise _plan_unknown(principal.plan)
        if plan.per_key is not None:
            yield from _each(scopes.key, plan.per_key.flat())
        yield from _each(scopes.user, plan.flat())
        if plan.shared is not None:
            yield from _each(scopes.plan, plan.shared.flat())
    yield from _each(scopes.gateway, policy.limits.flat())


def _each(scope: str, limits: Iterable[Limit]) -> Iterator[tuple[str, Limit]]:
    return ((scope, limit) for limit in limits)


def is_callers_own(claim: Claim) -> bool:
    """Whether its figures are the caller's own to see, not made by other tenants."""
    return claim.scope.startswith(_OWN)


# --- headers ----------------------------------------------------------------------------------


def rate_limit_headers(answer: Admitted | Refused) -> list[tuple[bytes, bytes]]:
    """``RateLimit-Policy`` and ``RateLimit`` of the caller's own rates; empty when it has none.

    Source: draft-ietf-httpapi-ratelimit-headers-10. ``t`` is when the whole quota is there
    again.
    """
    statuses = answer.statuses if isinstance(answer, Admitted) else (answer.status,)
    policies: list[str] = []
    states: list[str] = []
    for status in statuses:
        item = _policy_item(status.claim)
        if item is not None:
            policies.append(item[1])
            states.append(f"{item[0]};r={status.remaining};t={math.ceil(status.reset_s)}")
    if not policies:
        return []
    return [
        (b"ratelimit-policy", ", ".join(policies).encode()),
        (b"ratelimit", ", ".join(states).encode()),
    ]


@functools.lru_cache(maxsize=4096)
def _policy_item(claim: Claim) -> tuple[str, str] | None:
    """Its name, and all of it; None of a claim that is not shown to the caller."""
    if claim.unit != "requests" or not is_callers_own(claim):
        return None
    name = f'"{claim.scope.partition(":")[0]}-{claim.window}"'
    return name, f"{name};q={claim.limit};w={RATE_US[claim.window] // MICRO}"


# --- refusals ---------------------------------------------------------------------------------


def refusal(refused: Refused) -> ApiError:
    """What the caller is told: whose limit, how much where that is its own, when to come back,
    and what to do. 429 for rates and concurrency, 402 for budgets."""
    unit = refused.status.claim.unit
    if unit == "requests":
        return _too_many(refused, "rate_limit_exceeded", _rate_message(refused))
    if unit == "concurrent":
        return _too_many(refused, "concurrency_limit_exceeded", _concurrency_message(refused))
    return ApiError(
        402,
        "budget_exhausted",
        _budget_message(refused.status),
        type="insufficient_quota",
        headers={"x-should-retry": "false"},
    )


def _too_many(refused: Refused, code: str, message: str) -> ApiError:
    headers = {"Retry-After": str(_retry_after(refused))}
    for name, value in rate_limit_headers(refused):
        headers[name.decode()] = value.decode()
    return ApiError(429, code, message, type="rate_limit_error", headers=headers)


def _retry_after(refused: Refused) -> int:
    return max(1, math.ceil(refused.retry_after_s))


def _rate_message(refused: Refused) -> str:
    claim = refused.status.claim
    again = f"Try again in {_duration(_retry_after(refused))}."
    if not is_callers_own(claim):
        return f"{_whose(claim)} takes no more requests at the moment. {again}"
    bound = _count(claim.limit, "request")
    return f"{_whose(claim)} may make {bound} a {claim.window} and has none left. {again}"


def _concurrency_message(refused: Refused) -> str:
    claim = refused.status.claim
    if not is_callers_own(claim):
        return f"{_whose(claim)} has no room for another call at the moment. Try again shortly."
    bound = _count(claim.limit, "call")
    return (
        f"{_whose(claim)} may have {bound} in progress at once and has. "
        "Wait for one to end, then try again."
    )


def _budget_message(status: LimitStatus) -> str:
    claim = status.claim
    kind = "budget" if claim.unit == "nano_usd" else "device time"
    reset = f"It resets in {_duration(status.reset_s)}."
    ask = "ask whoever runs this gateway for more"
    if not is_callers_own(claim):
        return f"{_whose(claim)} has used up its {kind} of this {claim.window}. {reset} Or {ask}."
    left, most, needs = (_amount(claim, n) for n in (status.remaining, claim.limit, claim.take))
    return (
        f"{_whose(claim)} has {left} left of its {kind} of {most} a {claim.window}, and this call "
        f"may need {needs}. {reset} Make a smaller call or use a cheaper model, or {ask}; "
        "GET /usage shows what was spent."
    )


def _plan_unknown(plan: str) -> ApiError:
    return ApiError(
        403,
        "plan_not_found",
        f"Your key is on the plan {plan!r}, which this gateway does not define any more. Ask "
        "whoever runs it for a key on another plan.",
        type="permission_error",
    )


def _whose(claim: Claim) -> str:
    kind, _, name = claim.scope.partition(":")
    return {"key": "Your key", "gateway": "This gateway"}.get(kind, f"{kind.capitalize()} {name}")


def _amount(claim: Claim, amount: int) -> str:
    if claim.unit == "nano_usd":
        return f"{usd(amount)} USD"
    return f"{amount / MICRO:g} GPU-seconds"


def _duration(seconds: float) -> str:
    """A length of time, rounded up to two units at most: '11 days 4 hours'."""
    rest = max(1, math.ceil(seconds))
    words: list[str] = []
    for size, name in _SPANS:
        count, rest = divmod(rest, size)
        if count:
            words.append(_count(count, name))
    return " ".join(words[:2])


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
