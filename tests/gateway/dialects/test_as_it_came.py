"""What a server answers is the same through the gateway, field by field and event by event, in
whatever legal shape: asked directly, and through a gateway before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.whole_events import data_of, name_of, split_events
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer, answer, chunked, read_request
from tests.gateway.assembled import AssembledGateway, with_own_kinds

POLICY = """
version: 1
server: {{tls: "off", access_log: false}}
backends:
  up:
    kind: openai
    base_url: "{url}"
    engine: none
    native: [messages, responses]
    price: tokens
models:
  chat: {{task: chat, backends: [up]}}
prices:
  tokens: {{per_million_input: 1, per_million_output: 2, as_of: 2026-11-01, source: test}}
"""
CALLED = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1.50}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{not json"}},
    {"id": "c", "type": "custom", "custom": {"name": "h", "input": "free\ntext"}},
]
LOGPROB = {"token": "né", "logprob": -0.1, "bytes": [110, 195, 169], "top_logprobs": []}
SOUND = {"id": "audio_1", "data": "UklGRg==", "transcript": "hë", "expires_at": 17_000_000_001}
USED = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "completion_tokens_details": {"reasoning_tokens": 1, "of_tomorrow": 2},
}
CITED = [{"type": "url_citation", "url_citation": {"url": "https://x/ü", "title": "t"}}]
SAID: dict[str, dict[str, Any]] = {
    "a text": {"content": "naïve \U0001f44b\U0001f3fd \\u0041 \u2028 東京"},
    "calls side by side": {"content": None, "tool_calls": CALLED},
    "a refusal": {"content": None, "refusal": "I can't."},
    "thoughts": {"content": "4", "reasoning_content": "2+2", "reasoning_details": [{"a": None}]},
    "sound": {"content": None, "audio": SOUND},
    "parts": {"content": [{"type": "text", "text": "p"}, {"type": "of_tomorrow", "x": [[]]}]},
    "what it cites": {"content": "see", "annotations": CITED},
    "nothing": {"content": ""},
    "an old call": {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
}
"""What a message of a chat may say."""
ENDS = {"nothing": "length", "calls side by side": "tool_calls", "an old call": "function_call"}
HEAD = {"id": "chatcmpl-1", "created": 1_764_000_000, "model": "up-7b", "odd": {"n": 10**17}}


def whole(name: str) -> bytes:
    """A chat completion of two choices that says it."""
    end, more = ENDS.get(name, "stop"), {"logprobs": {"content": [LOGPROB], "refusal": None}}
    message = {"role": "assistant", **SAID[name]}
    choices = [
        {"index": n, "message": message, "finish_reason": end, "stop_reason": 13, **more}
        for n in range(2)
    ]
    shown = {**HEAD, "object": "chat.completion", "service_tier": None, "choices": choices}
    return json.dumps({**shown, "usage": USED}, indent=1).encode()


def pieces(name: str) -> list[bytes]:
    """The same as a stream, its choices in turn; comments and events of no known kind between."""
    found = [b": is coming\n\n"]
    for delta in ({"role": "assistant", "content": ""}, _delta(SAID[name])):
        for n in range(2):
            more = {"logprobs": {"content": [LOGPROB]}, "finish_reason": None}
            found.append(_chunk({"index": n, "delta": delta, **more}))
    found.append(b'event: of_tomorrow\nid: 7\ndata: {"object": "of.tomorrow", "x": [1.50]}\n\n')
    found += [
        _chunk({"index": n, "delta": {}, "finish_reason": ENDS.get(name, "stop")}) for n in (1, 0)
    ]
    last = {**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": USED}
    return [*found, b"data: " + json.dumps(last).encode() + b"\n\n", b"data: [DONE]\n\n"]


def _delta(said: dict[str, Any]) -> dict[str, Any]:
    calls = said.get("tool_calls")
    numbered = [{"index": n, **call} for n, call in enumerate(calls or ())]
    return {**said, "tool_calls": numbered} if calls else said


def _chunk(choice: dict[str, Any]) -> bytes:
    value = {**HEAD, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def typed(*events: dict[str, Any]) -> list[bytes]:
    """Events with types, as both protocols name them."""
    return [
        b"event: %b\ndata: %b\n\n"
        % (event["type"].encode(), json.dumps(event, ensure_ascii=False).encode())
        for event in events
    ]


START = {"id": "msg_1", "type": "message", "role": "assistant", "model": "up-7b", "content": []}
BLOCKS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    (
        {"type": "thinking", "thinking": "", "signature": ""},
        [
            {"type": "thinking_delta", "thinking": "hm…"},
            {"type": "signature_delta", "signature": "c2ln"},
        ],
    ),
    ({"type": "redacted_thinking", "data": "ZGF0YQ=="}, []),
    (
        {"type": "text", "text": "", "citations": []},
        [
            {"type": "text_delta", "text": "né\U0001f44b"},
            {"type": "citations_delta", "citation": {"type": "char_location", "cited_text": "ü"}},
        ],
    ),
    (
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        [
            {"type": "input_json_delta", "partial_json": '{"a":'},
            {"type": "input_json_delta", "partial_json": f' "{"x" * 70_000}"}}'},
        ],
    ),
    (
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        [{"type": "of_tomorrow_delta", "text": "?"}],
    ),
]
READ = {"input_tokens": 25, "cache_read_input_tokens": 3, "output_tokens": 1}
MESSAGES = typed(
    {"type": "message_start", "message": {**START, "usage": READ}},
    {"type": "ping"},
    *(
        event
        for n, (block, deltas) in enumerate(BLOCKS)
        for event in (
            {"type": "content_block_start", "index": n, "content_block": block},
            *({"type": "content_block_delta", "index": n, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": n},
        )
    ),
    {"type": "of_tomorrow", "odd": [None, 1.50]},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "pause_turn"},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
)
RESPONSE = {"id": "resp_1", "object": "response", "model": "up-7b", "status": "in_progress"}
ITEMS: list[dict[str, Any]] = [
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "…"}]},
    {
        "type": "message",
        "id": "m_1",
        "role": "assistant",
        "content": [{"type": "refusal", "refusal": "nö"}],
    },
    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "image_generation_call", "id": "ig_1", "result": "iVBORw0KGgo="},
    {"type": "of_tomorrow", "id": "x_1", "odd": {}},
]
COUNTED = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
RESPONSES = typed(
    {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "output": []}},
    {"type": "response.reasoning_summary_text.delta", "item_id": "rs_1", "delta": "…"},
    {"type": "response.refusal.delta", "item_id": "m_1", "delta": "nö"},
    {"type": "response.function_call_arguments.delta", "item_id": "fc_1", "delta": "{}"},
    {"type": "response.image_generation_call.partial_image", "partial_image_b64": "iVBO"},
    {"type": "response.of_tomorrow.delta", "delta": {"x": 1}},
    {"type": "response.mcp_call.in_progress", "item_id": "mcp_1"},
    {
        "type": "response.completed",
        "response": {**RESPONSE, "status": "completed", "output": ITEMS, "usage": COUNTED},
    },
)
WHOLE = {
    "/v1/messages": {
        **START,
        "content": [block for block, _ in BLOCKS],
        "usage": READ,
        "container": {"id": "c"},
    },
    "/v1/responses": {**RESPONSE, "status": "completed", "output": ITEMS, "usage": COUNTED},
}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "n": 2},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 99},
    "/v1/responses": {"input": "hi"},
}


class Recorded:
    """A server that gives one answer, and keeps the bodies that it was asked with."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self.asked: list[Any] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            if request.method == "GET":
                writer.write(answer({"object": "list", "data": []}))
                continue
            self.asked.append(json.loads(request.body))
            writer.write(self._reply)


@asynccontextmanager
async def before(
    reply: bytes, folder: Path, clock: FakeClock
) -> AsyncIterator[tuple[Recorded, httpx.AsyncClient, AssembledGateway]]:
    """The server, a client of it, and a gateway before it."""
    recorded = Recorded(reply)
    async with (
        RawServer(recorded.talk).running() as server,
        with_own_kinds(folder, clock, POLICY.format(url=server.url)) as gateway,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as direct,
    ):
        yield recorded, direct, gateway


async def both(
    path: str, reply: bytes, folder: Path, clock: FakeClock, **more: Any
) -> tuple[httpx.Response, httpx.Response, list[Any]]:
    """The answer that the server gives directly, and through the gateway; what it was asked."""
    body = {"model": "chat", **ASKED[path], **more}
    async with before(reply, folder, clock) as (recorded, direct, gateway):
        own = await direct.post(path, json=body)
        async with gateway.client() as client:
            through = await client.post(path, json=body)
    return own, through, recorded.asked


def events_of(body: bytes, *, priced: bool = False) -> list[tuple[bytes, Any]]:
    """Its events with their names; of a chat's usage without the cost, which is the gateway's."""
    return list(_events(body, priced))


def _events(body: bytes, priced: bool) -> Iterator[tuple[bytes, Any]]:
    for event in split_events(body):
        data = data_of(event)
        if not data or data == b"[DONE]":
            if data:
                yield name_of(event), "[DONE]"
            continue
        value = json.loads(data)
        if priced and value.get("choices") == []:
            value["usage"].pop("cost", None)
        yield name_of(event), value


@pytest.mark.parametrize("name", SAID)
async def test_a_whole_chat_is_the_servers_own(name: str, tmp_path: Path, clock: FakeClock) -> None:
    reply = answer(whole(name))
    own, through, asked = await both("/v1/chat/completions", reply, tmp_path, clock, seed=1.50)
    assert through.content == own.content
    assert asked[0] == asked[1]


def in_splits(stream: list[bytes], split: int, end: bytes = b"\n") -> bytes:
    """An answer that comes in chunks of so many bytes, wherever these cut."""
    body = b"".join(stream).replace(b"\n", end)
    return chunked(*(body[at : at + split] for at in range(0, len(body), split)))


@pytest.mark.parametrize(
    ("split", "end"), [(1, b"\n"), (7, b"\r\n"), (4096, b"\r"), (10**6, b"\n")]
)
@pytest.mark.parametrize("name", ["a text", "calls side by side", "sound"])
async def test_a_streamed_chat_is_the_servers_own_however_its_bytes_come(
    name: str, split: int, end: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    reply = in_splits(pieces(name), split, end)
    more = {"stream": True, "stream_options": {"include_usage": True}}
    own, through, asked = await both("/v1/chat/completions", reply, tmp_path, clock, **more)
    assert events_of(through.content, priced=True) == events_of(own.content)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", SAID)
async def test_every_kind_of_piece_passes(name: str, tmp_path: Path, clock: FakeClock) -> None:
    """Of usage that its caller has not asked for nothing is told."""
    own, through, _ = await both(
        "/v1/chat/completions", in_splits(pieces(name), 100), tmp_path, clock, stream=True
    )
    wanted = [
        one for one in events_of(own.content) if one[1] == "[DONE]" or one[1].get("choices") != []
    ]
    assert events_of(through.content) == wanted


async def test_an_event_may_have_its_data_in_several_lines(
    tmp_path: Path, clock: FakeClock
) -> None:
    lines = [event.replace(b', "', b',\ndata: "') for event in pieces("thoughts")]
    own, through, _ = await both(
        "/v1/chat/completions", in_splits(lines, 50), tmp_path, clock, stream=True
    )
    assert events_of(through.content)[0] == events_of(own.content)[0]
    assert events_of(through.content)[-1] == (b"", "[DONE]")


@pytest.mark.parametrize("path", WHOLE)
async def test_a_whole_typed_answer_is_the_servers_own(
    path: str, tmp_path: Path, clock: FakeClock
) -> None:
    own, through, asked = await both(path, answer(WHOLE[path]), tmp_path, clock)
    assert through.content == own.content
    assert asked[0] == asked[1]


@pytest.mark.parametrize(("split", "end"), [(1, b"\n"), (7, b"\r\n"), (10**6, b"\n")])
@pytest.mark.parametrize(
    ("path", "events"), [("/v1/messages", MESSAGES), ("/v1/responses", RESPONSES)]
)
async def test_typed_events_are_the_servers_own_however_their_bytes_come(
    path: str, events: list[bytes], split: int, end: bytes, tmp_path: Path, clock: FakeClock
) -> None:
    """Those of kinds that nobody knows yet among them."""
    reply = in_splits(events, split if split > 1 else 11, end)
    own, through, asked = await both(path, reply, tmp_path, clock, stream=True)
    assert events_of(through.content) == events_of(own.content)
    assert len(events_of(own.content)) == len(events)
    assert asked[0] == asked[1]
