"""A principal's limits as claims, and what a caller is told when one of them refuses."""

from __future__ import annotations

import pytest

from gateway.money.limit_refusals import refusal
from gateway.money.limits import compile_claims, rate_limit_headers
from gateway.policy.model import Plan, Policy
from gateway.policy.sections.limits import GatewayLimits, Limits
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused
from gateway.storage.claims import CallClaims
from gateway.types import MICRO, NANO, ApiError, Limit, Principal, Unit

POLICY = Policy(
    version="0123456789ab",
    plans={
        "free": Plan(
            requests=(Limit("requests", 60, "minute"), Limit("requests", 1000, "day")),
            concurrent=4,
            gpu_seconds=(Limit("gpu_us", 600 * MICRO, "day"),),
            spend=(Limit("nano_usd", 5 * NANO, "month"),),
            per_key=Limits(requests=(Limit("requests", 20, "minute"),)),
            shared=Limits(spend=(Limit("nano_usd", 100 * NANO, "month"),)),
        ),
    },
    limits=GatewayLimits(concurrent=500),
)
ALICE = Principal(
    key_id="k1",
    user="alice",
    plan="free",
    limits=(Limit("requests", 30, "minute"), Limit("nano_usd", NANO, "week")),
)


def refused(
    scope: str,
    unit: Unit,
    window: str,
    limit: int,
    *,
    take: int = 1,
    remaining: int = 0,
    reset_s: float = 0.0,
    retry_after_s: float = 0.0,
) -> Refused:
    claim = Claim(scope, unit, window, limit, take)
    return Refused(LimitStatus(claim, remaining, reset_s), retry_after_s)


# --- claims -----------------------------------------------------------------------------------


def test_a_call_claims_in_every_scope_with_what_it_may_cost() -> None:
    claims = CallClaims(compile_claims(ALICE, POLICY), nano_usd=700, gpu_us=90)
    assert claims == (
        Claim("key:k1", "requests", "minute", 20, 1),
        Claim("user:alice", "requests", "minute", 60, 1),
        Claim("user:alice", "requests", "day", 1000, 1),
        Claim("user:alice", "concurrent", "", 4, 1),
        Claim("gateway", "concurrent", "", 500, 1),
        Claim("key:k1", "nano_usd", "week", NANO, 700),
        Claim("user:alice", "gpu_us", "day", 600 * MICRO, 90),
        Claim("user:alice", "nano_usd", "month", 5 * NANO, 700),
        Claim("plan:free", "nano_usd", "month", 100 * NANO, 700),
    )


def test_of_two_limits_on_one_counter_the_smaller_one_counts() -> None:
    """The key's own 30 a minute and the plan's 20 for each key are one counter."""
    strict = Principal(key_id="k1", user="a", plan="free", limits=(Limit("requests", 5, "minute"),))
    first = compile_claims(strict, POLICY).limits[0]
    assert first == Claim("key:k1", "requests", "minute", 5, 1)


def test_each_counter_is_claimed_once() -> None:
    limits = compile_claims(ALICE, POLICY).limits
    counters = [(claim.scope, claim.unit, claim.window) for claim in limits]
    assert len(counters) == len(set(counters))


def test_a_principal_that_nothing_limits_claims_nothing() -> None:
    free = compile_claims(Principal(key_id="k", user="u"), Policy(version="0" * 12))
    assert free.limits == ()
    assert tuple(CallClaims(free, 5, 5)) == ()


def test_a_plan_that_the_policy_lost_refuses_rather_than_lifts_every_limit() -> None:
    with pytest.raises(ApiError, match="'gold'") as told:
        compile_claims(Principal(key_id="k", user="u", plan="gold"), POLICY)
    assert (told.value.status, told.value.code) == (403, "plan_not_found")


# --- headers ----------------------------------------------------------------------------------


def test_the_callers_own_rates_are_shown_as_the_draft_has_them() -> None:
    statuses = (
        LimitStatus(Claim("key:k1", "requests", "minute", 20, 1), 12, 29.2),
        LimitStatus(Claim("user:alice", "requests", "day", 1000, 1), 999, 86.4),
        LimitStatus(Claim("plan:free", "requests", "minute", 9000, 1), 77, 1.0),
        LimitStatus(Claim("gateway", "requests", "minute", 9000, 1), 77, 1.0),
    )
    assert rate_limit_headers(Admitted(statuses)) == [
        (b"ratelimit-policy", b'"key-minute";q=20;w=60, "user-day";q=1000;w=86400'),
        (b"ratelimit", b'"key-minute";r=12;t=30, "user-day";r=999;t=87'),
    ]


def test_a_caller_without_rates_of_its_own_gets_no_rate_headers() -> None:
    shared = LimitStatus(Claim("gateway", "requests", "minute", 9000, 1), 77, 1.0)
    assert rate_limit_headers(Admitted(())) == []
    assert rate_limit_headers(Admitted((shared,))) == []
    assert rate_limit_headers(refused("user:a", "nano_usd", "month", 5)) == []


# --- refusals ---------------------------------------------------------------------------------


def test_a_rate_answers_429_with_the_time_to_wait_in_whole_seconds() -> None:
    answer = refused("key:k1", "requests", "minute", 20, reset_s=60.0, retry_after_s=2.0001)
    error = refusal(answer)
    assert (error.status, error.code, error.type) == (
        429,
        "rate_limit_exceeded",
        "rate_limit_error",
    )
    assert error.message == (
        "Your key may make 20 requests a minute and has none left. Try again in 3 seconds."
    )
    assert error.headers == {
        "Retry-After": "3",
        "ratelimit-policy": '"key-minute";q=20;w=60',
        "ratelimit": '"key-minute";r=0;t=60',
    }


def test_the_time_to_wait_is_never_zero() -> None:
    answer = refused("user:a", "requests", "second", 1000, retry_after_s=0.0004)
    assert refusal(answer).headers["Retry-After"] == "1"


def test_concurrency_answers_429_with_a_code_of_its_own() -> None:
    error = refusal(refused("user:alice", "concurrent", "", 4, retry_after_s=1.0))
    assert (error.status, error.code) == (429, "concurrency_limit_exceeded")
    assert error.message.startswith("User alice may have 4 calls in progress at once")
    assert error.headers == {"Retry-After": "1"}


def test_a_budget_answers_402_and_says_whose_how_much_when_and_what_to_do() -> None:
    error = refusal(
        refused(
            "user:alice",
            "nano_usd",
            "month",
            5 * NANO,
            take=300_000_000,
            remaining=120_000_000,
            reset_s=11 * 86_400 + 3600 * 4,
            retry_after_s=11 * 86_400 + 3600 * 4,
        )
    )
    assert (error.status, error.code, error.type) == (
        402,
        "budget_exhausted",
        "insufficient_quota",
    )
    for part in (
        "User alice has 0.12 USD left of its budget of 5 USD a month",
        "may need 0.3 USD",
        "resets in 11 days 4 hours",
        "GET /usage",
    ):
        assert part in error.message
    assert "Retry-After" not in error.headers


def test_device_time_is_told_in_seconds() -> None:
    answer = refused(
        "key:k1", "gpu_us", "day", 600 * MICRO, take=1_500_000, remaining=250_000, reset_s=61.0
    )
    message = refusal(answer).message
    assert "Your key has 0.25 GPU-seconds left of its device time of 600 GPU-seconds" in message
    assert "may need 1.5 GPU-seconds" in message
    assert "resets in 1 minute 1 second" in message


@pytest.mark.parametrize("scope", ["plan:free", "gateway"])
@pytest.mark.parametrize(
    ("unit", "window"),
    [("requests", "minute"), ("concurrent", ""), ("gpu_us", "day"), ("nano_usd", "month")],
)
def test_no_figure_of_what_others_use_is_told(scope: str, unit: Unit, window: str) -> None:
    error = refusal(
        refused(scope, unit, window, 777_777, take=1, remaining=888_888, retry_after_s=5.0)
    )
    told = error.message + str(error.headers)
    assert ("Plan free" if scope == "plan:free" else "This gateway") in error.message
    assert "777" not in told
    assert "888" not in told
    assert "0.000" not in told
