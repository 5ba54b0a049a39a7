"""The answer that nearly every server of OpenAI's protocol gives, read in one pass and typed.

What differs in anything (an error beside it, a count that is no number, other names, no usage) is
none of these, and ``answers`` reads it closely: both say the same of what both read. Pure.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.http.failures import UNREADABLE
from adapters.http.finish_reasons import is_empty, mentions_broken
from adapters.http.token_counts import LARGEST, usage_from
from adapters.types import Task, Usage

_Count = Annotated[int, msgspec.Meta(ge=0, lt=LARGEST)]
_ABSENT = msgspec.Raw(b"null")
_LIST = ord("[")


class _Details(msgspec.Struct, gc=False):
    reasoning_tokens: _Count | None = None


class _Stated(msgspec.Struct, gc=False):
    """A field that must be null is one that would decide, if it were there."""

    prompt_tokens: _Count
    completion_tokens: _Count | None = None
    total_tokens: _Count | None = None
    completion_tokens_details: _Details | None = None
    output_tokens: None = None
    output_tokens_details: None = None


class _Plain(msgspec.Struct, gc=False):
    usage: _Stated
    choices: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    error: None = None
    object: str = ""


_decode = msgspec.json.Decoder(_Plain).decode


def plain_usage(body: bytes, task: Task) -> Usage | None:
    """The tokens that the answer says it used; None where it is no plain one."""
    try:
        plain = _decode(body)
    except UNREADABLE:
        return None
    part = plain.data if task == "embeddings" else plain.choices
    if memoryview(part)[0] != _LIST or plain.object == "error":
        return None
    if task != "embeddings" and _may_be_none(bytes(part)):
        return None
    stated = plain.usage
    details = stated.completion_tokens_details
    reasoned = 0 if details is None else details.reasoning_tokens or 0
    said = usage_from(stated.prompt_tokens, stated.completion_tokens, stated.total_tokens, reasoned)
    return None if said.output_tokens is None and task != "embeddings" else said


def _may_be_none(choices: bytes) -> bool:
    return is_empty(choices) or mentions_broken(choices)
