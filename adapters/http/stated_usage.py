"""What a server says that a call used, in whatever words it says so. Pure.

No figure here decides over an answer: one that cannot be read is one that nobody said. The words:

* OpenAI, vLLM and most others: ``prompt_tokens`` and ``completion_tokens``, newer ``input_tokens``
  and ``output_tokens``; cached tokens in ``..._tokens_details``, inside the input. A transcription
  states ``seconds`` (``type: duration``).
  https://platform.openai.com/docs/api-reference, as of 2026-11.
* Anthropic: ``cache_read_input_tokens`` and ``cache_creation_input_tokens`` stand beside
  ``input_tokens``, with ``cache_creation.ephemeral_5m_input_tokens`` and ``ephemeral_1h_...``.
  https://docs.claude.com/en/docs/build-with-claude/prompt-caching, as of 2026-11.
* Gemini: ``promptTokenCount`` holds the cached ones, and ``thoughtsTokenCount`` stands beside
  ``candidatesTokenCount``. https://ai.google.dev/api/generate-content, as of 2026-11.
* DeepSeek: ``prompt_cache_hit_tokens``; Cohere: ``billed_units``; Mistral:
  ``prompt_audio_seconds``; Bedrock: ``inputTokens`` with ``cacheReadInputTokens`` beside them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.http.failures import read_if
from adapters.http.token_counts import count_of
from adapters.types import TokenParts, Usage

_PLAIN = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))
_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens")
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_CACHED_INSIDE = ("prompt_cache_hit_tokens", "cachedContentTokenCount", "cached_tokens")
_CACHE_READ = ("cache_read_input_tokens", "cacheReadInputTokens")
_CACHE_WRITE = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_IMAGES = ("images", "image_count", "num_images")
_AUDIO_S = ("prompt_audio_seconds", "audio_seconds", "input_audio_seconds", "audio_duration")
_NO_PARTS = TokenParts()


def usage_in(value: Any) -> Usage:
    """The usage object of an answer, or of the last event of a stream.

    What was reasoned costs as output, also where a server counts it beside ``completion_tokens``:
    then the total, or the details, are larger than it.
    """
    if not isinstance(value, dict):
        return Usage()
    if value.keys() <= _PLAIN:
        given, made = count_of(value.get("prompt_tokens")), count_of(value.get("completion_tokens"))
        return _of_counts(given, made, count_of(value.get("total_tokens")), 0)
    return _in_any_words(_billed(value))


def read_usage(json: bytes | msgspec.Raw) -> Usage:
    """The same of a JSON text."""
    return usage_in(read_if(json, dict[str, Any]))


def told(usage: Usage) -> bool:
    """Whether it says anything of tokens, images or sound."""
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    return not (counts == (None, None, None) and usage.images is usage.audio_s is None)


def with_stated(usage: Usage, said: Usage) -> Usage:
    """``usage`` with the tokens, images and sound that the server ``said``."""
    return msgspec.structs.replace(
        usage,
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        total_tokens=said.total_tokens,
        parts=said.parts,
        images=said.images,
        audio_s=said.audio_s,
    )


def _of_counts(given: int | None, made: int | None, total: int | None, reasoned: int) -> Usage:
    if made is not None:
        with_reasoned = made + reasoned if reasoned > made else made
        made = max(with_reasoned, (total or 0) - given if given else 0)
    if total is not None and given is None and made is None:
        return Usage(total_tokens=total)
    if total is not None and given is not None and made is None:
        made = max(total - given, 0)
    elif total is not None and made is not None and given is None:
        given = max(total - made, 0)
    return Usage(input_tokens=given, output_tokens=made)


def _billed(value: dict[str, Any]) -> dict[str, Any]:
    """With what Cohere bills, else counts, as if it stood beside the rest."""
    for name in ("tokens", "billed_units"):
        inner = value.get(name)
        if isinstance(inner, dict):
            value = {**value, **inner}
    return value


def _in_any_words(value: dict[str, Any]) -> Usage:
    parts = _parts(value)
    given, made = _first_of(value, *_INPUT), _first_of(value, *_OUTPUT)
    if given is not None:
        given += _beside_input(value, given + (made or 0))
    thoughts = count_of(value.get("thoughtsTokenCount"))
    if thoughts is not None:
        made = (made or 0) + thoughts
    counted = _of_counts(given, made, _first_of(value, *_TOTAL), parts.reasoning)
    return msgspec.structs.replace(
        counted,
        parts=None if parts == _NO_PARTS else parts,
        images=_first_of(value, *_IMAGES),
        audio_s=_audio_s(value),
    )


def _beside_input(value: dict[str, Any], counted: int) -> int:
    """Input tokens that are in no other count of the input. Those of a cache are, where the words
    are OpenAI's, or where the total is what was ``counted`` without them."""
    tools = count_of(value.get("toolUsePromptTokenCount")) or 0
    inside = count_of(value.get("prompt_tokens")) is not None
    if inside or dict(_details(value, *_INPUT_DETAILS)) or _first_of(value, *_TOTAL) == counted:
        return tools
    return tools + sum(_first_of(value, *names) or 0 for names in (_CACHE_READ, _CACHE_WRITE))


def _parts(value: dict[str, Any]) -> TokenParts:
    read = dict(_details(value, *_INPUT_DETAILS, "promptTokensDetails"))
    made = dict(_details(value, *_OUTPUT_DETAILS, "candidatesTokensDetails"))
    hour, written = _cache_writes(value, read)
    cached = _first_of(read, "cached_tokens", "cache_read_tokens")
    if cached is None:
        cached = _first_of(value, *_CACHED_INSIDE, *_CACHE_READ)
    reasoned = _first_of(made, "reasoning_tokens")
    if reasoned is None:
        reasoned = _first_of(value, "reasoning_tokens", "thoughtsTokenCount")
    return TokenParts(
        cached=cached or 0,
        cache_write=max(written - hour, 0),
        cache_write_1h=hour,
        audio_input=count_of(read.get("audio_tokens")) or 0,
        image_input=count_of(read.get("image_tokens")) or 0,
        reasoning=reasoned or 0,
        audio_output=count_of(made.get("audio_tokens")) or 0,
        image_output=count_of(made.get("image_tokens")) or 0,
    )


def _cache_writes(value: dict[str, Any], read: dict[str, Any]) -> tuple[int, int]:
    """(Tokens kept for an hour, all tokens written to the cache)."""
    times = value.get("cache_creation")
    times = times if isinstance(times, dict) else {}
    hour = count_of(times.get("ephemeral_1h_input_tokens")) or 0
    minutes = count_of(times.get("ephemeral_5m_input_tokens")) or 0
    written = _first_of(read, "cache_creation_tokens", "cache_write_tokens")
    if written is None:
        written = _first_of(value, *_CACHE_WRITE)
    return hour, max(written or 0, hour + minutes)


def _details(value: dict[str, Any], *names: str) -> Iterator[tuple[str, Any]]:
    """The pairs of the first mapping, or those of Gemini's list of modalities."""
    for name in names:
        found = value.get(name)
        if isinstance(found, dict):
            yield from found.items()
        for entry in found if isinstance(found, list) else ():
            if isinstance(entry, dict) and isinstance(entry.get("modality"), str):
                yield f"{entry['modality'].lower()}_tokens", entry.get("tokenCount")


def _audio_s(value: dict[str, Any]) -> float | None:
    names = (*_AUDIO_S, "seconds") if value.get("type") == "duration" else _AUDIO_S
    return next((s for name in names if (s := _seconds(value.get(name))) is not None), None)


def _seconds(value: Any) -> float | None:
    """A time of zero or more, also one that is written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _first_of(value: dict[str, Any], *names: str) -> int | None:
    for name in names:
        if (count := count_of(value.get(name))) is not None:
            return count
    return None
