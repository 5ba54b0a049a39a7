"""A conversation goes on by ``previous_response_id`` before backends that keep nothing, by OpenAI's
own client."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from adapters.types import Capabilities, Reply
from gateway.clock import FakeClock
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.gateway.dialects.chats import SAID, USED, openais, whole

KEPT = POLICY.replace("backends:", "store: {responses: {keep: 1h}}\nbackends:", 1)
SHORT = KEPT.replace("keep: 1h", "keep: 1h, largest: 10 KiB")


@contextlib.asynccontextmanager
async def chatting(
    folder: Path, clock: FakeClock, text: str = KEPT
) -> AsyncIterator[AssembledGateway]:
    async with assembled(folder, clock, text) as gateway:
        gateway.fake("home").answers = lambda call: whole({"content": "hello"})
        yield gateway


def asked(gateway: AssembledGateway) -> list[Any]:
    """The messages of the last call."""
    messages: list[Any] = json.loads(gateway.fake("home").calls[-1].body)["messages"]
    return messages


async def test_a_conversation_goes_on_with_all_that_was_said(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with chatting(tmp_path, clock) as gateway:
        client, previous = openais(gateway).responses, None
        for number in (1, 2, 3):
            gateway.fake("home").tell(whole({"content": f"said {number}"}))
            answer = await client.create(
                model="chat", input=f"asked {number}", previous_response_id=previous
            )
            assert (answer.previous_response_id, answer.model_extra) == (previous, {"store": True})
            previous = answer.id
        assert [(one["role"], one["content"]) for one in asked(gateway)] == [
            ("user", "asked 1"),
            ("assistant", "said 1"),
            ("user", "asked 2"),
            ("assistant", "said 2"),
            ("user", "asked 3"),
        ]
        again = await client.retrieve(answer.id)
        assert again.to_dict() == answer.to_dict()


async def test_a_stream_is_kept_before_its_end_is_told(tmp_path: Path, clock: FakeClock) -> None:
    async with chatting(tmp_path, clock) as gateway:
        client = openais(gateway).responses
        gateway.fake("home").tell([*SAID])
        stream = await client.create(model="chat", input="hi", stream=True)
        async for event in stream:
            if event.type == "response.completed":
                told = event.response
                assert (await client.retrieve(told.id)).output_text == told.output_text
        await client.create(model="chat", input="more", previous_response_id=told.id)
        assert [one["role"] for one in asked(gateway)] == ["user", "assistant", "user"]


async def test_tools_that_were_called_are_part_of_what_was_said(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with chatting(tmp_path, clock) as gateway:
        client = openais(gateway).responses
        called = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        gateway.fake("home").tell(whole({"content": None, "tool_calls": [called]}, "tool_calls"))
        first = await client.create(model="chat", input="hi")
        gave: Any = {"type": "function_call_output", "call_id": "t1", "output": "42"}
        await client.create(model="chat", input=[gave], previous_response_id=first.id)
        [_, assistant, tool] = asked(gateway)
        assert (assistant["tool_calls"][0]["id"], tool["content"]) == ("t1", "42")


async def test_what_shall_not_be_kept_is_not(tmp_path: Path, clock: FakeClock) -> None:
    async with chatting(tmp_path, clock, SHORT) as gateway:
        client = openais(gateway).responses
        unkept = await client.create(model="chat", input="hi", store=False)
        long = await client.create(model="chat", input="x" * 20_000)
        for answer in (unkept, long):
            assert answer.model_extra == {"store": False}
            with pytest.raises(openai.NotFoundError):
                await client.retrieve(answer.id)
            with pytest.raises(openai.NotFoundError, match=r"store\.responses"):
                await client.create(model="chat", input="hi", previous_response_id=answer.id)


async def test_each_key_has_its_own_and_each_ends(tmp_path: Path, clock: FakeClock) -> None:
    async with chatting(tmp_path, clock) as gateway:
        client, other = openais(gateway).responses, openais(gateway).responses
        answers = [await client.create(model="chat", input="hi") for _ in range(2)]
        with pytest.raises(openai.NotFoundError):
            await other.retrieve(answers[0].id)
        with pytest.raises(openai.NotFoundError):
            await other.delete(answers[0].id)
        await client.delete(answers[0].id)
        with pytest.raises(openai.NotFoundError):
            await client.retrieve(answers[0].id)
        clock.move(3600.0)
        with pytest.raises(openai.NotFoundError):
            await client.retrieve(answers[1].id)


@pytest.mark.parametrize("why", ["another's", "deleted", "never kept", "another's, misshapen"])
async def test_a_backend_that_keeps_them_too_is_asked_for_nothing_that_is_another_keys_or_gone(
    why: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with chatting(tmp_path, clock) as gateway:
        home = gateway.fake("home")
        home.capabilities = Capabilities(tasks=frozenset(("chat", "responses")))
        answer: dict[str, Any] = {"id": "resp_1", "object": "response", "output": []}
        home.answers = lambda call: Reply(body=json.dumps(answer).encode(), usage=USED)
        client, other = openais(gateway).responses, openais(gateway).responses
        first = await client.create(model="chat", input="hi", store=why != "never kept")
        if why == "deleted":
            await client.delete(first.id)
        asking = other if why.startswith("another's") else client
        odd: dict[str, Any] = {"store": 1} if why.endswith("misshapen") else {}
        asked_for = asking.create(
            model="chat", input="hi", previous_response_id=first.id, extra_body=odd
        )
        if why == "never kept":
            await asked_for
            assert json.loads(home.calls[-1].body)["previous_response_id"] == first.id
            return
        with pytest.raises(openai.NotFoundError):
            await asked_for
        assert len(home.calls) == 1


async def test_without_the_setting_nothing_is_kept(tmp_path: Path, clock: FakeClock) -> None:
    async with chatting(tmp_path, clock, POLICY) as gateway:
        client = openais(gateway).responses
        answer = await client.create(model="chat", input="hi")
        with pytest.raises(openai.BadRequestError, match="send the whole input"):
            await client.create(model="chat", input="hi", previous_response_id=answer.id)
        with pytest.raises(openai.NotFoundError):
            await client.retrieve(answer.id)
