"""OpenAI's /v1/responses before backends that know chats alone, by OpenAI's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Call
from gateway.clock import FakeClock
from gateway.dialects.responses_answered import ResponseWriter
from gateway.dialects.responses_asked import chat_of_response
from tests.gateway.assembled import assembled
from tests.gateway.dialects.chats import DONE, SAID, openais, piece, row_of, whole


async def test_a_response_is_answered_by_a_backend_of_chats(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        called = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"content": "hello", "tool_calls": [called]}
        gateway.fake("home").tell(whole(message, "tool_calls"))
        answer = await openais(gateway).responses.create(
            model="chat", instructions="be kind", input="hi", max_output_tokens=30
        )
        assert answer.output_text == "hello"
        assert [item.type for item in answer.output] == ["message", "function_call"]
        assert (answer.status, answer.model, answer.created_at) == ("completed", "chat", 7)
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 4)
        [call] = gateway.fake("home").calls
        assert json.loads(call.body) == {
            "model": "chat",
            "max_tokens": 30,
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "hi"},
            ],
        }
        assert (await row_of(gateway)).task == "responses"


async def test_a_stream_has_typed_events(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell([*SAID])
        stream = await openais(gateway).responses.create(model="chat", input="hi", stream=True)
        events = [event async for event in stream]
        assert [event.sequence_number for event in events] == [*range(len(events))]
        kinds = [event.type for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds[-1] == "response.completed"
        assert kinds.count("response.output_item.added") == 4
        assert kinds.count("response.output_item.done") == 4
        final = events[-1].response
        assert final.output_text == "It is fine."
        assert [item.type for item in final.output] == [
            "reasoning", "message", "function_call", "function_call",
        ]  # fmt: skip
        assert [item.arguments for item in final.output[2:]] == [
            '{"city":"Oslo"}',
            '{"city":"Rome"}',
        ]
        assert final.usage.total_tokens == 13


async def test_what_was_cut_by_its_bound_is_incomplete(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell([piece({"content": "a"}, "length"), DONE])
        stream = await openais(gateway).responses.create(model="chat", input="hi", stream=True)
        [*_, last] = [event async for event in stream]
        assert last.type == "response.incomplete"
        assert last.response.incomplete_details.reason == "max_output_tokens"


async def test_a_cut_stream_raises_at_its_reader(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        cut = BackendError(FailureClass.TRUNCATED, "the stream was cut")
        gateway.fake("home").tell([piece({"content": "a"}), cut])
        stream = await openais(gateway).responses.create(model="chat", input="hi", stream=True)
        with pytest.raises(openai.APIError, match="the stream was cut"):
            _ = [event async for event in stream]
        assert (await row_of(gateway)).outcome == "error"


async def test_a_picture_and_tools_go_round_by_openais_client(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What it was answered goes back as its client has it, a text after its calls too."""
    called = [
        {"id": id, "type": "function", "function": {"name": "level", "arguments": "{}"}}
        for id in ("a", "b")
    ]
    parts = [
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"type": "input_text", "text": "how high?"},
    ]
    asked: list[Any] = [{"role": "user", "content": parts}]
    tools: Any = [{"type": "function", "name": "level", "parameters": {"$ref": "#"}}]
    async with assembled(tmp_path, clock) as gateway:
        home = gateway.fake("home")
        pieces = [
            *(piece({"tool_calls": [{"index": n, **call}]}) for n, call in enumerate(called)),
            piece({"content": "one moment"}),
            piece({}, "tool_calls"),
        ]
        home.tell([*pieces, DONE], whole({"content": "3 m"}))
        client = openais(gateway)
        stream = await client.responses.create(model="chat", input=asked, tools=tools, stream=True)
        [*_, last] = [event async for event in stream]
        asked += last.response.output
        asked += [
            {"type": "function_call_output", "call_id": id, "output": "3 m"} for id in ("a", "b")
        ]
        second = await client.responses.create(model="chat", input=asked, tools=tools)
        assert second.output_text == "3 m"
        told = json.loads(home.calls[1].body)["messages"]
        assert told[1:] == [
            {"role": "assistant", "content": "one moment", "tool_calls": called},
            {"role": "tool", "tool_call_id": "a", "content": "3 m"},
            {"role": "tool", "tool_call_id": "b", "content": "3 m"},
        ]


def test_items_stand_where_a_chat_has_them() -> None:
    asked = {
        "model": "m",
        "input": [
            {"role": "developer", "content": "short"},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "what is it?"},
                    {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
                ],
            },
            {"type": "reasoning", "id": "r", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "let me see"}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "2", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "one"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}},
        "reasoning": {"effort": "low"},
        "store": True,
    }
    chat = json.loads(chat_of_response(json.dumps(asked).encode()))
    called = [
        {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for id in ("1", "2")
    ]
    shown = {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
    assert chat == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "short"},
            {"role": "user", "content": [{"type": "text", "text": "what is it?"}, shown]},
            {"role": "assistant", "content": "let me see", "tool_calls": called},
            {"role": "tool", "tool_call_id": "1", "content": "one"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {}, "strict": True},
        },
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize(
    "more",
    [
        {"previous_response_id": "resp_1"},
        {"background": True},
        {"tools": [{"type": "web_search"}]},
        {"input": [{"type": "item_reference", "id": "i"}]},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_what_no_backend_can_do_is_refused_and_costs_nothing(
    more: dict[str, Any], tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        asked = {"model": "chat", "input": "hi", **more}
        with pytest.raises(openai.BadRequestError):
            await openais(gateway).responses.create(**asked)
        assert gateway.fake("home").calls == []
        assert await gateway.spent() == 0


@pytest.mark.parametrize("reasoning", ["high", 1, True, ["high"], ""], ids=str)
async def test_reasoning_that_is_no_object_is_refused_before_a_backend_is_asked(
    reasoning: Any, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        with pytest.raises(openai.BadRequestError, match="`reasoning` is an object"):
            await openais(gateway).responses.create(model="chat", input="hi", reasoning=reasoning)
        assert gateway.fake("home").calls == []
        assert await gateway.spent() == 0


_ODD: tuple[Any, ...] = (None, True, 1, 0.5, "x", [], [[]], [{}], {}, {"effort": []})
_READ = (
    "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "reasoning",
    "temperature", "text", "tool_choice", "tools", "top_p", "truncation", "user",
)  # fmt: skip


@pytest.mark.parametrize("name", _READ)
def test_an_answer_is_written_whatever_its_request_said(name: str) -> None:
    for odd in _ODD:
        body = json.dumps({"model": "m", "input": "hi", name: odd}).encode()
        writer = ResponseWriter(Call(id="req_1", model="m", task="responses", body=body))
        answer = whole({"role": "assistant", "content": "fine"})
        assert json.loads(writer.whole(answer.body, answer.usage))["status"] == "completed"


def test_pictures_that_tools_gave_back_follow_in_a_users_message() -> None:
    picture = {"type": "input_image", "image_url": "https://x/y.png"}
    given = [
        {"type": "function_call_output", "call_id": "1", "output": [picture]},
        {
            "type": "function_call_output",
            "call_id": "2",
            "output": [{"type": "input_text", "text": "two"}],
        },
    ]
    shown = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    tools = [
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "tool", "tool_call_id": "2", "content": "two"},
        {"role": "user", "content": [shown]},
    ]
    later = {"role": "user", "content": "go on"}
    for more in ([], [later]):
        body = json.dumps({"model": "m", "input": [*given, *more]}).encode()
        assert json.loads(chat_of_response(body))["messages"] == [*tools, *more]


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_a_picture_that_a_chat_cannot_hold_is_refused(role: str) -> None:
    parts = [{"type": "input_image", "image_url": "https://x/y.png"}]
    body = json.dumps({"model": "m", "input": [{"role": role, "content": parts}]}).encode()
    with pytest.raises(BackendError) as raised:
        chat_of_response(body)
    assert raised.value.failure is FailureClass.UNSUPPORTED
