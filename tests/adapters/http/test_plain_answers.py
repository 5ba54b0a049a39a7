"""What most servers answer is read in one pass, and says the same as when it is read closely."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import BackendError
from adapters.http.answers import read_closely
from adapters.http.plain_answers import may_be_broken, plain_usage
from adapters.types import Task, TokenParts, Usage

CHOICES = [{"index": 0, "message": {"role": "assistant", "content": "hello there"}}]

counts: st.SearchStrategy[Any] = st.one_of(
    st.integers(0, 50), st.sampled_from([None, -1, 2.0, 2.5, "7", True, 2**53, 2**64, 1e30, []])
)
details = st.one_of(
    st.none(),
    st.just({}),
    st.just([]),
    st.dictionaries(
        st.sampled_from(
            [
                "reasoning_tokens",
                "cached_tokens",
                "audio_tokens",
                "image_tokens",
                "cache_write_tokens",
            ]
        ),
        counts,
        max_size=3,
    ),
)
stated = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), counts),
        **dict.fromkeys(("input_tokens", "output_tokens"), counts),
        **dict.fromkeys(("completion_tokens_details", "output_tokens_details"), details),
        **dict.fromkeys(("prompt_tokens_details", "input_tokens_details"), details),
        **dict.fromkeys(("cache_read_input_tokens", "prompt_cache_hit_tokens", "images"), counts),
    },
)
broken = [{**CHOICES[0], "finish_reason": "error"}]
parts: st.SearchStrategy[Any] = st.sampled_from([None, {}, [], "x", CHOICES, broken])
answers = st.fixed_dictionaries(
    {},
    optional={
        "usage": st.one_of(stated, st.sampled_from([None, [], 3])),
        "choices": parts,
        "data": parts,
        "error": st.sampled_from([None, "", {}, "broken", {"code": 503}]),
        "object": st.sampled_from(["chat.completion", "list", "error", 1, None]),
    },
)


@given(answer=answers, task=st.sampled_from(["chat", "completions", "embeddings"]))
def test_a_plain_answer_says_what_reading_it_closely_says(answer: Any, task: Task) -> None:
    body = msgspec.json.encode(answer)
    closely: Usage | None = None
    with suppress(BackendError):
        _, closely = read_closely(body, task, Usage())
    assert plain_usage(body, task) in (None, closely)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, (3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2)),
        ({"prompt_tokens": 3, "total_tokens": 5}, (3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 9}, (3, 6)),
        (
            {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0},
                "prompt_tokens_details": None,
            },
            (3, 6),
        ),
    ],
    ids=["all", "no-total", "no-output", "larger-total", "reasoned"],
)
def test_usage_in_openais_own_shape_is_plain(usage: Any, expected: tuple[int, int]) -> None:
    body = msgspec.json.encode({"object": "chat.completion", "choices": CHOICES, "usage": usage})
    said = plain_usage(body, "chat")
    assert said is not None
    assert (said.input_tokens, said.output_tokens) == expected


def test_tokens_from_a_cache_are_plain() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    said = plain_usage(msgspec.json.encode({"choices": CHOICES, "usage": usage}), "chat")
    assert said == Usage(input_tokens=9, output_tokens=2, parts=TokenParts(cached=8))


def test_embeddings_are_plain_without_output() -> None:
    body = b'{"object":"list","data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":8}}'
    assert plain_usage(body, "embeddings") == Usage(input_tokens=8)


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": CHOICES},
        {"choices": CHOICES, "usage": {"prompt_tokens": 3}},
        {"choices": CHOICES, "usage": {"prompt_tokens": 3, "completion_tokens": 1}, "error": "x"},
        {"choices": {}, "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
        {"object": "error", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}},
    ],
    ids=["no-usage", "no-output", "error", "no-choices", "flat-error"],
)
def test_what_must_be_read_closely_is_not_plain(answer: Any) -> None:
    assert plain_usage(msgspec.json.encode(answer), "chat") is None


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource"])
def test_a_word_of_an_error_is_found_at_the_end_of_a_long_answer(word: str) -> None:
    text = "The reservoir is full. " * 10_000
    assert may_be_broken(json.dumps([{"text": text, "finish_reason": word}]).encode())
    assert not may_be_broken(json.dumps([{"text": f'{text}"{word}"', "index": 0}]).encode())
