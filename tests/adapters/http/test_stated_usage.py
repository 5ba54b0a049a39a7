"""What servers say that they used, in the words of each, read to the token."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.http.answers import with_usage_told
from adapters.http.stated_usage import told, usage_in
from adapters.types import TokenParts, Usage

SHAPES: dict[str, tuple[dict[str, Any], Usage]] = {
    "openai chat, 800 of 1,200 cached": (
        {
            "prompt_tokens": 1200,
            "completion_tokens": 300,
            "total_tokens": 1500,
            "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        Usage(input_tokens=1200, output_tokens=300, parts=TokenParts(cached=800, reasoning=100)),
    ),
    "openai responses": (
        {
            "input_tokens": 1200,
            "input_tokens_details": {"cached_tokens": 800},
            "output_tokens": 300,
            "output_tokens_details": {"reasoning_tokens": 100},
            "total_tokens": 1500,
        },
        Usage(input_tokens=1200, output_tokens=300, parts=TokenParts(cached=800, reasoning=100)),
    ),
    "openai embeddings": (
        {"prompt_tokens": 8, "total_tokens": 8},
        Usage(input_tokens=8, output_tokens=0),
    ),
    "openai images": (
        {
            "input_tokens": 60,
            "input_tokens_details": {"image_tokens": 40, "text_tokens": 20},
            "output_tokens": 4160,
            "output_tokens_details": {"image_tokens": 4160, "text_tokens": 0},
            "total_tokens": 4220,
        },
        Usage(
            input_tokens=60,
            output_tokens=4160,
            parts=TokenParts(image_input=40, image_output=4160),
        ),
    ),
    "openai transcription by tokens": (
        {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
            "output_tokens": 45,
            "total_tokens": 59,
        },
        Usage(input_tokens=14, output_tokens=45, parts=TokenParts(audio_input=14)),
    ),
    "openai realtime, sound among the cached": (
        {
            "input_tokens": 100,
            "output_tokens": 40,
            "total_tokens": 140,
            "input_token_details": {
                "text_tokens": 20,
                "audio_tokens": 80,
                "cached_tokens": 60,
                "cached_tokens_details": {"text_tokens": 10, "audio_tokens": 50},
            },
            "output_token_details": {"text_tokens": 10, "audio_tokens": 30},
        },
        Usage(
            input_tokens=100,
            output_tokens=40,
            parts=TokenParts(cached=60, cached_audio=50, audio_input=30, audio_output=30),
        ),
    ),
    "openai transcription by time": (
        {"type": "duration", "seconds": 9.5},
        Usage(audio_s=9.5),
    ),
    "anthropic: the cache stands beside": (
        {
            "input_tokens": 50,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 300,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 200,
                "ephemeral_1h_input_tokens": 100,
            },
            "output_tokens": 20,
        },
        Usage(
            input_tokens=1350,
            output_tokens=20,
            parts=TokenParts(cached=1000, cache_write=200, cache_write_1h=100),
        ),
    ),
    "anthropic, older: how long a cache keeps is not said": (
        {"input_tokens": 50, "cache_creation_input_tokens": 300, "output_tokens": 20},
        Usage(input_tokens=350, output_tokens=20, parts=TokenParts(cache_write=300)),
    ),
    "anthropic's words around openai's counts: the cache is inside": (
        {
            "prompt_tokens": 1350,
            "completion_tokens": 20,
            "total_tokens": 1370,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 300,
        },
        Usage(input_tokens=1350, output_tokens=20, parts=TokenParts(cached=1000, cache_write=300)),
    ),
    "a total that says so: the cache is inside": (
        {
            "input_tokens": 90,
            "output_tokens": 10,
            "total_tokens": 100,
            "cache_read_input_tokens": 8,
        },
        Usage(input_tokens=90, output_tokens=10, parts=TokenParts(cached=8)),
    ),
    "gemini: thoughts beside the candidates": (
        {
            "promptTokenCount": 100,
            "cachedContentTokenCount": 60,
            "candidatesTokenCount": 10,
            "thoughtsTokenCount": 40,
            "toolUsePromptTokenCount": 5,
            "totalTokenCount": 155,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 70},
                {"modality": "AUDIO", "tokenCount": 30},
            ],
        },
        Usage(
            input_tokens=105,
            output_tokens=50,
            parts=TokenParts(cached=60, audio_input=30, reasoning=40),
        ),
    ),
    "vllm": (
        {
            "prompt_tokens": 12,
            "total_tokens": 20,
            "completion_tokens": 8,
            "prompt_tokens_details": None,
        },
        Usage(input_tokens=12, output_tokens=8),
    ),
    "deepseek": (
        {
            "prompt_tokens": 12,
            "completion_tokens": 8,
            "total_tokens": 20,
            "prompt_cache_hit_tokens": 10,
            "prompt_cache_miss_tokens": 2,
        },
        Usage(input_tokens=12, output_tokens=8, parts=TokenParts(cached=10)),
    ),
    "cohere: what is billed, not what was counted": (
        {
            "billed_units": {"input_tokens": 5.0, "output_tokens": 8.0},
            "tokens": {"input_tokens": 71, "output_tokens": 8},
        },
        Usage(input_tokens=5, output_tokens=8),
    ),
    "mistral": (
        {
            "prompt_tokens": 4,
            "completion_tokens": 6,
            "total_tokens": 10,
            "prompt_audio_seconds": "203",
        },
        Usage(input_tokens=4, output_tokens=6, audio_s=203.0),
    ),
    "bedrock": (
        {
            "inputTokens": 50,
            "outputTokens": 20,
            "totalTokens": 370,
            "cacheReadInputTokens": 300,
        },
        Usage(input_tokens=350, output_tokens=20, parts=TokenParts(cached=300)),
    ),
    "xai: reasoning beside the answer, as the total says": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 45,
            "completion_tokens_details": {"reasoning_tokens": 30},
        },
        Usage(input_tokens=10, output_tokens=35, parts=TokenParts(reasoning=30)),
    ),
    "numbers as text and with a point": (
        {
            "prompt_tokens": "12",
            "completion_tokens": 8.0,
            "prompt_tokens_details": {"cached_tokens": "4.0"},
        },
        Usage(input_tokens=12, output_tokens=8, parts=TokenParts(cached=4)),
    ),
    "nothing, in several ways": (
        {
            "prompt_tokens": None,
            "completion_tokens": [],
            "total_tokens": {},
            "prompt_tokens_details": [],
            "completion_tokens_details": [None, {"modality": 3}],
            "cache_creation": [],
            "images": -1,
            "audio_seconds": "nan",
        },
        Usage(),
    ),
}


@pytest.mark.parametrize(("stated", "expected"), SHAPES.values(), ids=SHAPES)
def test_usage_is_read_in_the_words_of_each(stated: dict[str, Any], expected: Usage) -> None:
    assert usage_in(stated) == expected


@pytest.mark.parametrize("stated", [None, [], "12", 12, True], ids=str)
def test_what_is_no_usage_says_nothing(stated: Any) -> None:
    assert not told(usage_in(stated))


_NAMES = sorted({name for stated, _ in SHAPES.values() for name in stated})
_INNER = ("cached_tokens", "audio_tokens", "reasoning_tokens", "ephemeral_1h_input_tokens")
_ODD: tuple[Any, ...] = (None, True, -1, 0, 7, 2**60, 2.0, 2.5, float("nan"), "8", "9.0", "x", "٣")
_LEAVES = st.sampled_from(_ODD)
_VALUES = _LEAVES | st.dictionaries(st.sampled_from(_INNER), _LEAVES, max_size=3)
_LISTS = st.lists(st.sampled_from((None, 3, {"modality": "AUDIO", "tokenCount": "4"})), max_size=2)


@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES | _LISTS, max_size=6))
def test_whatever_stands_there_is_read_as_counts_or_as_nothing(stated: dict[str, Any]) -> None:
    usage = usage_in(stated)
    parts = usage.parts or TokenParts()
    counts = [getattr(parts, name) for name in parts.__struct_fields__]
    counts += [usage.input_tokens or 0, usage.output_tokens or 0, usage.total_tokens or 0]
    assert all(type(count) is int and count >= 0 for count in counts)


@pytest.mark.parametrize(
    ("answer", "images"),
    [
        (b'{"data": [{"url": "a"}, {"url": "b"}]}', 2),
        (b'{"data": [{"revised_prompt": "x", "b64_json": "AA=="}]}', 1),
        (b'{"data": [{"url": "a"}], "usage": {"images": 3}}', 3),
        (b'{"data": [{"embedding": [1]}]}', None),
        (b'{"data": [1, 2]}', None),
        (b'{"data": "url"}', None),
        (b"[1]", None),
    ],
    ids=str,
)
def test_the_images_of_an_answer_are_counted(answer: bytes, images: int | None) -> None:
    assert with_usage_told(answer, Usage()).images == images


def test_a_handler_may_say_it_in_geminis_words() -> None:
    answer = b'{"candidates": [], "usageMetadata": {"promptTokenCount": 7}}'
    assert with_usage_told(answer, Usage(exec_s=1.0)) == Usage(input_tokens=7, exec_s=1.0)
