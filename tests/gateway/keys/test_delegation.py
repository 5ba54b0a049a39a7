"""No request of a delegate makes a key with a right that the delegate's own has not."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.key_requests import KeyRequest, read_request
from gateway.keys.delegation import Delegation, carries
from gateway.keys.permitted import check_request, may_use
from gateway.policy.model import Policy
from gateway.storage.key_records import KeyRecord
from gateway.types import ApiError, Principal
from tests.gateway.assembled import POLICY, read

NOW = 1_000_000.0
RULED = read(
    POLICY
    + """
  gold: {spend: 500 USD/month}
limits:
  users: {carol: {spend: 1 USD/day}}
  tags: {project: {"*": {spend: 3 USD/day}}, team: {nlp: {spend: 9 USD/day}}}
routes:
  - {name: boss, when: {user: boss}, use: [burst]}
  - {name: urgent, when: {tags: {urgent: "yes"}}, use: [burst]}
"""
)
OWN: dict[str, Any] = {
    "user": "lead",
    "delegate": True,
    "tags": {"team": "nlp"},
    "limits": {"spend": "2 USD/day", "concurrent": 3},
    "models": ["chat", "any"],
    "paths": ["/v1/*", "/admin/keys"],
    "addresses": ["10.0.0.0/8"],
}
ELSEWHERE = KeyRecord(
    principal=Principal(key_id="key_1", user="dave", tags={"team": "search"}), created_at=1.0
)
OF_ANOTHER_TEAM = KeyRecord(
    principal=Principal(key_id="key_2", user="erin", role="delegate", tags={"cohort": "c"}),
    created_at=1.0,
)
MODELS = ("chat", "far", "any")
PATHS = ("/v1/chat/completions", "/v1/infer/any", "/usage", "/admin/keys", "/admin/policy")
CLIENTS = ("10.1.2.3", "11.0.0.1", "::ffff:10.0.0.9", "2001:db8::1")


def delegation(ends_at: float | None = None, **own: Any) -> Delegation:
    return Delegation(by=read_request(OWN | own, RULED).principal, ends_at=ends_at)


def made(by: Delegation, policy: Policy = RULED, **asked: Any) -> KeyRequest:
    """What a delegate's request makes. Raises ApiError."""
    request = read_request({"user": "bob", **asked}, policy, by)
    by.check(request.principal, request.ends_at(NOW), policy, [ELSEWHERE, OF_ANOTHER_TEAM])
    return request


def test_what_is_left_out_is_what_the_delegates_own_key_has() -> None:
    by = delegation(ends_at=NOW + 60)
    request = made(by)
    assert request.principal.user == "bob"
    assert request.principal.role == "user"
    for field in ("plan", "tags", "limits", "permitted"):
        assert getattr(request.principal, field) == getattr(by.by, field)
    assert request.ends_at(NOW) == NOW + 60


def test_less_may_be_asked_for() -> None:
    asked: dict[str, Any] = {
        "tags": {"cohort": "b"},
        "limits": {"spend": "1 USD/day", "concurrent": 3, "requests": "1/minute"},
        "models": ["any"],
        "paths": ["/v1/infer/*"],
        "addresses": ["10.1.0.0/16"],
        "expires_in": "30s",
    }
    request = made(delegation(ends_at=NOW + 60), **asked)
    assert request.principal.tags == {"team": "nlp", "cohort": "b"}
    assert request.ends_at(NOW) == NOW + 30


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"admin": True}, "admin"),
        ({"delegate": True}, "delegate"),
        ({"plan": "gold"}, "plan"),
        ({"tags": {"team": "search"}}, "tags"),
        ({"tags": {"project": "x"}}, "tags"),
        ({"tags": {"urgent": "yes"}}, "tags"),
        ({"tags": {"cohort": "c"}}, "tags"),
        ({"user": "boss"}, "user"),
        ({"user": "carol"}, "user"),
        ({"user": "dave"}, "user"),
        ({"limits": {"spend": "3 USD/day"}}, "limits"),
        ({"limits": {"spend": "2 USD/hour"}}, "limits"),
        ({"limits": {"concurrent": 4}}, "limits"),
        ({"models": ["chat", "far"]}, "models"),
        ({"paths": ["/admin/*"]}, "paths"),
        ({"paths": ["/usage"]}, "paths"),
        ({"addresses": ["0.0.0.0/0"]}, "addresses"),
        ({"addresses": ["::/0"]}, "addresses"),
        ({"expires_in": "61s"}, "expires_in"),
    ],
    ids=str,
)
def test_more_is_refused_with_the_field(asked: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as refused:
        made(delegation(ends_at=NOW + 60), **asked)
    assert (refused.value.status, refused.value.code) == (403, "beyond_delegation")
    assert refused.value.param == param


def test_limits_by_name_in_the_policy_hold_for_the_keys_that_are_made() -> None:
    """Those of the delegate's key, and of its user where the key is another's."""
    by = delegation(user="carol", limits={})
    assert [limit.amount for limit in made(by).principal.limits] == [10**9]
    assert made(by, user="carol").principal.limits == ()
    with pytest.raises(ApiError, match="none of them more"):
        made(by, limits={"spend": "2 USD/day"})


def test_several_limits_of_one_unit_are_handed_on_together() -> None:
    by = delegation(limits={"spend": ["2 USD/day", "20 USD/month"], "requests": "9/minute"})
    assert made(by).principal.limits == by.by.limits
    assert len(by.by.limits) == 3
    less = {"spend": ["1 USD/day", "20 USD/month"]}
    assert len(made(by, limits=less).principal.limits) == 3
    with pytest.raises(ApiError, match="none of them more"):
        made(by, limits={"spend": "1 USD/day"})


@pytest.mark.parametrize(
    ("own", "limited"),
    [
        ({}, False),
        ({"tags": {"team": "nlp"}}, True),
        ({"tags": {"team": "search", "org": "all"}}, False),
        ({"plan": "shared"}, True),
        ({"plan": "gold"}, False),
    ],
    ids=["a tag without limits", "a tag", "other values", "its plan's shared", "its plan's users'"],
)
def test_a_delegate_is_made_where_something_limits_its_team_as_a_whole(
    own: dict[str, Any], limited: bool
) -> None:
    """Else it could make a user, with all that the plan gives one, for each call."""
    text = POLICY + (
        "  gold: {spend: 500 USD/month}\n  shared: {shared: {spend: 5 USD/day}}\n"
        "limits: {spend: 900 USD/day, tags: {team: {nlp: {spend: 9 USD/day}}}}\n"
    )
    asked = {"user": "lead", "delegate": True, "tags": {"unit": "x"}, **own}
    if limited:
        assert read_request(asked, read(text)).principal.role == "delegate"
        return
    with pytest.raises(ApiError) as refused:
        read_request(asked, read(text))
    assert (refused.value.status, refused.value.param) == (400, "delegate")
    read_request(asked, read(text + "keys: {unlimited: true}\n"))


@pytest.mark.parametrize("tags", [{}, {"a@b": "x"}], ids=str)
def test_a_delegate_has_a_team_by_which_usage_is_told(tags: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        delegation(tags=tags)
    assert (refused.value.status, refused.value.param) == (400, "tags")
    assert not carries({"team": "nlp"}, {})


def test_neither_admins_nor_delegates_nor_other_teams_are_managed() -> None:
    by = delegation()
    ours = Principal(key_id="k", user="bob", tags={"team": "nlp", "cohort": "b"})
    assert by.manages(ours)
    assert not by.manages(ELSEWHERE.principal)
    for role in ("admin", "delegate"):
        assert not by.manages(Principal(key_id="k", user="bob", tags=ours.tags, role=role))


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, min_size=1, max_size=3) | st.none()


NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "11.0.0.0/8", "::/0", "::ffff:0:0/96")
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "tags": st.dictionaries(
            st.sampled_from(("team", "cohort", "project", "urgent")),
            st.sampled_from(("nlp", "search", "yes")),
        ),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "spend": st.sampled_from(("1 USD/day", "2 USD/day", "5 USD/day", "1 USD/hour")),
                "concurrent": st.integers(1, 5),
            },
        ),
        "models": some(st.sampled_from(MODELS)),
        "paths": some(st.sampled_from((*PATHS[:4], "/v1/*", "/v1/infer/*", "/admin/*"))),
        "addresses": some(st.sampled_from(NETWORKS)),
        "plan": st.sampled_from(("default", "gold")),
        "expires_in": st.sampled_from(("10s", "60s", "100d")),
        "admin": st.booleans(),
        "delegate": st.booleans(),
        "user": st.sampled_from(("lead", "bob", "boss", "dave", "carol")),
    },
)
OWN_BOUNDS = BOUNDS.map(
    lambda own: {
        key: value
        for key, value in own.items()
        if key not in ("admin", "delegate", "expires_in", "tags")
    }
)


def may(who: Principal, model: str, path: str, client: str) -> bool:
    try:
        if who.permitted is not None:
            check_request(who.permitted, path, client)
    except ApiError:
        return False
    return may_use(who.permitted, model)


@settings(max_examples=150, deadline=None)
@given(own=OWN_BOUNDS, asked=BOUNDS, ends_at=st.none() | st.sampled_from((NOW + 1, NOW + 60)))
def test_no_request_makes_a_key_with_more_rights(
    own: dict[str, Any], asked: dict[str, Any], ends_at: float | None
) -> None:
    by = delegation(ends_at, **own)
    try:
        request = made(by, **asked)
    except ApiError:
        return
    who = request.principal
    assert (who.role, who.plan) == ("user", by.by.plan)
    assert by.manages(who)
    for limit in by.by.limits:
        same = [one for one in who.limits if (one.unit, one.window) == (limit.unit, limit.window)]
        assert min(one.amount for one in same) <= limit.amount
    ends = request.ends_at(NOW)
    assert ends_at is None or (ends is not None and ends <= ends_at)
    for model in MODELS:
        for path in PATHS:
            for client in CLIENTS:
                assert may(by.by, model, path, client) or not may(who, model, path, client)
    for network in who.permitted.addresses if who.permitted is not None else ():
        assert ipaddress.ip_network(network)
