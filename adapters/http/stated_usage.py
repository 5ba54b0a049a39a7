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

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.http.token_counts import count_of
from adapters.shapes.json_texts import value_of
from adapters.shapes.numbers import finite
from adapters.types import TokenParts, Usage

_PLAIN = frozenset(("prompt_tokens", "completion_tokens", "total_tokens"))
_OPENAI = _PLAIN | {"prompt_tokens_details", "completion_tokens_details"}
_READ = {
    "cached_tokens": "cached",
    "cache_read_tokens": "cached",
    "cache_creation_tokens": "cache_write",
    "cache_write_tokens": "cache_write",
    "audio_tokens": "audio_input",
    "image_tokens": "image_input",
}
_MADE = {
    "reasoning_tokens": "reasoning",
    "audio_tokens": "audio_output",
    "image_tokens": "image_output",
}
"""What details call a part, and its name here."""
_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "inputTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "candidatesTokenCount", "outputTokens")
_TOTAL = ("total_tokens", "totalTokenCount", "totalTokens")
_INPUT_DETAILS = (
    "prompt_tokens_details", "input_tokens_details", "input_token_details", "promptTokensDetails",
)  # fmt: skip
_OUTPUT_DETAILS = (
    "completion_tokens_details", "output_tokens_details", "output_token_details",
    "candidatesTokensDetails",
)  # fmt: skip
_CACHED_INSIDE = ("prompt_cache_hit_tokens", "cachedContentTokenCount", "cached_tokens")
_CACHE_READ = ("cache_read_input_tokens", "cacheReadInputTokens")
_CACHE_WRITE = ("cache_creation_input_tokens", "cacheWriteInputTokens")
_IMAGES = ("images", "image_count", "num_images")
_AUDIO_S = ("prompt_audio_seconds", "audio_seconds", "input_audio_seconds", "audio_duration")


def usage_in(value: Any) -> Usage:
    """The usage object of an answer, or of the last event of a stream.

    What was reasoned costs as output, also where a server counts it beside ``completion_tokens``:
    then the total, or the details, are larger than it.
    """
    if not isinstance(value, dict):
        return Usage()
    if value.keys() <= _OPENAI:
        return _in_openais_words(value)
    return _in_any_words(_billed(value))


def read_usage(json: bytes | msgspec.Raw) -> Usage:
    """The same of a JSON text."""
    return usage_in(value_of(bytes(json)))


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


def usage_from(
    given: int | None, made: int | None, total: int | None, counts: dict[str, int]
) -> Usage:
    """The tokens, from what was said of them; ``counts``: part -> its tokens."""
    if made is not None:
        reasoned = counts.get("reasoning", 0)
        with_reasoned = made + reasoned if reasoned > made else made
        made = max(with_reasoned, (total or 0) - given if given else 0)
    if total is not None and given is None and made is None:
        return Usage(total_tokens=total)
    if total is not None and given is not None and made is None:
        made = max(total - given, 0)
    elif total is not None and made is not None and given is None:
        given = max(total - made, 0)
    parts = TokenParts(**counts) if counts and any(counts.values()) else None
    return Usage(input_tokens=given, output_tokens=made, parts=parts)


def _in_openais_words(value: dict[str, Any]) -> Usage:
    """What nearly every server says, read without looking for other words."""
    read, written = value.get("prompt_tokens_details"), value.get("completion_tokens_details")
    counts: dict[str, int] = {}
    if read or written:
        counts = _of_input(read) | _counts(written, _MADE)
    given, made = count_of(value.get("prompt_tokens")), count_of(value.get("completion_tokens"))
    return usage_from(given, made, count_of(value.get("total_tokens")), counts)


def _counts(details: Any, names: dict[str, str]) -> dict[str, int]:
    """Part -> its tokens, where there are any: of a mapping, or of Gemini's list of modalities."""
    pairs = details.items() if isinstance(details, dict) else _modalities(details)
    counts = {}
    for name, value in pairs:
        if value and name in names and (count := count_of(value)):
            counts[names[name]] = count
    return counts


def _of_input(details: Any) -> dict[str, int]:
    """The same of what was read. Sound and images among the cached tokens, where details of these
    tell them, are in no other part."""
    counts = _counts(details, _READ)
    inner = details.get("cached_tokens_details") if isinstance(details, dict) else None
    if not inner:
        return counts
    of_cache = _counts(inner, _READ)
    for part, tokens in of_cache.items():
        if part in counts:
            counts[part] = max(counts[part] - tokens, 0)
    return counts | {"cached_audio": of_cache.get("audio_input", 0)}


def _modalities(details: Any) -> Iterator[tuple[str, Any]]:
    for entry in details if isinstance(details, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("modality"), str):
            yield f"{entry['modality'].lower()}_tokens", entry.get("tokenCount")


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
    counted = usage_from(given, made, _first_of(value, *_TOTAL), parts)
    images, audio_s = _first_of(value, *_IMAGES), _audio_s(value)
    return msgspec.structs.replace(counted, images=images, audio_s=audio_s)


def _beside_input(value: dict[str, Any], counted: int) -> int:
    """Input tokens that are in no other count of the input. Those of a cache are, where the words
    are OpenAI's, or where the total is what was ``counted`` without them."""
    tools = count_of(value.get("toolUsePromptTokenCount")) or 0
    inside = count_of(value.get("prompt_tokens")) is not None
    if inside or any(value.get(name) for name in _INPUT_DETAILS):
        return tools
    if _first_of(value, *_TOTAL) == counted:
        return tools
    return tools + sum(_first_of(value, *names) or 0 for names in (_CACHE_READ, _CACHE_WRITE))


def _parts(value: dict[str, Any]) -> dict[str, int]:
    """Part -> its tokens, where there are any; what details say goes first."""
    hour, minutes = _cache_writes(value)
    found = {
        "cached": _first_of(value, *_CACHED_INSIDE, *_CACHE_READ) or 0,
        "cache_write": minutes,
        "cache_write_1h": hour,
        "reasoning": _first_of(value, "reasoning_tokens", "thoughtsTokenCount") or 0,
    }
    for name in _INPUT_DETAILS:
        found |= _of_input(value.get(name))
    for name in _OUTPUT_DETAILS:
        found |= _counts(value.get(name), _MADE)
    return {part: tokens for part, tokens in found.items() if tokens}


def _cache_writes(value: dict[str, Any]) -> tuple[int, int]:
    """(Tokens kept for an hour, for minutes): what no time is said of is kept for minutes."""
    times = value.get("cache_creation")
    times = times if isinstance(times, dict) else {}
    hour = count_of(times.get("ephemeral_1h_input_tokens")) or 0
    minutes = count_of(times.get("ephemeral_5m_input_tokens")) or 0
    written = _first_of(value, *_CACHE_WRITE) or 0
    return hour, max(written - hour, minutes)


def _audio_s(value: dict[str, Any]) -> float | None:
    names = (*_AUDIO_S, "seconds") if value.get("type") == "duration" else _AUDIO_S
    return next((s for name in names if (s := _seconds(value.get(name))) is not None), None)


def _seconds(value: Any) -> float | None:
    """A time of zero or more."""
    seconds = finite(value)
    return seconds if seconds is not None and seconds >= 0 else None


def _first_of(value: dict[str, Any], *names: str) -> int | None:
    for name in names:
        if (count := count_of(value.get(name))) is not None:
            return count
    return None
