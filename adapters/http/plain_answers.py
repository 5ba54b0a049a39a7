"""The answer that nearly every server of OpenAI's protocol gives, read in one pass and typed.

What differs in anything (an error beside it, a count that is no number, other names, no usage) is
none of these, and ``answers`` reads it closely: both say the same of what both read. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from adapters.http.stated_usage import usage_from
from adapters.http.token_counts import LARGEST
from adapters.shapes.json_texts import UNREADABLE
from adapters.shapes.task_answers import Vector, hold_numbers
from adapters.types import Task, Usage

_Count = Annotated[int, msgspec.Meta(ge=0, lt=LARGEST)]
_SHORTEST = 8
BROKEN = frozenset(("error", "abort", "insufficient_system_resource"))
"""Reasons for which an answer ends in vLLM, SGLang, Mistral, OpenRouter and, the last, DeepSeek,
when it is none (https://api-docs.deepseek.com/api/create-chat-completion,
https://openrouter.ai/docs/api-reference/errors)."""


class _Made(msgspec.Struct, gc=False):
    reasoning_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    image_tokens: _Count | None = None


class _Read(msgspec.Struct, gc=False):
    """Of a cache that is written to ``stated_usage`` knows more."""

    cached_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    image_tokens: _Count | None = None
    cache_read_tokens: None = None
    cache_creation_tokens: None = None
    cache_write_tokens: None = None


class _Stated(msgspec.Struct, gc=False):
    """A field that must be null is one that would decide, if it were there."""

    prompt_tokens: _Count
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    prompt_tokens_details: _Read | None = None
    completion_tokens_details: _Made | None = None
    output_tokens: None = None
    input_tokens_details: None = None
    input_token_details: None = None
    output_tokens_details: None = None
    output_token_details: None = None
    cache_read_input_tokens: None = None
    cache_creation_input_tokens: None = None
    cache_creation: None = None
    prompt_cache_hit_tokens: None = None
    cached_tokens: None = None
    reasoning_tokens: None = None
    tokens: None = None
    billed_units: None = None
    images: None = None
    image_count: None = None
    num_images: None = None
    prompt_audio_seconds: None = None
    audio_seconds: None = None
    input_audio_seconds: None = None
    audio_duration: None = None
    seconds: None = None


_Ended = Literal["stop", "length", "tool_calls", "function_call", "content_filter"]


class _Message(msgspec.Struct, gc=False):
    """What it says is passed over."""

    role: str


class _Said(msgspec.Struct, gc=False):
    """One choice of a chat."""

    message: _Message
    error: None = None
    finish_reason: _Ended | None = None


class _Written(msgspec.Struct, gc=False):
    """One choice of a completion."""

    text: str
    error: None = None
    finish_reason: _Ended | None = None


class _Plain(msgspec.Struct, gc=False):
    usage: _Stated
    error: None = None
    object: Literal["chat.completion", "text_completion", "list"] | None = None


_SOME = msgspec.Meta(min_length=1)


class _Chat(_Plain, kw_only=True, gc=False):
    choices: Annotated[list[_Said], _SOME]


class _Completion(_Plain, kw_only=True, gc=False):
    choices: Annotated[list[_Written], _SOME]


class _Embeddings(_Plain, kw_only=True, gc=False):
    data: Annotated[list[Vector], _SOME]


_DECODE: dict[Task, Callable[[bytes], _Plain]] = {
    "chat": msgspec.json.Decoder(_Chat).decode,
    "completions": msgspec.json.Decoder(_Completion).decode,
    "embeddings": msgspec.json.Decoder(_Embeddings).decode,
}


def plain_usage(body: bytes, task: Task) -> Usage | None:
    """The tokens that the answer says it used; None where it is no plain one."""
    try:
        plain = _DECODE[task](body)
        body.isascii() or body.decode()  # what is passed over is not decoded
        if isinstance(plain, _Embeddings) and not hold_numbers(body, plain.data):
            return None
    except (*UNREADABLE, KeyError):
        return None
    stated = plain.usage
    counts = _parts(stated.prompt_tokens_details, stated.completion_tokens_details)
    said = usage_from(stated.prompt_tokens, stated.completion_tokens, stated.total_tokens, counts)
    made = said.output_tokens
    if not made:
        return said if task == "embeddings" else None
    return said if made <= len(body) else None


_NONE: dict[str, int] = {}


def _parts(read: _Read | None, written: _Made | None) -> dict[str, int]:
    """Part -> its tokens, where there are any."""
    counts = _NONE
    if read is not None and (read.cached_tokens or read.audio_tokens or read.image_tokens):
        counts = {
            "cached": read.cached_tokens or 0,
            "audio_input": read.audio_tokens or 0,
            "image_input": read.image_tokens or 0,
        }
    if written is not None and (
        written.reasoning_tokens or written.audio_tokens or written.image_tokens
    ):
        counts = counts | {
            "reasoning": written.reasoning_tokens or 0,
            "audio_output": written.audio_tokens or 0,
            "image_output": written.image_tokens or 0,
        }
    return counts


def may_be_broken(choices: bytes) -> bool:
    """Whether choices may hold an error, or nothing."""
    find = choices.find  # "in" makes an error first: it asks whether what is sought is a number
    return (
        len(choices) <= _SHORTEST
        or find(b'"error"') >= 0
        or find(b'"abort"') >= 0
        or find(b'"insufficient_system_resource"') >= 0
    )
