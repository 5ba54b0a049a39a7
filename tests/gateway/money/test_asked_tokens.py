"""How many tokens the answers to one body may hold: what is held for them at a price by tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.types import Chunk, Reply, Usage
from gateway.clock import FakeClock
from gateway.money.pricing import MOST_TOKENS
from tests.gateway.assembled import POLICY, AssembledGateway, assembled

BY_TOKENS = (
    POLICY.replace("per_second: 0.001, bills: [start, run]", "per_million_output: 1")
    .replace("  any: {task", "  text: {task: completions, backends: [burst]}\n  any: {task")
    .replace(
        "  any: {task: infer, backends: [home, burst]", "  any: {task: infer, backends: [burst]"
    )
    .replace(", spend: 5 USD/month", "")
)
"""A token that is produced costs a thousand nano-dollars; no limit but a rate stands."""
CHAT = {"model": "far", "messages": [{"role": "user", "content": "hi"}]}
TEXT = {"model": "text", "prompt": "hi"}


async def held(gateway: AssembledGateway, path: str, body: dict[str, Any]) -> int:
    """Tokens that were held for when the call was made."""
    async with gateway.client() as client:
        answer = await client.post(path, json=body)
    return (await gateway.row(answer.headers["x-request-id"])).hold_nano // 1000


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({}, 4096),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_completion_tokens": 7, "max_tokens": 900}, 900),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 7, "n": 3, "best_of": 5}, 35),
        ({"max_tokens": -1}, 4096),
        ({"max_tokens": 0}, 4096),
        ({"max_tokens": 7, "n": -3}, 7),
        ({"max_tokens": 2**62, "n": 2**62}, MOST_TOKENS),
    ],
    ids=str,
)
async def test_no_spelling_of_a_bound_makes_the_hold_too_small(
    asked: dict[str, int], tokens: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        assert await held(gateway, "/v1/chat/completions", {**CHAT, **asked}) == tokens


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("name", ["max_completion_tokens", "max_tokens", "max_output_tokens"])
async def test_a_bound_of_another_route_counts_for_nothing(
    path: str, name: str, tmp_path: Path, clock: FakeClock
) -> None:
    """What is sent to a backend of chats has the route's own bound alone."""
    own = {"/v1/messages": "max_tokens", "/v1/responses": "max_output_tokens"}[path]
    body = {"model": "far", "messages": CHAT["messages"], "input": "hi", name: 1}
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        assert await held(gateway, path, body) == (1 if name == own else 4096)


async def test_a_native_call_is_held_for_what_its_model_may_produce(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its body says nothing that the gateway could read."""
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        assert await held(gateway, "/v1/infer/any", {"max_tokens": 7}) == 4096
        async with gateway.client() as client:
            body = {"model": "any", "n": "is the model's own"}
            told = (await client.post("/v1/route/explain", json=body)).json()
        assert told["candidates"][0]["hold_usd"] == pytest.approx(4096e-6)


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("hi", 1), (["a", "b", "c"], 3), ([[1, 2], [3]], 2), ([1, 2, 3], 1)],
    ids=str,
)
async def test_each_prompt_of_a_body_has_an_answer(
    prompt: Any, prompts: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway:
        body = {**TEXT, "prompt": prompt, "max_tokens": 50}
        assert await held(gateway, "/v1/completions", body) == 50 * prompts


async def test_a_stream_whose_tokens_nobody_counted_is_charged_by_its_events(
    tmp_path: Path, clock: FakeClock
) -> None:
    """As one that is cut is: a token an event. The caller is shown no count that is a guess."""
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway, gateway.client() as client:
        word = Chunk(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
        gateway.fake("burst").tell(
            [word] * 5 + [Chunk(b"data: [DONE]\n\n", "done", Usage(exec_s=1.0))]
        )
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        answer = await client.post("/v1/chat/completions", json=body)
        row = await gateway.row(answer.headers["x-request-id"])
        assert (row.outcome, row.output_tokens, row.cost_nano) == ("success", 5, 5000)
        assert b"usage" not in answer.content


@pytest.mark.parametrize("said", [10**30, 2**63 - 1, -5])
async def test_a_call_whose_backend_tells_nonsense_has_its_row_all_the_same(
    said: int, tmp_path: Path, clock: FakeClock
) -> None:
    """It neither fails for it nor is paid for it, and nothing stays open."""
    async with assembled(tmp_path, clock, BY_TOKENS) as gateway, gateway.client() as client:
        usage = Usage(exec_s=1.0, input_tokens=3, output_tokens=said, reported=True)
        gateway.fake("burst").tell(Reply(body=b"{}", usage=usage))
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert (answer.status_code, answer.headers["x-spillgate-cost"]) == (200, "0")
        [row] = await gateway.rows(answer.headers["x-request-id"])
        assert (row.outcome, row.input_tokens, row.output_tokens) == ("success", 3, 0)
