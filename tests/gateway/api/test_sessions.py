"""A conversation stays where its beginning is kept, unless it is cheaper elsewhere all the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.types import Capabilities, Reply, TokenParts, Usage
from gateway.api.requests.sessions import session_in, session_of_chat
from gateway.clock import FakeClock
from tests.gateway.assembled import AssembledGateway, assembled

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  one: {kind: fake, price: one, expect: 1s}
  two: {kind: fake, price: two, expect: 1s}
models:
  agent: {task: chat, backends: [one, two], slo: 60s}
prices:
  one:
    per_million_input: 1
    per_million_cached_input: 0.1
    per_million_output: 4
    as_of: 2026-11-01
    source: test
  two:
    per_million_input: 0.9
    per_million_cached_input: 0.09
    per_million_output: 4
    as_of: 2026-11-01
    source: test
plans:
  default: {spend: 50 USD/month}
"""
TEXT = "x" * 40_000
MESSAGES = [{"role": "system", "content": TEXT}, {"role": "user", "content": "go"}]


async def answered_by(
    gateway: AssembledGateway, client: httpx.AsyncClient, backend: str, cached: int, **named: Any
) -> bool:
    """Whether it answers, which reads so many tokens from its cache."""
    usage = Usage(
        input_tokens=10_000, output_tokens=10, exec_s=1.0, parts=TokenParts(cached=cached)
    )
    gateway.fake(backend).tell(Reply(body=b"{}", usage=usage))
    path = named.pop("path", "/v1/chat/completions")
    body = {"model": "agent", "messages": MESSAGES, "max_tokens": 10, **named.pop("body", {})}
    answer = await client.post(path, json=body, **named)
    assert answer.status_code == 200, answer.text
    return bool(answer.headers["x-spillgate-backend"] == backend)


async def begun_at_one(gateway: AssembledGateway, client: httpx.AsyncClient, **named: Any) -> None:
    """Two turns, the second of which came from the cache of the dearer backend."""
    gateway.inner.set_draining("two", True)
    assert await answered_by(gateway, client, "one", 0, **named)
    assert await answered_by(gateway, client, "one", 9_000, **named)
    gateway.inner.set_draining("two", False)


@pytest.mark.parametrize(
    "named",
    [
        {"headers": {"X-Session-Id": "s"}},
        {"headers": {"x-session-affinity": "s"}},
        {"headers": {"Modal-Session-ID": "s"}},
        {"headers": {"X-Claude-Code-Session-Id": "s"}},
        {"body": {"prompt_cache_key": "s"}},
        {},
    ],
    ids=[
        "X-Session-Id",
        "x-session-affinity",
        "Modal-Session-ID",
        "Claude Code",
        "prompt_cache_key",
        "prefix",
    ],
)
async def test_a_conversation_stays_where_it_is_kept(
    named: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        await begun_at_one(gateway, client, **named)
        assert await answered_by(gateway, client, "one", 9_000, **named)
        other = {"headers": {"X-Session-Id": "another"}}
        assert await answered_by(gateway, client, "two", 0, **other)


MARK = {"cache_control": {"type": "ephemeral"}}
GO = {"type": "text", "text": "go"}
DONE: list[dict[str, Any]] = [
    {"role": "assistant", "content": "done"},
    {"role": "user", "content": "and now?"},
]


def coding(account: str, *more: Any) -> dict[str, Any]:
    """A body as Claude Code sends it: what stands first, and where it marks the prompt's end,
    differ from call to call."""
    system = [{"type": "text", "text": f"x-anthropic-billing-header: {account}"}]
    marked = {"role": "user", "content": [GO if more else {**GO, **MARK}]}
    return {
        "system": [*system, {"type": "text", "text": TEXT, **MARK}],
        "messages": [marked, *more],
    }


@pytest.mark.parametrize(
    ("path", "first", "later"),
    [
        ("/v1/messages", coding("a1"), coding("b2", *DONE)),
        (
            "/v1/responses",
            {"instructions": TEXT, "input": [{"role": "user", "content": "go"}]},
            {"instructions": TEXT, "input": [{"role": "user", "content": "go"}, *DONE]},
        ),
    ],
    ids=["messages", "responses"],
)
async def test_a_conversation_in_other_words_is_known_by_how_it_begins(
    path: str, first: dict[str, Any], later: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        for name in ("one", "two"):
            gateway.fake(name).capabilities = Capabilities(
                tasks=frozenset(("chat", "messages", "responses"))
            )
        await begun_at_one(gateway, client, path=path, body=first)
        assert await answered_by(gateway, client, "one", 9_000, path=path, body=later)
        other = {**later, "system": "be brief", "instructions": "be brief" + TEXT}
        assert await answered_by(gateway, client, "two", 0, path=path, body=other)


async def test_another_users_conversation_of_that_name_is_another(
    tmp_path: Path, clock: FakeClock
) -> None:
    named = {"headers": {"X-Session-Id": "s"}}
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        await begun_at_one(gateway, client, **named)
        async with gateway.client(gateway.key("bob")) as bob:
            assert await answered_by(gateway, bob, "two", 0, **named)


async def test_it_is_no_pin_and_rest_ends_it(tmp_path: Path, clock: FakeClock) -> None:
    named = {"headers": {"X-Session-Id": "s"}}
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        await begun_at_one(gateway, client, **named)
        gateway.inner.set_draining("one", True)
        assert await answered_by(gateway, client, "two", 0, **named)
        gateway.inner.set_draining("one", False)
        assert await answered_by(gateway, client, "one", 9_000, **named)
        await clock.advance(3600)
        assert await answered_by(gateway, client, "two", 0, **named)


async def test_what_would_be_lost_is_explained_and_the_hold_stays_what_it_was(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        body = json.dumps({"model": "agent", "messages": MESSAGES, "max_tokens": 10})
        before = (await client.post("/v1/route/explain", content=body)).json()
        await begun_at_one(gateway, client)
        after = (await client.post("/v1/route/explain", content=body)).json()
        there = {one["backend"]: one for one in after["candidates"]}
        assert (before["backend"], after["backend"]) == ("two", "one")
        assert there["one"]["session"]["lost_tokens"] == 0
        lost = there["two"]["session"]
        assert (lost["kept_tokens"], lost["lost_tokens"] > 8_000) == (0, True)
        assert lost["lost_usd"] == pytest.approx(lost["lost_tokens"] * 0.81e-6, rel=1e-3)
        holds = {one["backend"]: one["hold_usd"] for one in before["candidates"]}
        assert {name: one["hold_usd"] for name, one in there.items()} == holds


def test_a_header_goes_before_the_body_and_a_short_prompt_has_no_conversation() -> None:
    assert session_in({b"x-session-affinity": b" a "}) == "a"
    assert session_in({}) == ""
    assert session_of_chat("key", MESSAGES, 50_000) == "key"
    assert session_of_chat(None, MESSAGES, 100) == ""
    longer = [*MESSAGES, {"role": "assistant", "content": "done"}]
    assert session_of_chat(None, MESSAGES, 50_000) == session_of_chat(None, longer, 50_000)
    assert session_of_chat(None, ["odd"], 50_000).startswith("prefix:")
