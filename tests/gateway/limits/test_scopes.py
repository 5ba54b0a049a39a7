"""Each scope has limits of its own, in every unit, and its refusal says whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from gateway.clock import FakeClock
from gateway.types import Principal
from tests.gateway.assembled import assembled
from tests.gateway.limits.gateways import CENT, POLICY, THOUSAND, left, refused, serve, used

ALICE = Principal(key_id="k1", user="alice", plan="team", tags={"team": "search"})
OTHERS = {
    "key": Principal(key_id="k2", user="alice", plan="team", tags={"team": "search"}),
    "user": Principal(key_id="k3", user="bob", plan="team", tags={"team": "search"}),
    "plan": Principal(key_id="k4", user="carol", tags={"team": "search"}),
    "team": Principal(key_id="k5", user="alice", plan="team", tags={"team": "ads"}),
}
"""Who is not meant by a limit of the scope."""
EVERYBODY = Principal(key_id="k6", user="dave", tags={"team": "ads"})
PLAN = "plans: {team: {}}\n"
PLACES = {
    "key": "plans: {team: {per_key: LIMITS}}\n",
    "one key": PLAN + "limits: {keys: {k1: LIMITS}}\n",
    "user": "plans: {team: LIMITS}\n",
    "one user": PLAN + "limits: {users: {alice: LIMITS}}\n",
    "plan": "plans: {team: {shared: LIMITS}}\n",
    "team": PLAN + "limits: {tags: {team: {search: LIMITS}}}\n",
    "each team": PLAN + "limits: {tags: {team: {'*': LIMITS}}}\n",
    "model": PLAN + "limits: {models: {chat: LIMITS}}\n",
    "backends": PLAN + "limits: {backends: {a: LIMITS, b: {spend: 0.001 USD/month}}}\n",
    "gateway": PLAN + "limits: LIMITS\n",
}
WHOSE = {
    "key": "Your key has",
    "one key": "Your key has",
    "user": "User alice has",
    "one user": "User alice has",
    "plan": "Plan team has",
    "team": "Team search has",
    "each team": "Team search has",
    "model": "Model chat has",
    "backends": "Backend b has",
    "gateway": "This gateway has",
}
LIMITS = {
    "spend": "{spend: 0.02 USD/month from 15 Europe/Berlin}",
    "tokens": "{tokens: 2500/day}",
    "input_tokens": "{input_tokens: 250/24h}",
    "output_tokens": "{output_tokens: 2250/week}",
    "requests": "{requests: 2/day Asia/Tokyo}",
    "rolling": "{requests: 2/2h}",
}
"""Each has room for two calls of a cent that read 100 tokens and write 1,000."""
BODY = b" " * 98 + b"{}"


def policy(place: str, limits: str) -> str:
    return POLICY + PLACES[place].replace("LIMITS", LIMITS[limits])


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("place", PLACES)
async def test_a_limit_of_any_scope_and_unit_lets_through_what_it_has_room_for(
    place: str, limits: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy(place, limits)) as gateway:
        gateway.fake("a").answers = gateway.fake("b").answers = lambda _: used(100, 1000)
        for _ in range(2):
            await serve(gateway, principal=ALICE, body=BODY)
        error = await refused(gateway, principal=ALICE, body=BODY)
        assert error.message.startswith(WHOSE[place])
        assert len(gateway.fake("a").calls) == 2
        assert not gateway.fake("b").calls


@pytest.mark.parametrize(("place", "who"), [*OTHERS.items(), ("each team", OTHERS["team"])])
async def test_a_limit_leaves_alone_those_who_are_not_in_its_scope(
    place: str, who: Principal, tmp_path: Path, clock: FakeClock
) -> None:
    """Each value of a tag that * stands for has as much for itself."""
    async with assembled(tmp_path, clock, policy(place, "spend")) as gateway:
        for _ in range(2):
            await serve(gateway, principal=ALICE)
        await serve(gateway, principal=who)


async def test_a_limit_of_a_model_leaves_others_alone(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy("model", "spend")) as gateway:
        for _ in range(2):
            await serve(gateway, principal=ALICE)
        await refused(gateway, principal=EVERYBODY)
        await serve(gateway, "other", principal=EVERYBODY)


@pytest.mark.parametrize(
    ("limits", "status", "code", "tells"),
    [
        ("spend", 402, "budget_exhausted", "0 USD left of its budget of 0.02 USD a month from 15"),
        ("tokens", 429, "token_limit_exceeded", "300 left of its tokens of 2500 a day"),
        ("input_tokens", 429, "token_limit_exceeded", "50 left of its tokens of input of 250 in a"),
        ("output_tokens", 429, "token_limit_exceeded", "250 left of its tokens of output of 2250"),
        ("requests", 429, "rate_limit_exceeded", "0 left of its requests of 2 a day Asia/Tokyo"),
        ("rolling", 429, "rate_limit_exceeded", "room for it in 2 hours 2 minutes"),
    ],
)
async def test_a_caller_is_told_what_is_left_and_when_it_comes_back(
    limits: str, status: int, code: str, tells: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, policy("user", limits)) as gateway:
        gateway.fake("a").answers = lambda _: used(100, 1000)
        for _ in range(2):
            await serve(gateway, principal=ALICE, body=BODY)
        error = await refused(gateway, principal=ALICE, body=BODY)
        assert (error.status, error.code) == (status, code)
        assert tells in error.message
        assert error.headers["x-should-retry"] == "false"
        assert error.headers["x-spillgate-left"].startswith("user;unit=")


async def test_what_others_made_of_a_scope_is_not_told(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, policy("team", "rolling")) as gateway:
        for _ in range(2):
            await serve(gateway, principal=ALICE)
        error = await refused(gateway, principal=ALICE)
        assert "Team search has used up its requests of the last 2h." in error.message
        assert "x-spillgate-left" not in error.headers


@pytest.mark.parametrize("ends", ["served", "failed", "cancelled"])
async def test_no_scope_keeps_what_a_call_held(ends: str, tmp_path: Path, clock: FakeClock) -> None:
    """However it ended, tokens and requests count as what they were."""
    text = POLICY + (
        "limits:\n  tokens: 5000/day\n  requests: 10/24h\n"
        "  models: {chat: {output_tokens: 5000/day}}\n  backends: {a: {spend: 1 USD/24h}}\n"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").runs_for = 5.0
        gateway.fake("a").answers = lambda _: used(7, 30)
        if ends == "failed":
            gateway.fake("a").answers = lambda _: BackendError(FailureClass.INVALID, "no")
        _, task = gateway.start("chat", principal=EVERYBODY, preferences=THOUSAND)
        await gateway.until_asked("a")
        assert await left(gateway, "gateway", "tokens", "day", 5000) < 5000
        assert await left(gateway, "backend:a", "nano_usd", "24h", 10**9) == 10**9 - CENT
        if ends == "cancelled":
            task.cancel()
        await gateway.until_done([task], step=1.0)
        tokens = 37 if ends == "served" else 0
        assert 5000 - await left(gateway, "gateway", "tokens", "day", 5000) <= max(tokens, 1)
        assert await left(gateway, "gateway", "calls", "24h", 10) == 9
        cost = 10**9 - await left(gateway, "backend:a", "nano_usd", "24h", 10**9)
        assert cost == await gateway.spent("dave")
