"""What is charged where a backend does not say what was used: the texts, not the JSON around."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.types import Task, Usage
from gateway.money.estimates import (
    cost_basis,
    most_tokens,
    output_asked,
    prompt_tokens,
    with_media,
    with_tokens,
)
from gateway.policy.sections.price import Price

TOKENS = Price(per_million_input=1000, per_million_output=1000)
SECONDS = Price(per_second=1000)
PARTS = [{"type": "text", "text": "x" * 8}, {"type": "image_url", "image_url": {"url": "y" * 99}}]
CALLED = {"content": None, "tool_calls": [{"function": {"arguments": "xxxx"}}]}
ASKED = {"model": "m" * 400, "messages": [{"role": "user", "content": "x" * 40}], "stream": True}


def body(value: Any) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize(
    ("asked", "task", "tokens"),
    [
        (ASKED, "chat", 10),
        (
            {"messages": [{"content": [{"type": "text", "text": "x" * 8}, {"type": "i"}]}]},
            "chat",
            2,
        ),
        (
            {"messages": [{"content": None, "tool_calls": [{"f": {"arguments": "xxxx"}}]}]},
            "chat",
            1,
        ),
        ({"messages": [], "tools": ["xxxxxx"]}, "chat", 3),
        ({"prompt": "x" * 9, "suffix": "xx"}, "completions", 3),
        ({"prompt": ["xxxx", "xxxx"]}, "completions", 2),
        ({"prompt": [17, 18, 19]}, "completions", 3),
        ({"input": "ü" * 4}, "embeddings", 2),
        ({"input": [[1, 2], [3]]}, "embeddings", 3),
        ({"messages": "odd"}, "chat", 0),
        ([1, 2], "chat", 2),
        ({"a": "xxxxxx"}, "infer", 4),
    ],
)
def test_the_prompt_is_the_text_that_was_asked(asked: Any, task: Task, tokens: int) -> None:
    assert prompt_tokens(body(asked), task) == tokens


@pytest.mark.parametrize("asked", [b"\xff" * 8, b"[" * 8, b"x" * 8])
def test_a_prompt_that_cannot_be_read_is_all_of_its_bytes(asked: bytes) -> None:
    assert prompt_tokens(asked, "chat") == 2


@pytest.mark.parametrize(
    ("said", "passed_on", "expected"),
    [
        (Usage(input_tokens=1, output_tokens=2), 9, (1, 2)),
        (Usage(), 9, (10, 9)),
        (Usage(text_tokens=7), 0, (10, 7)),
        (Usage(input_tokens=3), 9, (3, 9)),
        (Usage(output_tokens=4), 9, (10, 4)),
        (Usage(total_tokens=1000), 0, (10, 990)),
        (Usage(total_tokens=4), 0, (4, 0)),
    ],
)
def test_what_nobody_said_is_estimated_and_what_was_said_stays(
    said: Usage, passed_on: int, expected: tuple[int, int]
) -> None:
    found = with_tokens(said, body(ASKED), "chat", passed_on)
    assert (found.input_tokens, found.output_tokens) == expected


def test_embeddings_are_all_input() -> None:
    asked = body({"input": "x" * 40})
    found = with_tokens(Usage(total_tokens=12), asked, "embeddings", 0)
    assert (found.input_tokens, found.output_tokens) == (12, 0)
    found = with_tokens(Usage(), asked, "embeddings", 0)
    assert (found.input_tokens, found.output_tokens) == (10, 0)


def test_an_estimate_is_marked_as_one() -> None:
    told = with_tokens(Usage(input_tokens=1, output_tokens=2), body(ASKED), "chat", 0)
    guessed = with_tokens(Usage(input_tokens=1), body(ASKED), "chat", 0)
    assert cost_basis(TOKENS, told, 5) == "reported"
    assert cost_basis(TOKENS, guessed, 5) == "estimated"
    assert cost_basis(TOKENS, guessed, 0) == "none"
    assert cost_basis(TOKENS, Usage(cost_nano=5), 5) == "reported"
    assert cost_basis(SECONDS, Usage(exec_s=1.0), 5) == "estimated"
    assert cost_basis(SECONDS, Usage(exec_s=1.0, reported=True), 5) == "reported"


@pytest.mark.parametrize("task", ["chat", "messages", "responses", "completions"])
def test_what_writes_text_is_charged_no_picture_where_tokens_are_sold(task: Task) -> None:
    both = Price(per_million_output=1000, per_image=1000, per_audio_second=1000)
    told = Usage(images=2)
    assert with_media(both, Usage(), 9000, task) == Usage()
    assert with_media(both, told, 9000, task) is told
    pictures = Price(per_image=1000, per_audio_second=1000)
    assert with_media(pictures, Usage(), 8000, task) == Usage(images=1, audio_s=2.0, estimated=True)


def test_a_picture_is_charged_where_tokens_are_sold_too() -> None:
    both = Price(per_million_output=1000, per_image=1000)
    assert with_media(both, Usage(), 9000, "images") == Usage(images=1, estimated=True)


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 9),
        ({"max_output_tokens": 7}, 7),
        ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": 5, "best_of": 2, "prompt": ["a", "b", "c"]}, 30),
        ({"max_tokens": -1}, None),
        ({"max_tokens": "5"}, None),
        ({"n": 3}, None),
        ([], None),
    ],
    ids=str,
)
def test_the_most_that_a_body_lets_its_answers_have(asked: Any, tokens: int | None) -> None:
    assert output_asked(body(asked)) == tokens


HELLO = body({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5})


def test_what_a_call_can_have_had_is_bounded_by_what_was_asked_and_what_came() -> None:
    size = 4 * len(HELLO)
    assert most_tokens(HELLO, "chat", 0, None, 0).given == 131_072 + size
    assert most_tokens(HELLO, "chat", 0, 8192, 0).given == 16_384 + size
    assert most_tokens(HELLO, "chat", 5000, 8192, 0).given == 16_384 + 20_000
    assert most_tokens(HELLO, "chat", 0, None, 0).made == 5 + 1 + 1024
    unbounded = body({"messages": []})
    assert most_tokens(unbounded, "chat", 0, None, 0).made == 1_048_576
    assert most_tokens(unbounded, "chat", 0, None, 10).made == 131_072 + 40
    assert most_tokens(unbounded, "chat", 0, None, 10).likely_made == 10


def test_more_may_be_read_where_a_body_names_what_is_elsewhere() -> None:
    asked = body({"messages": [], "tools": [{"type": "web_search"}]})
    assert most_tokens(asked, "responses", 0, None, 0).given > 16 * 131_072
