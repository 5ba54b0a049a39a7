"""The calling convention of Modal functions: the caller's JSON as arguments, results as JSON. Pure.

A function gets the call's JSON as one dict (``arguments: body``), as keywords, or as the bytes
that came. It returns what JSON can hold; ``bytes`` are taken to be JSON already, so that a
function may encode its answer itself. A generator yields the same; text that begins like a
server-sent event is passed on as it is.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.http.outputs import NO_OBJECT, input_of
from adapters.shapes.json_texts import read, read_input
from adapters.types import Usage

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_ANY = msgspec.json.Decoder(msgspec.Raw)
_EVENTS = (b"data:", b":", b"event:")


def arguments_of(body: bytes, way: Literal["body", "keywords", "bytes"]) -> Arguments:
    """What a function is called with. Raises INVALID for a body that is no JSON object."""
    if way == "bytes":
        return (input_of(body),), {}
    decoded = read_input(body, dict[str, Any], NO_OBJECT)
    return ((decoded,), {}) if way == "body" else ((), decoded)


def json_of(value: Any, usage: Usage) -> bytes:
    """A result as JSON. Raises FAILED for one that is none: it was run and is charged."""
    try:
        if isinstance(value, bytes):
            _ANY.decode(value)
            return value
        return msgspec.json.encode(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise BackendError(
            FailureClass.FAILED,
            f"The function's result is no JSON, but {_kind(value)}.",
            usage=usage,
            detail=str(error),
        ) from None


def json_checked(body: bytes, usage: Usage) -> bytes:
    """An endpoint's body, once it is known to be JSON. Raises FAILED."""
    read(body, msgspec.Raw, "The endpoint's answer is no JSON.", usage)
    return body


def piece_of(item: Any, usage: Usage) -> bytes:
    """One item of a generator as JSON; events that are bytes become the text that they are."""
    if isinstance(item, bytes) and item.startswith(_EVENTS):
        return msgspec.json.encode(item.decode("utf-8", "replace"))
    return json_of(item, usage)


def _kind(value: Any) -> str:
    if isinstance(value, bytes):
        return "other bytes"
    if isinstance(value, dict | list | tuple):
        return f"a {type(value).__name__} that holds what JSON cannot"
    return f"a {type(value).__name__}"
