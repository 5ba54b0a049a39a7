"""The text generation example: OpenAI's shapes, its options, and streams that add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.local.backend import Local
from adapters.local.settings import LocalSettings
from adapters.types import Call, Chunk, Reply, Usage
from examples.textgen import (
    CHATS,
    OPENING,
    TEXTS,
    Answer,
    Generator,
    Writer,
    toy,
)
from gateway.clock import SystemClock
from local_runtime import InvalidInput, Request, Step
from tests.waiting import until

APP = str(Path(__file__).parents[2] / "examples" / "textgen.py") + ":app"
HELLO = {"messages": [{"role": "user", "content": "hello"}], "seed": 1, "max_tokens": 12}


@pytest.fixture(scope="module")
def generator() -> Generator:
    """One that says at once what its weights make of the prompt."""
    made = toy(torch.device("cpu"))
    made.opening = ()
    return made


def steps(generator: Generator, body: dict[str, Any], route: str) -> list[Step]:
    """The whole life of one call, alone."""
    writer = Writer({"generator": generator})
    answer = writer.admit(Request(json=body, id="r1", route=route))
    found: list[Step] = []
    while not found or not found[-1].done:
        (step,) = writer.step([answer])
        assert isinstance(step, Step)
        found.append(step)
    writer.evict(answer)
    return found


def whole(generator: Generator, body: dict[str, Any], route: str = CHATS) -> Any:
    return steps(generator, body, route)[-1].result


def stream(generator: Generator, body: dict[str, Any], route: str = CHATS) -> list[Any]:
    found = steps(generator, {**body, "stream": True}, route)
    assert found[-1].result is None
    return [item for step in found for item in step.items]


def test_a_chat_answer_has_openais_shape(generator: Generator) -> None:
    """Every field that the client reads."""
    got = whole(generator, {**HELLO, "model": "mine"})
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


def test_a_stream_says_what_the_whole_answer_says(generator: Generator) -> None:
    """Role first, then pieces, then the finish reason, then the usage alone."""
    text = (whole(generator, HELLO))["choices"][0]["message"]["content"]
    items = stream(generator, HELLO)
    assert {item["object"] for item in items} == {"chat.completion.chunk"}
    assert len({(item["id"], item["created"]) for item in items}) == 1
    *pieces, last, usage = items
    assert pieces[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in pieces) == text
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 12


def test_completions_have_their_own_shape(generator: Generator) -> None:
    """``text`` instead of messages, whole and streamed."""
    body = {"prompt": "once", "max_tokens": 5, "seed": 3}
    got = whole(generator, body, TEXTS)
    assert got["object"] == "text_completion"
    assert got["usage"]["prompt_tokens"] == 4
    *pieces, usage = stream(generator, body, TEXTS)
    assert "".join(item["choices"][0]["text"] for item in pieces) == got["choices"][0]["text"]
    assert usage["usage"] == got["usage"]


def test_the_toy_says_what_it_is_before_anything_else() -> None:
    """Whatever is asked of it, and nothing but that where no length is."""
    made = toy(torch.device("cpu"))
    asked = {"messages": HELLO["messages"], "temperature": 0}
    for body in (asked, {**asked, "temperature": 1.5, "seed": 3}):
        assert whole(made, body)["choices"][0]["message"]["content"] == OPENING
    longer = whole(made, {**asked, "max_tokens": 70})["choices"][0]["message"]["content"]
    assert (longer[:64], len(longer)) == (OPENING, 70)


def test_a_seed_gives_the_same_text_again_and_another_seed_another(
    generator: Generator,
) -> None:
    """And temperature 0 needs none."""
    texts = [text_of(generator, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    greedy = [text_of(generator, seed=seed, temperature=0) for seed in (1, 2)]
    assert greedy[0] == greedy[1]


def text_of(generator: Generator, **options: Any) -> str:
    text: str = (whole(generator, {**HELLO, **options}))["choices"][0]["message"]["content"]
    return text


def test_a_stop_ends_the_text_before_it_and_no_part_of_it_is_streamed(
    generator: Generator,
) -> None:
    """Not even when it comes in two tokens."""
    text = text_of(generator)
    body = {**HELLO, "stop": ["nowhere to be found", text[4:6]]}
    got = whole(generator, body)
    assert got["choices"][0]["message"]["content"] == text[:4]
    assert got["choices"][0]["finish_reason"] == "stop"
    assert got["usage"]["completion_tokens"] == 6
    pieces = (stream(generator, body))[:-2]
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
        ({**HELLO, "max_tokens": 0}, "max_tokens"),
        ({**HELLO, "max_completion_tokens": 0, "max_tokens": 5}, "max_tokens"),
        ({**HELLO, "temperature": "hot"}, None),
        ({**HELLO, "temperature": -1}, None),
        ({**HELLO, "top_p": 1.5}, None),
        ({**HELLO, "stop": ["a", ""]}, "stop"),
        ({**HELLO, "logprobs": True}, "logprobs"),
        ({**HELLO, "presence_penalty": 0.5}, "presence_penalty"),
        ({**HELLO, "logit_bias": {"5": 100}}, "logit_bias"),
        ({**HELLO, "tools": [{"type": "function"}]}, "tools"),
        ({**HELLO, "response_format": {"type": "json_object"}}, "response_format"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(
    generator: Generator, body: dict[str, Any], param: str | None
) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidInput) as refusal:
        whole(generator, body)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x" * 3000}, "prompt"),
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "best_of": 2}, "best_of"),
        ({"prompt": "x", "logprobs": 3}, "logprobs"),
    ],
)
def test_what_completions_cannot_do_is_refused_by_name_too(
    generator: Generator, body: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        whole(generator, body, TEXTS)
    assert refusal.value.param == param


def test_what_changes_no_answer_may_be_said(generator: Generator) -> None:
    """As clients do that fill in every field."""
    neutral = {
        "n": 1,
        "logprobs": False,
        "presence_penalty": 0,
        "tools": [],
        "response_format": {"type": "text"},
        "logit_bias": None,
        "user": "somebody",
    }
    body = {**HELLO, "seed": 3}
    same = (whole(generator, each)["choices"] for each in (body, {**body, **neutral}))
    assert next(same) == next(same)


BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHATS, {**HELLO, "temperature": 0}),
    (TEXTS, {"prompt": "once upon a time there was", "max_tokens": 9, "seed": 4}),
    (CHATS, {**HELLO, "seed": 5, "max_tokens": 3, "top_p": 0.9}),
    (TEXTS, {"prompt": "x", "max_tokens": 14, "seed": 6, "stream": True}),
    (CHATS, {"messages": [{"role": "user", "content": "why? " * 20}], "seed": 7}),
]


def in_company(generator: Generator, joins: list[int]) -> list[list[Step]]:
    """The same calls, of which each joins after so many steps."""
    writer = Writer({"generator": generator})
    answers: dict[int, Answer] = {}
    found: list[list[Step]] = [[] for _ in BODIES]
    step = 0
    while any(not steps or not steps[-1].done for steps in found):
        for at, ((route, body), join) in enumerate(zip(BODIES, joins, strict=True)):
            if join == step:
                answers[at] = writer.admit(Request(json=body, id="r1", route=route))
        there = list(answers)
        for at, one in zip(there, writer.step([answers[at] for at in there]), strict=True):
            assert isinstance(one, Step)
            found[at].append(one)
            if one.done:
                writer.evict(answers.pop(at))
        step += 1
    return found


@pytest.fixture(scope="module")
def own(generator: Generator) -> list[list[Any]]:
    """What each of the calls says alone."""
    return [[said(step) for step in steps(generator, body, route)] for route, body in BODIES]


@settings(deadline=None, max_examples=4)
@given(joins=st.permutations([0, 1, 2, 5, 8]))
def test_an_answer_is_the_same_alone_and_in_company(
    generator: Generator, own: list[list[Any]], joins: list[int]
) -> None:
    """Token for token, whoever joins and leaves meanwhile, drawn by seed or the likeliest."""
    together = in_company(generator, joins)
    assert [[said(step) for step in found] for found in together] == own


def said(step: Step) -> Any:
    """All that a step says but the second in which it was said."""
    result = {**(step.result or {}), "created": 0}
    return [{**item, "created": 0} for item in step.items], result, step.completion_tokens


def test_an_answer_that_fails_has_no_part_in_the_others_answers(generator: Generator) -> None:
    """Its limit is none; theirs are."""
    writer = Writer({"generator": generator})
    answers = [writer.admit(Request(json=HELLO, id="r1", route=CHATS)) for _ in range(3)]
    answers[1].generation.limit = None  # type: ignore[assignment]
    outcomes = writer.step(answers)
    assert [isinstance(outcome, Step) for outcome in outcomes] == [True, False, True]


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
