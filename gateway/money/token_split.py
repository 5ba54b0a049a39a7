"""The tokens of a call -> how many of them are charged at which rate. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.types import TokenParts, Usage
from gateway.policy.sections.price import Price

_INPUT = (
    ("cache_write_1h", "per_million_cache_write_1h", "per_million_cache_write"),
    ("cache_write", "per_million_cache_write", ""),
    ("cached_audio", "per_million_cached_audio_input", "per_million_cached_input"),
    ("cached", "per_million_cached_input", ""),
    ("audio_input", "per_million_audio_input", ""),
    ("image_input", "per_million_image_input", ""),
)
"""Part of the input, its rate, and the rate that holds where that is left out, before that of the
whole. The first take what there is: where parts overlap, such as cached tokens of sound, a token
is charged once."""
_OUTPUT = (
    ("reasoning", "per_million_reasoning", ""),
    ("audio_output", "per_million_audio_output", ""),
    ("image_output", "per_million_image_output", ""),
)
_NO_PARTS = TokenParts()


def split(price: Price, usage: Usage) -> Iterator[tuple[str, int, int]]:
    """(The name of a rate, tokens, nano-dollars a million), in which every token is once. A part
    that is larger than what is left of the whole is what is left."""
    parts = usage.parts or _NO_PARTS
    yield from _split(price, usage.input_tokens or 0, "per_million_input", _INPUT, parts)
    yield from _split(price, usage.output_tokens or 0, "per_million_output", _OUTPUT, parts)


def _split(
    price: Price, left: int, whole: str, rates: tuple[tuple[str, str, str], ...], parts: TokenParts
) -> Iterator[tuple[str, int, int]]:
    rest = getattr(price, whole) or 0
    for part, name, other in rates:
        tokens = min(_amount(parts, part), left)
        if tokens <= 0:
            continue
        left -= tokens
        found = next((key for key in (name, other) if key and _has(price, key)), whole)
        yield found, tokens, getattr(price, found) or 0
    yield whole, left, rest


def _amount(parts: TokenParts, part: str) -> int:
    amount: int = getattr(parts, part)
    return amount - parts.cached_audio if part == "cached" else amount


def _has(price: Price, name: str) -> bool:
    return getattr(price, name) is not None


def contradicts(usage: Usage) -> bool:
    """Whether its parts cannot be those of its whole: what is charged then is bounded by the
    whole, and an estimate."""
    parts = usage.parts
    if parts is None:
        return False
    given, made = usage.input_tokens or 0, usage.output_tokens or 0
    of_cache = parts.cached + parts.cache_write + parts.cache_write_1h
    return (
        max(of_cache, parts.audio_input + parts.image_input) > given
        or parts.reasoning + parts.audio_output + parts.image_output > made
    )


def at_least_its_parts(usage: Usage, given: int) -> int:
    """Input tokens that were estimated as ``given``, where parts of them were counted."""
    parts = usage.parts
    if parts is None:
        return given
    return max(given, parts.cached + parts.cache_write + parts.cache_write_1h)


def dearest_tokens(price: Price) -> Price:
    """The price at which each token is charged as the dearest that it may be."""
    raised: dict[str, Any] = {}
    for whole, rates in (("per_million_input", _INPUT), ("per_million_output", _OUTPUT)):
        names = [name for _, name, _ in rates]
        given = [getattr(price, name) for name in names if _has(price, name)]
        if given:
            raised[whole] = max(getattr(price, whole) or 0, *given)
            raised |= dict.fromkeys(names)
    return msgspec.structs.replace(price, **raised) if raised else price
