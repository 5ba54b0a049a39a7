"""What a server says that it used, in whatever shape it says so, and what a text is likely to be.

No figure here decides over an answer: one that cannot be read is one that nobody said. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.http.failures import read_if
from adapters.types import Usage

BYTES_PER_TOKEN = 4
"""Of English and of code; of most other languages a token is no shorter."""
ONE_TOKEN = 24
"""Characters that one piece of a stream may hold as one token; longer ones hold several."""
LARGEST = 2**53
"""No count of tokens; below it every whole number is exact in JSON."""
_DECIMAL = 15


def count_of(value: Any) -> int | None:
    """A number of tokens, also one written as 12.0 or as text; None for anything else."""
    if isinstance(value, str) and value.isdecimal() and len(value) <= _DECIMAL:
        return int(value)
    if isinstance(value, float) and value.is_integer() and 0 <= value < LARGEST:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < LARGEST:
        return value
    return None


def usage_in(value: Any) -> Usage:
    """The tokens of OpenAI's usage object, or of one with the names of its newer API."""
    if not isinstance(value, dict):
        return Usage()
    return usage_from(
        _first_of(value, "prompt_tokens", "input_tokens"),
        _first_of(value, "completion_tokens", "output_tokens"),
        count_of(value.get("total_tokens")),
        _reasoned(value),
    )


def usage_from(given: int | None, made: int | None, total: int | None, reasoned: int) -> Usage:
    """The tokens, from what was said of them.

    What was ``reasoned`` costs as output, also where a server counts it beside what was ``made``:
    then the total, or that alone, is larger than it.
    """
    if made is not None:
        with_reasoning = made + reasoned if reasoned > made else made
        made = max(with_reasoning, (total or 0) - given if given else 0)
    if total is not None and given is None and made is None:
        return Usage(total_tokens=total)
    if total is not None and given is not None and made is None:
        made = max(total - given, 0)
    elif total is not None and made is not None and given is None:
        given = max(total - made, 0)
    return Usage(input_tokens=given, output_tokens=made)


def read_usage(json: bytes | msgspec.Raw) -> Usage:
    """The same of a JSON text."""
    return usage_in(read_if(json, dict[str, Any]))


def told(usage: Usage) -> bool:
    """Whether it says anything of tokens."""
    return not (usage.input_tokens is usage.output_tokens is usage.total_tokens is None)


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


def _first_of(value: dict[str, Any], *names: str) -> int | None:
    for name in names:
        if (count := count_of(value.get(name))) is not None:
            return count
    return None


def _reasoned(value: dict[str, Any]) -> int:
    details = value.get("completion_tokens_details") or value.get("output_tokens_details")
    return count_of(details.get("reasoning_tokens")) or 0 if isinstance(details, dict) else 0
