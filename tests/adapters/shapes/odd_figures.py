"""Figures that hardly any reader takes, and the places beside an answer in which they may stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DIGITS = b"9" * 5_000
ODD = {
    "digits": DIGITS,
    "negative digits": b"-" + DIGITS,
    "400 digits": DIGITS[:400],
    "20 digits": DIGITS[:20],
    "no end": b"-1e999",
    "nearly no end": b"1.7e308",
    "digits before a point": DIGITS + b".5",
    "digits behind a point": b"0." + DIGITS,
    "an exponent of digits": b"1e" + DIGITS,
    "digits as text": b'"' + DIGITS + b'"',
    "no number": b"NaN",
    "nested": b"[" * 400 + b"]" * 400,
    "below zero": b"-1",
    "a list": b"[1]",
    "true": b"true",
}
WORST = ("digits", "400 digits", "no end", "an exponent of digits", "nested")
_BESIDE = ("created", "usage", "id", "model", "index", "seconds", "size", "x", "metadata")
_USAGE = (
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens",
    "promptTokenCount", "thoughtsTokenCount", "cache_read_input_tokens", "images", "audio_seconds",
    "cost", "prompt_tokens_details",
)  # fmt: skip


def fields_with(odd: bytes) -> Iterator[bytes]:
    """Each a key and its value, as JSON."""
    yield from (b'"%b": %b' % (name.encode(), odd) for name in _BESIDE)
    yield from (b'"usage": {"%b": %b}' % (name.encode(), odd) for name in _USAGE)
    yield b'"usage": {"prompt_tokens_details": {"cached_tokens": %b}}' % odd
    yield b'"usage": {"type": "duration", "seconds": %b}' % odd


def beside(given: dict[str, Any], field: bytes) -> bytes:
    """JSON of what is given, with the field in the place of one of its name."""
    name = field.split(b'"')[1].decode()
    body = json.dumps({key: value for key, value in given.items() if key != name}).encode()
    return body[:-1] + b", "[: len(body) - 2] + field + b"}"
