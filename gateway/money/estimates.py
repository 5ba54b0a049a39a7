"""What a call probably used, where its backend does not say: from the texts of what was asked and
answered, never from the JSON around them. An estimate is marked as one. Pure.

No text is counted as fewer tokens than a quarter of its bytes: that is about what English and code
are, and most other languages are more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from adapters.shapes.json_texts import value_in
from adapters.types import FORMS, WRITES_NOTHING, Task, Usage
from gateway.money.pricing import MostTokens
from gateway.money.token_split import at_least_its_parts, contradicts
from gateway.policy.sections.price import Price

_BYTES_PER_TOKEN = 4
_BYTES_PER_AUDIO_SECOND = 4000
"""Of speech as it is usually packed, 32 kbit/s."""
_LEAST_AUDIO_S = 1.0
_OF_RANKS = ("query", "documents", "text_1", "text_2", "queries")
_OF_ITEMS = ("content", "arguments", "output")
"""Where the items of a response's input have their text."""
_ELSEWHERE = re.compile(
    rb'"(tools|web_search_options|image|image_url|input_image|video|video_url|input_video|audio_url'
    rb'|file|input_file|file_id|document|url|previous_response_id|conversation)"'
)
_READ_ELSEWHERE = 16
"""Rounds of an engine's own tools, of each of which the findings are read."""
_OWN_PROMPT = 131_072
_HIDDEN = 131_072
_LONGEST = 1_048_576
SOME_TOKENS = 1024
"""Tokens: of a server's own prompt where nobody says what its context is, of thoughts that are not
shown, of any answer, and of what a server may make beyond a bound, that it keeps to in blocks."""
_SILENT: frozenset[Task] = frozenset(
    ("rerank", "moderations", "score", "tokenize", "count_tokens", "embeddings")
)
_NO_SOUND = _SILENT | {"images", "image_edits", "realtime"}
_NO_IMAGES = _SILENT | {"transcriptions", "translations", "speech", "realtime"}
_WRITES_TEXT: frozenset[Task] = frozenset(("chat", "messages", "responses", "completions"))
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def by_tokens(price: Price | None) -> bool:
    """Whether tokens cost anything."""
    return price is not None and bool(price.per_million_input or price.per_million_output)


def by_media(price: Price | None) -> bool:
    """Whether images or sound cost anything."""
    return price is not None and bool(price.per_image or price.per_audio_second)


def sold_by_tokens(price: Price, task: Task) -> bool:
    """Whether no image and no second of sound is foreseen of a call: it writes text, and tokens
    have a rate. What else the backend sells is then of other tasks."""
    return task in _WRITES_TEXT and by_tokens(price)


def with_media(
    price: Price | None, said: Usage, body_bytes: int, task: Task = "infer", made: int = 1
) -> Usage:
    """The usage with images and sound where they are paid for and nobody said how much: ``made``
    images, and of sound what a body of this size may hold. ``estimated`` says so. Of a task that
    makes neither, or that is sold by tokens, there is none."""
    if price is None or sold_by_tokens(price, task):
        return said
    images, audio_s = said.images, said.audio_s
    if images is None and price.per_image and task not in _NO_IMAGES:
        images = made
    if audio_s is None and price.per_audio_second and task not in _NO_SOUND:
        audio_s = max(body_bytes / _BYTES_PER_AUDIO_SECOND, _LEAST_AUDIO_S)
    if images is said.images and audio_s is said.audio_s:
        return said
    return msgspec.structs.replace(said, images=images, audio_s=audio_s, estimated=True)


def with_tokens(said: Usage, body: bytes, task: Task, passed_on: int) -> Usage:
    """The usage with tokens where nobody said how many: ``body`` is what was asked, ``passed_on``
    what was counted of a stream. A total alone is split by what was probably asked, and a count of
    none beside a text is none. Where anything was estimated, ``text_tokens`` says so."""
    given, made = said.input_tokens, said.output_tokens
    if not made and (said.text_tokens or passed_on):
        given, made = given or None, None
    if given is not None and made is not None:
        return said
    if given is None:
        given = at_least_its_parts(said, prompt_tokens(body, task))
        if said.total_tokens:
            all_read = task in WRITES_NOTHING
            given = said.total_tokens if all_read else min(given, said.total_tokens)
    if made is None:
        made = _output(said, task, given, passed_on)
    return msgspec.structs.replace(
        said, input_tokens=given, output_tokens=made, text_tokens=said.text_tokens or made
    )


def prompt_tokens(body: bytes, task: Task) -> int:
    """About how many tokens the input of a call is; of a body of no known shape, all of it."""
    if task in FORMS:
        return 0  # what its files are nobody can say by their bytes
    if task in ("infer", "infer_file", "other"):
        return _tokens(len(body))
    try:
        asked = value_in(body)
    except _UNREADABLE:
        return _tokens(len(body))
    return _tokens(sum(_sizes(asked))) if isinstance(asked, dict) else _tokens(len(body))


class _Bounds(msgspec.Struct):
    """What a body says of the length of its answers, as far as it says it in numbers."""

    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    n: Any = None
    best_of: Any = None
    prompt: Any = None


def output_asked(body: bytes) -> int | None:
    """The most tokens of output that a body lets its answers have; None where it bounds none."""
    try:
        asked = msgspec.json.decode(body, type=_Bounds)
    except _UNREADABLE:
        return None
    bounds = (asked.max_tokens, asked.max_completion_tokens, asked.max_output_tokens)
    each = max(map(_count, bounds))
    prompts = len(asked.prompt) if isinstance(asked.prompt, list) else 1
    return each * max(1, _count(asked.n), _count(asked.best_of)) * max(1, prompts) or None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def most_tokens(
    body: bytes, task: Task, input_held: int, context: int | None, passed_on: int
) -> MostTokens:
    """The most that a backend is believed to have read and made for a call, whatever it states.

    Of input that is what its context takes, or so many as there are bytes and parts, with a prompt
    of the server's own; more where a body names what is read elsewhere. Of output it is what was
    asked for and a quarter more, as some count in blocks; or what has come, beside hidden thoughts.
    """
    larger = _READ_ELSEWHERE if _ELSEWHERE.search(body) else 1
    given = (2 * context if context else _OWN_PROMPT) * larger + 4 * max(input_held, len(body))
    asked = output_asked(body) if task in _WRITES_TEXT else None
    made = _HIDDEN + 4 * passed_on if passed_on else _LONGEST
    if asked is not None:
        made = min(made, asked + asked // 4 + SOME_TOKENS)
    return MostTokens(given, made, passed_on or asked or 0)


def cost_basis(
    price: Price | None, used: Usage, cost_nano: int
) -> Literal["reported", "estimated", "none"]:
    """Whether what is charged rests on the platform's own figures or on our estimate."""
    if not cost_nano:
        return "none"
    if used.cost_nano is not None:
        return "reported"
    tokens = by_tokens(price)
    doubtful = used.text_tokens is not None or (used.parts is not None and contradicts(used))
    if used.estimated or (tokens and doubtful):
        return "estimated"
    timed = price is None or price.per_second or price.per_hour
    counted = (tokens or by_media(price)) and not timed
    return "reported" if used.reported or counted else "estimated"


def _output(said: Usage, task: Task, given: int, passed_on: int) -> int:
    if said.total_tokens:
        return max(said.total_tokens - given, 0)
    if task in WRITES_NOTHING:
        return 0
    return said.text_tokens or passed_on


def _sizes(asked: dict[str, Any]) -> Iterator[int]:
    """Bytes of each text of a request, and four of each token that it names by its number."""
    messages = asked.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield from _size_of(message.get("content"))
            yield from _size_of(message.get("tool_calls"), deep=True)
    for field in ("prompt", "input", "suffix", "system", "instructions", *_OF_RANKS):
        yield from _size_of(asked.get(field))
    items = asked.get("input")
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield from _size_of([item.get(name) for name in _OF_ITEMS])
    for field in ("tools", "functions"):
        if asked.get(field):
            yield len(msgspec.json.encode(asked[field]))


def _size_of(value: Any, *, deep: bool = False) -> Iterator[int]:
    if isinstance(value, str):
        yield len(value.encode("utf-8", "replace"))
    elif isinstance(value, list):
        for part in value:
            yield from _size_of(part, deep=deep)
    elif isinstance(value, dict):
        for inner in value.values() if deep else (value.get("text"),):
            yield from _size_of(inner, deep=deep)
    elif isinstance(value, int) and not isinstance(value, bool) and not deep:
        yield _BYTES_PER_TOKEN


def _tokens(size: int) -> int:
    return -(-size // _BYTES_PER_TOKEN)
