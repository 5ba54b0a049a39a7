"""No key is made that nothing limits, unless the policy says so."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.key_requests import read_request
from gateway.keys.limited import is_limited
from gateway.policy.model import Policy
from gateway.types import ApiError
from tests.gateway.assembled import read

BACKENDS = """
version: 1
backends: {home: {kind: fake}}
models: {chat: {task: chat, backends: [home]}}
"""
PLANS = """
plans:
  gold: {spend: 5 USD/month}
  each: {per_key: {concurrent: 2}}
  all: {shared: {requests: 60/minute}}
  free: {priority: low}
limits:
  requests: 1000/minute
  users: {carol: {spend: 1 USD/day}}
  tags: {team: {nlp: {spend: 9 USD/day}}}
  models: {chat: {tokens: 1000/day}}
"""
RULED = read(BACKENDS + PLANS)

LIMITED: dict[str, dict[str, Any]] = {
    "its own": {"limits": {"requests": "60/minute"}},
    "its plan, of each user": {"plan": "gold"},
    "its plan, of each key": {"plan": "each"},
    "its plan, of all together": {"plan": "all"},
    "its user": {"user": "carol"},
    "a tag": {"tags": {"team": "nlp"}},
    "no calls": {"admin": True, "paths": ["/admin/*", "/usage", "/usage/*", "/v1/route/explain"]},
}
UNLIMITED: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a plan without limits": {"plan": "free"},
    "an admin": {"admin": True},
    "a tag without limits": {"tags": {"team": "search"}},
    "an end": {"expires_in": "1h"},
    "a model with limits": {"models": ["chat"]},
    "a path of calls": {"paths": ["/admin/*", "/v1/infer/*"]},
    "all paths below": {"paths": ["/v1/*"]},
}


@pytest.mark.parametrize("asked", LIMITED.values(), ids=LIMITED.keys())
def test_a_key_that_something_limits_is_made(asked: dict[str, Any]) -> None:
    request = read_request({"user": "alice", **asked}, RULED)
    assert is_limited(request.principal, RULED)


@pytest.mark.parametrize("asked", UNLIMITED.values(), ids=UNLIMITED.keys())
def test_a_key_that_nothing_limits_is_refused_where_the_policy_does_not_allow_it(
    asked: dict[str, Any],
) -> None:
    with pytest.raises(ApiError) as refused:
        read_request({"user": "alice", **asked}, RULED)
    assert (refused.value.code, refused.value.param) == ("invalid_key_request", "limits")
    assert "keys: {unlimited: true}" in refused.value.message
    allowing = read(BACKENDS + PLANS + "keys: {unlimited: true}\n")
    assert not is_limited(read_request({"user": "alice", **asked}, allowing).principal, allowing)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the policy has no plans"),
        ("plans: {gold: {spend: 5 USD/month}}", "no plan is called default"),
        ("plans: {default: {}}", "the plan 'default' has no limits"),
    ],
    ids=["no plans", "none is default", "an empty default"],
)
def test_why_nothing_limits_it_is_said(text: str, says: str) -> None:
    policy: Policy = read(BACKENDS + text)
    with pytest.raises(ApiError, match=says):
        read_request({"user": "alice"}, policy)
