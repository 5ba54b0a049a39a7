"""The items of a conversation by OpenAI's responses: what a request adds, and what its answer does.
Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

Items = Sequence[Any]
"""Of ``input``: messages, calls of tools and what these gave, each as JSON has it."""


class AskedResponse(msgspec.Struct, frozen=True):
    """What a request says of the conversation that it belongs to."""

    input: str | list[Any] = ""
    previous_response_id: str | None = None
    store: bool | None = None


class NamedResponse(msgspec.Struct, frozen=True):
    """What a request goes on from, whatever else is in it."""

    previous_response_id: Any = None


_asked = msgspec.json.Decoder(AskedResponse).decode
_named = msgspec.json.Decoder(NamedResponse).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def asked_of(body: bytes) -> AskedResponse | None:
    """None for a body that is not in the shape of a request: whoever reads it next says why."""
    try:
        return _asked(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def previous_of(body: bytes) -> str:
    """The response that a body names which is in no shape: a backend may take it all the same.
    Empty where it names none."""
    try:
        previous = _named(body).previous_response_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    return previous if isinstance(previous, str) else ""


def items_of(asked: AskedResponse) -> Items:
    """A text is a message of the user's."""
    if isinstance(asked.input, str):
        return [{"role": "user", "content": asked.input}] if asked.input else []
    return asked.input


def continued(body: bytes, items: Items) -> bytes:
    """The same request with the whole conversation in it, whose keeper need not be asked for it."""
    fields = _object(body)
    fields.pop("previous_response_id", None)
    fields["input"] = msgspec.Raw(msgspec.json.encode(items))
    return msgspec.json.encode(fields)


def output_of(answer: dict[str, Any]) -> Items:
    """What an answer adds."""
    output = answer.get("output")
    return output if isinstance(output, list) else []
