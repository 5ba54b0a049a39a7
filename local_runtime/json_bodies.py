"""What callers send, as JSON. Anybody may send anything, in threads that nothing may hold up or
break: what cannot be decoded has one exception, whatever is wrong with it."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class NotJson(ValueError):
    """The bytes are no JSON, not of the type wanted, or nest too deeply; ``str()`` is fit for the
    caller."""


def decoded(body: bytes, type: type[T] | Any = Any) -> T | Any:
    """The value. Raises NotJson."""
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None


def not_json(why: Exception | str) -> NotJson:
    """What is said of a body that cannot be decoded."""
    if isinstance(why, RecursionError):
        why = "it nests too deeply"
    return NotJson(f"the request body is not valid JSON: {why}")


def json_or_text(data: bytes) -> Any:
    """A handler's result where it is JSON; other bytes as text."""
    try:
        return decoded(data) if data else None
    except NotJson:
        return data.decode(errors="replace")
