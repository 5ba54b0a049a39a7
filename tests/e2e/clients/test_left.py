"""OpenAI's and Anthropic's clients leave their streams in the middle: the server is left too, and
what has come is paid for, whatever words it came in."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai

from tests.adapters.servers import RawServer, answer, read_request
from tests.live import LiveGateway
from tests.waiting import until

CONFIG = """
backends:
  knows:
    kind: openai
    base_url: "{url}"
    engine: none
    native: [messages, responses]
    price: own
  chats: {{kind: openai, base_url: "{url}", engine: none, price: own}}
models:
  native: {{task: chat, backends: [knows]}}
  spoken: {{task: chat, backends: [chats]}}
prices:
  own: {{per_million_input: 1, per_million_output: 1000, as_of: 2026-11-01, source: test}}
"""
HI: list[Any] = [{"role": "user", "content": "hi"}]
PIECES = 40
READ, BEGUN = 25, 1
"""Tokens that a message says at its start: what it has read, and written so far."""
_BETWEEN_S = 0.002


def begins(path: str) -> list[dict[str, Any]]:
    if path == "/v1/messages":
        usage = {"input_tokens": READ, "output_tokens": BEGUN}
        message = {"id": "m", "type": "message", "role": "assistant", "model": "up", "content": []}
        block = {"type": "text", "text": ""}
        return [
            {"type": "message_start", "message": {**message, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": block},
        ]
    if path == "/v1/responses":
        response = {"id": "r", "object": "response", "status": "in_progress", "output": []}
        return [{"type": "response.created", "sequence_number": 0, "response": response}]
    return [{"choices": [{"index": 0, "delta": {"role": "assistant"}}]}]


def piece(path: str) -> dict[str, Any]:
    if path == "/v1/messages":
        delta = {"type": "text_delta", "text": "on "}
        return {"type": "content_block_delta", "index": 0, "delta": delta}
    if path == "/v1/responses":
        at = {"item_id": "i", "output_index": 0, "content_index": 0, "sequence_number": 1}
        return {"type": "response.output_text.delta", "delta": "on ", **at}
    return {"choices": [{"index": 0, "delta": {"content": "on "}}]}


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers in the words of the path, without an end."""
    while (request := await read_request(reader)).method == "GET":
        writer.write(answer({"object": "list", "data": []}))
    path = request.target
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    writer.write(head.encode())
    for event in itertools.chain(begins(path), itertools.repeat(piece(path))):
        name = f"event: {event['type']}\n" if "type" in event else ""
        writer.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        await writer.drain()
        if reader.at_eof():
            return
        await asyncio.sleep(_BETWEEN_S)


@asynccontextmanager
async def talking(folder: Path) -> AsyncIterator[tuple[LiveGateway, RawServer]]:
    async with RawServer(endless).running() as server:
        gateway = LiveGateway(folder, CONFIG.format(url=server.url))
        await asyncio.to_thread(gateway.start)
        try:
            yield gateway, server
        finally:
            await asyncio.to_thread(gateway.stop)


async def messages(gateway: LiveGateway, key: str, model: str) -> int:
    async with anthropic.AsyncAnthropic(
        base_url=gateway.url, api_key=key, http_client=httpx2.AsyncClient(trust_env=False)
    ) as client:
        seen = 0
        async with client.messages.stream(model=model, max_tokens=9999, messages=HI) as stream:
            async for text in stream.text_stream:
                seen += len(text.split())
                if seen >= PIECES:
                    break
        return seen


async def responses(gateway: LiveGateway, key: str, model: str) -> int:
    async with openais(gateway, key) as client:
        seen = 0
        async with await client.responses.create(model=model, input="hi", stream=True) as stream:
            async for event in stream:
                seen += event.type == "response.output_text.delta"
                if seen >= PIECES:
                    break
        return seen


async def chats(gateway: LiveGateway, key: str, model: str) -> int:
    async with openais(gateway, key) as client:
        seen = 0
        stream = await client.chat.completions.create(model=model, messages=HI, stream=True)
        async for _ in stream:
            seen += 1
            if seen > PIECES:
                break
        await stream.close()
        return seen - 1


def openais(gateway: LiveGateway, key: str) -> openai.AsyncOpenAI:
    http = httpx2.AsyncClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=key, http_client=http)


async def row_of(asked: Any, task: str, model: str) -> dict[str, Any]:
    """That of the last call, once it is settled."""
    found: dict[str, Any] = {}

    async def ended() -> bool:
        rows = (await asked.get("/usage/calls", params={"limit": 1})).json()["data"]
        found.update(rows[0] if rows else {})
        return (found.get("task"), found.get("model")) == (task, model)

    await until(ended, f"{model}, {task}: its row")
    return found


ASKS = {"messages": messages, "responses": responses, "chat": chats}


async def test_who_leaves_pays_for_what_has_come_and_the_server_is_left(tmp_path: Path) -> None:
    async with talking(tmp_path) as (gateway, server):
        key = await asyncio.to_thread(lambda: gateway.user_key)
        admin = await asyncio.to_thread(lambda: gateway.admin_key)
        async with gateway.async_client(admin) as asked:
            for (task, ask), model in itertools.product(ASKS.items(), ("native", "spoken")):
                seen = await ask(gateway, key, model)
                row = await row_of(asked, task, model)
                assert (row["outcome"], row["cost_basis"]) == ("disconnected", "estimated")
                assert row["output_tokens"] >= seen >= PIECES
                assert row["cost_nano"] >= seen * 1_000_000
                if (task, model) == ("messages", "native"):
                    assert row["input_tokens"] == READ
        await until(lambda: server.open <= 2, "the server is left")
