"""A call is sent where what it brings is taken, and where its prompt fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.api.batches.line_calls import read_call
from gateway.api.calls.openai import parsed_call
from gateway.clock import FakeClock
from gateway.routing.needs import NO_NEEDS
from tests.gateway.assembled import ALICE, AssembledGateway, assembled

POLICY = """
version: 1
server: {tls: "off", access_log: false}
backends:
  small: {kind: fake, context: 1000, takes: [tools]}
  large: {kind: fake, context: 100000, price: dear}
models:
  chat: {task: chat, backends: [small, large]}
  lone: {task: chat, backends: [small]}
  grows: {task: chat, backends: [small], larger: huge}
  huge: {task: chat, backends: [large]}
prices:
  dear: {per_call: 0.01, as_of: 2026-11-01, source: test}
plans:
  default: {concurrent: 10}
"""
TOOL = {"type": "function", "function": {"name": "f"}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
SHAPE = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


def chat(text: str = "hi", **more: Any) -> dict[str, Any]:
    return {"model": "chat", "messages": [{"role": "user", "content": text}], **more}


async def backend_of(gateway: AssembledGateway, path: str, body: dict[str, Any]) -> str:
    async with gateway.client() as client:
        answer = await client.post(path, json=body)
        if answer.status_code == 200:
            return answer.headers["x-spillgate-backend"]
        return f"{answer.status_code} {answer.json()['error']['code']}"


@pytest.mark.parametrize(
    ("body", "backend"),
    [
        (chat(), "small"),
        (chat(tools=[TOOL]), "small"),
        (chat(tools=[]), "small"),
        (chat(response_format={"type": "text"}), "small"),
        (chat(response_format=SHAPE), "large"),
        (chat(messages=[{"role": "user", "content": [PICTURE]}]), "large"),
        (chat(messages=[{"role": "user", "content": [PICTURE]}], model="lone"), "400 unsupported"),
        (chat("word " * 600), "small"),
        (chat("word " * 2000), "large"),
        (chat("word " * 700, max_tokens=300), "large"),
        (chat("word " * 900, model="lone"), "small"),
        (chat("word " * 2000, model="lone"), "400 context_length_exceeded"),
    ],
    ids=[
        "text", "a tool", "no tool", "text alone", "a shape", "a picture", "a picture, nowhere",
        "it fits", "it is too long", "its answer does not fit", "tight, nowhere else",
        "too long, nowhere else",
    ],
)  # fmt: skip
async def test_a_call_goes_where_it_is_taken(
    body: dict[str, Any], backend: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        assert await backend_of(gateway, "/v1/chat/completions", body) == backend
        asked = [one for name in ("small", "large") for one in gateway.fake(name).calls]
        assert len(asked) == (0 if backend.startswith("4") else 1)


async def test_other_words_need_the_same(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        picture = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
        message = {"role": "user", "content": [picture]}
        asked = {"model": "lone", "max_tokens": 5, "messages": [message]}
        refused = await client.post("/v1/messages", json=asked)
        assert refused.status_code == 400
        assert "lacks_ability" in refused.json()["error"]["message"]
        text = {"format": {"type": "json_schema", "name": "n", "schema": {}}}
        body = {"model": "lone", "input": "hi", "text": text}
        assert (await client.post("/v1/responses", json=body)).status_code == 400


async def test_a_model_that_has_a_larger_one_is_asked_itself_first(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        body = chat("word " * 5000, model="grows")
        assert await backend_of(gateway, "/v1/chat/completions", body) == "small"


async def test_an_explanation_says_why_a_backend_is_left_out(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway, gateway.client() as client:
        for body, reason in (
            (chat(response_format=SHAPE), "lacks_ability"),
            (chat("word " * 2000), "context_too_small"),
        ):
            told = (await client.post("/v1/route/explain", json=body)).json()
            assert told["backend"] == "large"
            assert [(one["backend"], one["reason"]) for one in told["refused"]] == [
                ("small", reason)
            ]


@pytest.mark.parametrize(
    "body",
    [chat(messages=[{"role": "user", "content": [PICTURE]}]), chat("word " * 2000), chat()],
    ids=["a picture", "a long one", "a word"],
)
async def test_a_line_of_a_batch_needs_what_its_call_needs(
    body: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, POLICY) as gateway:
        active, data = gateway.inner.active, json.dumps(body).encode()
        line = read_call(active, ALICE, "/v1/chat/completions", data)
        parsed = parsed_call(active, ALICE, "chat", data)
        assert line.preferences.needs == active.demands.needs(parsed, parsed.abilities)
        assert (line.preferences.needs == NO_NEEDS) is (body == chat())
