"""Chat answers, whole and in pieces, as engines give them; and the genuine clients before a gateway
in this process."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai

from adapters.types import Chunk, Reply, Usage
from gateway.app import web
from gateway.storage.base import LedgerRow
from tests.gateway.assembled import AssembledGateway

USED = Usage(input_tokens=9, output_tokens=4, exec_s=0.1)
DONE = Chunk(b"data: [DONE]\n\n", "done", USED)


def whole(message: dict[str, Any], finish: str = "stop", **choice: Any) -> Reply:
    """A whole chat completion."""
    chosen = {"index": 0, "message": message, "finish_reason": finish, **choice}
    answer = {"id": "c1", "created": 7, "model": "up-7b", "choices": [chosen]}
    return Reply(body=json.dumps(answer).encode(), usage=USED)


def piece(delta: dict[str, Any], finish: str | None = None) -> Chunk:
    """One event of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": "c1", "created": 7, "model": "up-7b", "choices": [choice]}
    return Chunk(b"data: " + json.dumps(event).encode() + b"\n\n")


def tool_piece(index: int, arguments: str, **called: Any) -> Chunk:
    """A piece of a call of a tool: its start, where it has a name."""
    function = {"arguments": arguments, **({"name": called.pop("name")} if called else {})}
    return piece({"tool_calls": [{"index": index, "function": function, **called}]})


SAID = (
    piece({"role": "assistant", "reasoning_content": "hmm"}),
    piece({"content": "It is "}),
    piece({"content": "fine."}),
    tool_piece(0, "", id="t1", name="weather", type="function"),
    tool_piece(0, '{"city":'),
    tool_piece(0, '"Oslo"}'),
    tool_piece(1, '{"city":"Rome"}', id="t2", name="weather", type="function"),
    piece({}, "tool_calls"),
    DONE,
)
"""Thinking, text and two calls of a tool."""


def anthropics(gateway: AssembledGateway) -> anthropic.AsyncAnthropic:
    """Anthropic's client, with the root that its users write."""
    transport = httpx2.ASGITransport(app=web(gateway.inner))
    return anthropic.AsyncAnthropic(
        api_key=gateway.key(),
        base_url="http://gateway",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport),
    )


def openais(gateway: AssembledGateway) -> openai.AsyncOpenAI:
    """OpenAI's client."""
    transport = httpx2.ASGITransport(app=web(gateway.inner))
    return openai.AsyncOpenAI(
        api_key=gateway.key(),
        base_url="http://gateway/v1",
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=transport),
    )


async def row_of(gateway: AssembledGateway) -> LedgerRow:
    """That of the last call that the backend ``home`` was asked."""
    return await gateway.row(gateway.fake("home").calls[-1].id)
