"""How many tokens a text is likely to be, and a number of tokens in any shape. Pure."""

from __future__ import annotations

from typing import Any

BYTES_PER_TOKEN = 4
"""Of English and of code; of most other languages a token is no shorter."""
ONE_TOKEN = 24
"""Characters that one piece of a stream may hold as one token; longer ones hold several."""
LARGEST = 2**53
"""No count of tokens; below it every whole number is exact in JSON."""
_DECIMAL = 15


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


def tokens_made(answer: dict[str, Any]) -> int:
    """About how many tokens the choices of a whole answer hold."""
    choices = answer.get("choices")
    return sum(map(_tokens_of_choice, choices)) if isinstance(choices, list) else 0


def _tokens_of_choice(choice: Any) -> int:
    if not isinstance(choice, dict):
        return 0
    message = choice.get("message")
    parts = message if isinstance(message, dict) else choice
    return sum(tokens_of(text) for text in _texts(parts))


def _texts(parts: dict[str, Any]) -> list[str]:
    found = []
    for name in ("content", "text", "reasoning_content", "reasoning", "refusal"):
        value = parts.get(name)
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            texts = [part.get("text") for part in value if isinstance(part, dict)]
            found += [text for text in texts if isinstance(text, str)]
    calls = parts.get("tool_calls")
    for called in calls if isinstance(calls, list) else ():
        function = called.get("function") if isinstance(called, dict) else None
        if isinstance(function, dict):
            named = (function.get("name"), function.get("arguments"))
            found += [text for text in named if isinstance(text, str)]
    return found
