"""The text generation example: OpenAI's shapes, its options, and streams that add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.local import Local, LocalSettings
from adapters.types import Call, Chunk, Reply, Usage
from examples.textgen import (
    Chat,
    Completions,
    Generator,
    Options,
    Shape,
    Text,
    complete,
    pick,
    toy,
)
from gateway.clock import SystemClock
from local_runtime import InvalidInput, Request
from tests.adapters.local_backends import until

APP = str(Path(__file__).parents[2] / "examples" / "textgen.py") + ":app"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "seed": 1, "max_tokens": 12}


@pytest.fixture(scope="module")
def generator() -> Generator:
    return toy("cpu")


async def whole(generator: Generator, body: dict[str, Any], shape: Shape | None = None) -> Any:
    request = Request(json=body, id="r1")
    return await complete({"generator": generator}, request, shape or Chat())


async def stream(generator: Generator, body: dict[str, Any], shape: Shape | None = None) -> Any:
    return [item async for item in await whole(generator, {**body, "stream": True}, shape)]


async def test_a_chat_answer_has_openais_shape(generator: Generator) -> None:
    """Every field that the client reads."""
    got = await whole(generator, {**HELLO, "model": "mine"})
    assert got["id"] == "chatcmpl-r1"
    assert got["object"] == "chat.completion"
    assert got["model"] == "mine"
    assert isinstance(got["created"], int)
    (choice,) = got["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    assert len(choice["message"]["content"]) == 12
    assert choice["finish_reason"] == "length"
    prompt = len("user: hello\nassistant:")
    assert got["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": 12,
        "total_tokens": prompt + 12,
    }


async def test_a_stream_says_what_the_whole_answer_says(generator: Generator) -> None:
    """Role first, then pieces, then the finish reason, then the usage alone."""
    text = (await whole(generator, HELLO))["choices"][0]["message"]["content"]
    items = await stream(generator, HELLO)
    assert {item["object"] for item in items} == {"chat.completion.chunk"}
    assert len({(item["id"], item["created"]) for item in items}) == 1
    *pieces, last, usage = items
    assert pieces[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == text
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 12


async def test_completions_have_their_own_shape(generator: Generator) -> None:
    """``text`` instead of messages, whole and streamed."""
    body = {"prompt": "once", "max_tokens": 5, "seed": 3}
    got = await whole(generator, body, Completions())
    assert got["object"] == "text_completion"
    assert got["usage"]["prompt_tokens"] == 4
    *pieces, usage = await stream(generator, body, Completions())
    assert "".join(item["choices"][0]["text"] for item in pieces) == got["choices"][0]["text"]
    assert usage["usage"] == got["usage"]


async def test_a_seed_gives_the_same_text_again_and_another_seed_another(
    generator: Generator,
) -> None:
    """And temperature 0 needs none."""
    texts = [await text_of(generator, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    greedy = [await text_of(generator, seed=seed, temperature=0) for seed in (1, 2)]
    assert greedy[0] == greedy[1]


async def text_of(generator: Generator, **options: Any) -> str:
    text: str = (await whole(generator, {**HELLO, **options}))["choices"][0]["message"]["content"]
    return text


async def test_a_stop_ends_the_text_before_it_and_no_part_of_it_is_streamed(
    generator: Generator,
) -> None:
    """Not even when it comes in two tokens."""
    text = await text_of(generator)
    body = {**HELLO, "stop": ["nowhere to be found", text[4:6]]}
    got = await whole(generator, body)
    assert got["choices"][0]["message"]["content"] == text[:4]
    assert got["choices"][0]["finish_reason"] == "stop"
    assert got["usage"]["completion_tokens"] == 6
    pieces = (await stream(generator, body))[:-2]
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == text[:4]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 3000}]}, "messages"),
        ({**HELLO, "n": 2}, "n"),
        ({**HELLO, "max_tokens": -1}, "max_tokens"),
        ({**HELLO, "temperature": "hot"}, None),
    ],
)
async def test_what_it_cannot_do_is_refused_by_name(
    generator: Generator, body: dict[str, Any], param: str | None
) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidInput) as refusal:
        await whole(generator, body)
    assert refusal.value.param == param


class Letters:
    """A tokenizer whose tokens are bytes."""

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return bytes(ids).decode(errors="replace")


def test_half_a_character_is_held_back_until_the_other_half_comes() -> None:
    """A reader never sees a broken one."""
    text = Text(Letters(), [])
    assert [text.add(byte) for byte in "aé🙂".encode()] == ["a", "", "é", "", "", "", "🙂"]
    assert text.rest() == ""


def test_the_beginning_of_a_stop_is_said_once_it_turns_out_to_be_none() -> None:
    """Held back for as long as it could still become one."""
    text = Text(Letters(), ["END"])
    assert [text.add(byte) for byte in b"xENO"] == ["x", "", "", "ENO"]
    assert [text.add(byte) for byte in b"EN"] == ["", ""]
    assert text.rest() == "EN"


def test_top_p_leaves_only_the_likeliest() -> None:
    """Whatever the seed."""
    logits = torch.tensor([0.0, 5.0, 1.0])
    options = Options(top_p=0.5)
    picked = {pick(logits, options, torch.Generator().manual_seed(seed)) for seed in range(30)}
    assert picked == {1}


async def test_streams_at_once_run_side_by_side_in_a_real_worker() -> None:
    """A short one that starts later ends before a long one."""
    backend = Local("text", LocalSettings(app=APP, device="cpu", threads=1), SystemClock())
    await backend.start()
    try:
        await until(lambda: backend.slots > 0, within_s=50)
        slow = await backend.invoke(call({**HELLO, "max_tokens": 200, "stream": True}))
        assert slow.chunks is not None
        await anext(slow.chunks)
        quick = await backend.invoke(call({**HELLO, "max_tokens": 2, "stream": True}))
        ends = [await last_two(reply) for reply in (quick, slow)]
        assert [[chunk.kind for chunk in end] for end in ends] == [["usage", "done"]] * 2
        short, long = (end[-1].usage or Usage() for end in ends)
        assert (short.output_tokens, long.output_tokens) == (2, 200)
        assert (short.queue_s or 0) + (short.exec_s or 0) < (long.exec_s or 0)
    finally:
        await backend.aclose()


async def last_two(reply: Reply) -> list[Chunk]:
    assert reply.chunks is not None
    return [chunk async for chunk in reply.chunks][-2:]


def call(body: dict[str, Any]) -> Call:
    return Call(id="c", model="m", task="chat", body=json.dumps(body).encode(), stream=True)
