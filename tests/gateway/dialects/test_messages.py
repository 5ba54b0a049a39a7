"""Anthropic's /v1/messages before backends that know chats alone, by Anthropic's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Capabilities
from gateway.clock import FakeClock
from gateway.dialects.messages_asked import chat_of_message
from tests.gateway.assembled import assembled
from tests.gateway.dialects.chats import DONE, SAID, anthropics, piece, row_of, whole

HI: list[Any] = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"next": {"$ref": "#"}}}
"""One that holds itself."""


async def test_a_message_is_answered_by_a_backend_of_chats(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell(whole({"content": "hello", "reasoning": "hmm"}))
        client = anthropics(gateway)
        answer = await client.messages.create(
            model="chat",
            max_tokens=20,
            system="be kind",
            messages=HI,
            stop_sequences=["END"],
            tools=[{"name": "walk", "description": "d", "input_schema": SCHEMA}],
            tool_choice={"type": "any", "disable_parallel_tool_use": True},
        )
        assert [block.type for block in answer.content] == ["thinking", "text"]
        assert answer.content[1].text == "hello"
        assert (answer.model, answer.role, answer.stop_reason) == ("chat", "assistant", "end_turn")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 4)
        [call] = gateway.fake("home").calls
        function = {"name": "walk", "description": "d", "parameters": SCHEMA}
        assert call.task == "chat"
        assert json.loads(call.body) == {
            "model": "chat",
            "max_tokens": 20,
            "messages": [{"role": "system", "content": "be kind"}, *HI],
            "stop": ["END"],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        }
        row = await row_of(gateway)
        assert (row.task, row.input_tokens, row.output_tokens) == ("messages", 9, 4)


async def test_a_stream_has_anthropics_own_events(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell([*SAID])
        client = anthropics(gateway)
        async with client.messages.stream(model="chat", max_tokens=20, messages=HI) as stream:
            text = "".join([one async for one in stream.text_stream])
            message = await stream.get_final_message()
        assert text == "It is fine."
        kinds = [block.type for block in message.content]
        assert kinds == ["thinking", "text", "tool_use", "tool_use"]
        called = [(one.id, one.input) for one in message.content if one.type == "tool_use"]
        assert called == [("t1", {"city": "Oslo"}), ("t2", {"city": "Rome"})]
        assert message.stop_reason == "tool_use"
        assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 4)


async def test_a_cut_stream_ends_in_an_error_and_no_message_stop(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        cut = BackendError(FailureClass.TRUNCATED, "the stream was cut")
        gateway.fake("home").tell([piece({"content": "a"}), cut])
        body = {"model": "chat", "max_tokens": 5, "messages": HI, "stream": True}
        answer = await client.post("/v1/messages", json=body)
        names = [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")]
        assert names[-1] == "error"
        assert "message_stop" not in names
        told = json.loads(answer.text.rsplit("data: ", 1)[1])
        assert (told["type"], told["error"]["code"]) == ("error", "backend_truncated")
        assert (await row_of(gateway)).outcome == "error"


async def test_a_stream_that_only_stops_was_cut(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell([piece({"content": "a"})])
        client = anthropics(gateway)
        with pytest.raises(anthropic.APIStatusError):
            async with client.messages.stream(model="chat", max_tokens=5, messages=HI) as stream:
                await stream.get_final_message()


async def test_pictures_and_what_tools_found_stand_where_a_chat_has_them() -> None:
    picture = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    asked = {
        "model": "m",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": picture}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hmm", "signature": "s"},
                    {"type": "text", "text": "looking"},
                    {"type": "tool_use", "id": "t1", "name": "see", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [
                            {"type": "text", "text": "found"},
                            {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                        ],
                    },
                    {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral"}},
                ],
            },
        ],
    }
    chat = json.loads(chat_of_message(json.dumps(asked).encode()))
    shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    found = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    function = {"name": "see", "arguments": '{"a":1}'}
    called = {"id": "t1", "type": "function", "function": function}
    assert chat["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": [shown]},
        {"role": "assistant", "content": "looking", "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "t1", "content": "found"},
        {"role": "user", "content": [found, {"type": "text", "text": "and?"}]},
    ]


async def test_a_picture_and_a_tool_go_round_by_anthropics_client(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What it was answered goes back as its client has it."""
    function = {"name": "level", "arguments": '{"lake":"north"}'}
    called = {"id": "t1", "type": "function", "function": function}
    picture: Any = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    parts: Any = [{"type": "image", "source": picture}, {"type": "text", "text": "how high?"}]
    tools: Any = [{"name": "level", "description": "d", "input_schema": SCHEMA}]
    asked: list[Any] = [{"role": "user", "content": parts}]
    async with assembled(tmp_path, clock) as gateway:
        home = gateway.fake("home")
        message = {"content": "let me see", "reasoning_content": "hm", "tool_calls": [called]}
        home.tell(whole(message, "tool_calls"), whole({"content": "3 m"}))
        client = anthropics(gateway)
        first = await client.messages.create(
            model="chat", max_tokens=20, messages=asked, tools=tools
        )
        use = first.content[-1]
        assert (first.stop_reason, use.input) == ("tool_use", {"lake": "north"})
        found = [{"type": "text", "text": "3 m"}, {"type": "image", "source": picture}]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": found}
        asked += [
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ]
        second = await client.messages.create(
            model="chat", max_tokens=20, messages=asked, tools=tools
        )
        assert second.content[0].text == "3 m"
        shown = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        assert json.loads(home.calls[1].body)["messages"] == [
            {"role": "user", "content": [shown, {"type": "text", "text": "how high?"}]},
            {"role": "assistant", "content": "let me see", "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "t1", "content": "3 m"},
            {"role": "user", "content": [shown]},
        ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web_search_20250305"),
        ({"messages": [{"role": "user", "content": [{"type": "server_thing"}]}]}, "server_thing"),
    ],
    ids=["a tool of Anthropic's", "a block of no chat"],
)
async def test_what_a_chat_cannot_say_is_refused_and_costs_nothing(
    more: dict[str, Any], said: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        client = anthropics(gateway)
        asked = {"messages": HI, "max_tokens": 5, **more}
        with pytest.raises(anthropic.BadRequestError) as refused:
            await client.messages.create(model="chat", **asked)
        assert said in str(refused.value)
        assert gateway.fake("home").calls == []
        assert await gateway.spent() == 0


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        ({"model": "nobody"}, 404, "not_found_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"model": "any"}, 400, "invalid_request_error"),
    ],
    ids=["no model", "no messages", "another task"],
)
async def test_errors_are_in_anthropics_shape(
    change: dict[str, Any], status: int, kind: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        asked = {"model": "chat", "max_tokens": 5, "messages": HI, **change}
        answer = await client.post("/v1/messages", json=asked)
        told = answer.json()
        assert answer.status_code == status
        assert (told["type"], told["error"]["type"]) == ("error", kind)
        assert told["request_id"] == answer.headers["x-request-id"]


async def test_a_wrong_key_is_told_in_anthropics_shape(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        client = anthropics(gateway).with_options(api_key="sg-nobody")
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model="chat", max_tokens=5, messages=HI)


async def test_a_stop_reason_is_told_as_anthropic_does(tmp_path: Path, clock: FakeClock) -> None:
    async with assembled(tmp_path, clock) as gateway:
        client = anthropics(gateway)
        told = []
        for finish, more in [("length", {}), ("stop", {"stop_reason": "END"}), ("stop", {})]:
            gateway.fake("home").tell(whole({"content": "x"}, finish, **more))
            answer = await client.messages.create(model="chat", max_tokens=5, messages=HI)
            told.append((answer.stop_reason, answer.stop_sequence))
        assert told == [("max_tokens", None), ("stop_sequence", "END"), ("end_turn", None)]


async def test_a_call_that_fails_before_its_first_token_goes_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell([BackendError(FailureClass.OVERLOADED, "full")])
        gateway.fake("burst").tell([piece({"content": "b"}, "stop"), DONE])
        client = anthropics(gateway)
        async with client.messages.stream(model="chat", max_tokens=5, messages=HI) as stream:
            assert await stream.get_final_text() == "b"


async def test_what_is_not_in_general_use_is_asked_for_of_whoever_knows_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    """And of nobody else."""
    async with assembled(tmp_path, clock) as gateway:
        client, told = anthropics(gateway), []
        head = {"anthropic-beta": "context-1m-2025-08-07"}
        for tasks in (("messages",), ("chat",)):
            home = gateway.fake("home")
            home.capabilities = Capabilities(tasks=frozenset(tasks))
            home.tell(whole({"content": "x"}))
            await client.messages.create(
                model="chat", max_tokens=5, messages=HI, extra_headers=head
            )
            told.append((home.calls[-1].task, home.calls[-1].betas))
        assert told == [("messages", head["anthropic-beta"]), ("chat", "")]
