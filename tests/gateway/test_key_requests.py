"""A request for a key: what it may say, and what it is told when it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.key_requests import as_json, issue, limits_json, read_request, state_of
from gateway.policy.model import ModelSpec, Plan, Policy
from gateway.policy.sections.keys import KeySettings
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.types import MICRO, NANO, ApiError, Limit

MODELS = {name: ModelSpec(task="chat", backends=("home",)) for name in ("chat", "draw")}
WITH_PLANS = Policy(
    version="0123456789ab",
    plans={"default": Plan(concurrent=8), "gold": Plan(concurrent=64)},
    models=MODELS,
)
WITHOUT = Policy(version="0123456789ab", keys=KeySettings(unlimited=True))

BAD: list[tuple[Any, str | None, str]] = [
    ([], None, "object"),
    ({}, None, "user"),
    ({"user": 7}, None, "str"),
    ({"user": ""}, "user", "1 to 128"),
    ({"user": "-rf"}, "user", "begin with a letter"),
    ({"user": "a b"}, "user", "1 to 128"),
    ({"user": "system:warm-pool"}, "user", "the gateway's own"),
    ({"user": "System:x"}, "user", "the gateway's own"),
    ({"user": "a\n"}, "user", "1 to 128"),
    ({"user": "=cmd()"}, "user", "1 to 128"),
    ({"user": "a" * 129}, "user", "1 to 128"),
    ({"user": "a", "plan": "golden"}, "plan", "default, gold"),
    ({"user": "a", "plan": 1}, None, "str"),
    ({"user": "a", "admin": "yes"}, None, "true or false"),
    ({"user": "a", "role": "admin"}, None, "role"),
    ({"user": "a", "tags": {"team": 3}}, None, "str"),
    ({"user": "a", "tags": {"a b": "x"}}, "tags", "'a b'"),
    ({"user": "a", "tags": {"team": ""}}, "tags", "''"),
    ({"user": "a", "tags": {"batch": "nightly"}}, "tags", "the tag batch is the gateway's own"),
    ({"user": "a", "tags": {"client_token": "x"}}, "tags", "client_token is the gateway's own"),
    ({"user": "a", "limits": {"words": "5/day"}}, "limits", "requests, gpu_seconds, tokens"),
    ({"user": "a", "limits": {"tokens": "5/year"}}, "limits", "write it like 1000000/day"),
    ({"user": "a", "limits": {"requests": "sixty"}}, "limits", "sixty"),
    ({"user": "a", "limits": {"requests": 60}}, "limits", ""),
    ({"user": "a", "limits": {"spend": "5/month"}}, "limits", "5/month"),
    ({"user": "a", "limits": {"spend": "-5 USD/month"}}, "limits", "-5"),
    ({"user": "a", "limits": {"concurrent": 0}}, "limits", "at least 1"),
    ({"user": "a", "limits": {"concurrent": True}}, "limits", "whole number"),
    ({"user": "a", "limits": {"concurrent": "4"}}, "limits", "whole number"),
    ({"user": "a", "models": ["gpt"]}, "models", "the policy has: chat, draw"),
    ({"user": "a", "models": []}, "models", "leave it out for all"),
    ({"user": "a", "models": "chat"}, None, "an array"),
    ({"user": "a", "paths": ["/v2/chat"]}, "paths", "/v1/chat/completions"),
    ({"user": "a", "paths": ["v1/infer/x"]}, "paths", "v1/infer/x"),
    ({"user": "a", "paths": ["/v1/*/x"]}, "paths", "/v1/*/x"),
    ({"user": "a", "paths": ["/v1/infer*"]}, "paths", "/v1/infer*"),
    ({"user": "a", "addresses": ["here"]}, "addresses", "'here' is no address"),
    ({"user": "a", "addresses": ["10.0.0.1/8"]}, "addresses", "write 10.0.0.0/8"),
    ({"user": "a", "addresses": ["10.0.0.0"] * 101}, "addresses", "at most 100"),
    ({"user": "a", "expires_in": "soon"}, "expires_in", "soon"),
    ({"user": "a", "expires_in": 30}, None, "str"),
    ({"user": "a", "expires_in": "999999999d"}, "expires_in", "century"),
]


@pytest.mark.parametrize(("asked", "param", "says"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_request_is_refused_with_the_field_at_fault(
    asked: Any, param: str | None, says: str
) -> None:
    with pytest.raises(ApiError) as caught:
        read_request(asked, WITH_PLANS)
    assert (caught.value.status, caught.value.code) == (400, "invalid_key_request")
    assert caught.value.param == param
    assert says in caught.value.message


def test_everything_that_a_key_may_have() -> None:
    asked = {
        "user": "alice@example.org",
        "plan": "gold",
        "admin": True,
        "tags": {"team": "search", "cost.center": "4711"},
        "limits": {
            "requests": "60/minute",
            "concurrent": 2,
            "gpu_seconds": "600/day",
            "spend": "1.5 USD/day",
        },
        "expires_in": "30d",
    }
    request = read_request(asked, WITH_PLANS)
    principal = request.principal
    assert (principal.user, principal.plan, principal.role) == (
        "alice@example.org",
        "gold",
        "admin",
    )
    assert principal.tags == asked["tags"]
    assert principal.limits == (
        Limit("requests", 60, "minute"),
        Limit("concurrent", 2),
        Limit("gpu_us", 600 * MICRO, "day"),
        Limit("nano_usd", 3 * NANO // 2, "day"),
    )
    assert request.lasts_s == 30 * 86_400


@pytest.mark.parametrize(("policy", "plan"), [(WITH_PLANS, "default"), (WITHOUT, "")])
def test_a_plan_that_is_left_out_is_the_default_where_there_is_one(
    policy: Policy, plan: str
) -> None:
    """So that a key made in a hurry is not one without limits."""
    assert read_request({"user": "a"}, policy).principal.plan == plan


def test_two_keys_of_one_user_have_ids_of_their_own() -> None:
    ids = {read_request({"user": "a"}, WITHOUT).principal.key_id for _ in range(100)}
    assert len(ids) == 100


def test_the_key_is_shown_once_and_never_again(tmp_path: Path, clock: FakeClock) -> None:
    """Neither the record nor the file knows it; both know how it begins."""
    keys = SqliteKeys(tmp_path / "keys.db", clock=clock)
    request = read_request({"user": "a", "expires_in": "1h"}, WITHOUT)
    key, record = issue(keys, request, clock.time())
    shown = as_json(record, clock.time())
    assert key not in str(shown)
    assert key.startswith(shown["hint"])
    assert shown["created_at"] == "2026-01-01T00:00:00Z"
    assert shown["expires_at"] == "2026-01-01T01:00:00Z"
    assert shown["revoked_at"] is None
    assert keys.find(key) == request.principal
    keys.close()
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_key_is_active_until_it_expires_or_is_revoked(tmp_path: Path, clock: FakeClock) -> None:
    keys = SqliteKeys(tmp_path / "keys.db", clock=clock)
    _, record = issue(keys, read_request({"user": "a", "expires_in": "1h"}, WITHOUT), clock.time())
    ends = clock.time() + 3_600
    assert [state_of(record, now) for now in (ends - 1, ends)] == ["active", "expired"]
    keys.revoke(record.principal.key_id)
    [revoked] = keys.list()
    assert state_of(revoked, ends) == as_json(revoked, ends)["state"] == "revoked"
    keys.close()


LIMITS = {
    "requests": "60/minute",
    "gpu_seconds": "0.5/day",
    "spend": "0.25 USD/week",
    "concurrent": 3,
}


def test_limits_are_shown_as_they_were_asked_for(tmp_path: Path, clock: FakeClock) -> None:
    """So that what is shown of one key makes another like it."""
    request = read_request({"user": "a", "limits": LIMITS}, WITHOUT)
    assert limits_json(request.principal.limits) == LIMITS
    keys = SqliteKeys(tmp_path / "keys.db", clock=clock)
    _, record = issue(keys, request, clock.time())
    assert as_json(record, clock.time())["limits"] == LIMITS
    keys.close()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("spend", "5", "write it like 5 USD/month"),
        ("spend", "5 EUR/month", "USD alone, not in EUR"),
        ("spend", "€5", "write it like 5 USD/month"),
        ("requests", "60", "write it like 60/minute"),
        ("gpu_seconds", "600 USD/day", "write it like 600/day"),
    ],
)
def test_a_limit_that_is_not_whole_says_what_is_missing(name: str, value: str, says: str) -> None:
    with pytest.raises(ApiError) as wrong:
        read_request({"user": "a", "limits": {name: value}}, WITHOUT)
    assert says in wrong.value.message
    assert f"`{name}`" in wrong.value.message
