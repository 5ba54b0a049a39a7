"""What a key is told of its limits, whether or not it has reached one."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from tests.gateway.assembled import assembled
from tests.gateway.limits.gateways import POLICY, used

LIMITED = POLICY + (
    "plans:\n  p:\n    tokens: 5000/day Europe/Berlin\n    requests: 60/minute\n"
    "    shared: {spend: 9 USD/24h}\n"
    "    raises: [{tokens: 6000/day Europe/Berlin, end: 2026-03-01}]\n"
)
BODY = {"messages": [{"role": "user", "content": "hi"}], "model": "chat", "max_tokens": 100}


@pytest.mark.parametrize("shown", [False, True], ids=["by default", "where the policy says so"])
async def test_an_answer_says_what_is_left_where_the_policy_says_so(
    shown: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """Of the caller's own budgets alone."""
    text = LIMITED + ("limits: {show_left: true}\n" if shown else "")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("a").answers = lambda _: used(10, 20)
        async with gateway.client(gateway.key(plan="p")) as client:
            answer = await client.post("/v1/chat/completions", json=BODY)
    left = answer.headers.get("x-spillgate-left", "")
    assert left.partition(";t=")[0] == (
        'user;unit=tokens;window="day Europe/Berlin";left=5970;limit=6000' if shown else ""
    )
    assert "plan" not in left


async def test_a_key_is_told_its_windows_what_it_used_and_when_its_limits_change(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, LIMITED) as gateway:
        gateway.fake("a").answers = lambda _: used(10, 20)
        async with gateway.client(gateway.key(plan="p")) as client:
            await client.post("/v1/chat/completions", json=BODY)
            told = (await client.get("/v1/me")).json()
    limits = {(one["scope"], one["unit"]): one for one in told["limits"]}
    tokens, shared = limits["user", "tokens"], limits["plan", "usd"]
    assert (tokens["name"], tokens["window"]) == ("alice", "day Europe/Berlin")
    assert (tokens["limit"], tokens["remaining"]) == (6000, 5970)
    assert (shared["name"], shared["limit"], shared["remaining"]) == ("p", None, None)
    assert told["limits_change_at"] == "2026-03-01T00:00:00Z"
    assert told["used"]["month"]["usd"] == 0.01
    assert (told["used"]["day"]["calls"], told["used"]["day"]["input_tokens"]) == (1, 10)


async def test_an_answer_without_a_bound_is_as_long_as_the_tokens_that_are_left(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, LIMITED.replace("6000/day", "7000/day")) as gateway:
        gateway.fake("a").answers = lambda _: used(10, 6500)
        key = gateway.key(plan="p")
        async with gateway.client(key) as client:
            body = {"messages": [{"role": "user", "content": "hi"}], "model": "chat"}
            await client.post("/v1/chat/completions", json=body | {"max_tokens": 6600})
            answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    bound = int(answer.headers["x-spillgate-max-tokens"])
    assert 400 < bound < 490
    assert b'"max_tokens":%d' % bound in gateway.fake("a").calls[-1].body
