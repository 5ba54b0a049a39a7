"""How many tokens a text is likely to be, and a number of tokens in any shape. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

BYTES_PER_TOKEN = 4
"""Of English and of code; of most other languages a token is no shorter."""
ONE_TOKEN = 24
"""Characters that one piece of a stream may hold as one token; longer ones hold several."""
LARGEST = 1_000_000_001
"""No call has so many: who says that counts nothing, and its text is looked at."""
HIDDEN = 131_072
"""Tokens of thoughts that an answer need not show; beside these it holds a byte of each."""
_DECIMAL = 15
_OPAQUE = frozenset(("data", "url", "b64_json", "encrypted_content"))
"""Fields of a message that hold pictures, sound or what only its writer can read."""
_NO_TEXT = _OPAQUE | {
    "annotations",
    "call_id",
    "format",
    "id",
    "object",
    "role",
    "signature",
    "tool_call_id",
    "type",
}
"""Fields of a message that nobody's model has written as text."""


def count_of(value: Any) -> int | None:
    """A number of tokens, also one written as 12.0 or as text; None for anything else."""
    if isinstance(value, str) and len(value) <= _DECIMAL:
        whole, point, rest = value.strip().partition(".")
        return int(whole) if whole.isdecimal() and not (point and rest.strip("0")) else None
    if isinstance(value, float) and value.is_integer() and 0 <= value < LARGEST:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST:
        return value
    return None


def tokens_of(text: str) -> int:
    """About how many tokens a whole text is; none where there is none."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def tokens_of_piece(text: str | None) -> int:
    """About how many tokens one event's text is: servers send them one by one, or several."""
    if not text:
        return 0
    return 1 if len(text) <= ONE_TOKEN else tokens_of(text)


def tokens_made(answer: Any) -> int:
    """About how many tokens the choices of a whole answer hold."""
    return sum(map(_tokens_in, _choices(answer)))


def tokens_in_event(event: Any) -> int:
    """The same of one event of a stream."""
    return sum(_tokens_in(choice, tokens_of_piece) for choice in _choices(event))


def _choices(answer: Any) -> list[Any]:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return choices if isinstance(choices, list) else []


def _tokens_in(choice: Any, count: Callable[[str], int] = tokens_of) -> int:
    """Of every text that a choice's message, delta or text holds, in whatever field: what is said
    twice in other words of the protocol counts once, and what is no text as one token."""
    if not isinstance(choice, dict):
        return 0
    texts: set[str] = set()
    others = 0
    left = [choice.get("message"), choice.get("delta"), choice.get("text")]
    while left:
        value = left.pop()
        if isinstance(value, str):
            texts.add(value)
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            left += [inner for name, inner in value.items() if name not in _NO_TEXT]
            others += sum(1 for name in _OPAQUE if value.get(name))
    return others + sum(map(count, texts))
