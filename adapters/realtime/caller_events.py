"""What a caller says in OpenAI's realtime protocol, as far as it costs something. Pure.

Sound is told from text by where it stands, never by a word that stands in it: all of a
``input_audio_buffer.append``, and ``audio`` of a part whose type is ``input_audio``.

Source: https://platform.openai.com/docs/api-reference/realtime-client-events, as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")

APPEND = "input_audio_buffer.append"
_OWN_CONTEXT = ("conversation", "input", "instructions", "prompt", "tools")
"""What a response may be asked for that makes it read something else than the conversation."""


class _Part(msgspec.Struct):
    type: str = ""
    audio: str | None = None


class _Item(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Response(msgspec.Struct):
    input: msgspec.Raw = msgspec.Raw(b"null")
    conversation: msgspec.Raw = msgspec.Raw(b"null")
    instructions: msgspec.Raw = msgspec.Raw(b"null")
    prompt: msgspec.Raw = msgspec.Raw(b"null")
    tools: msgspec.Raw = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    type: str
    event_id: str | None = None
    audio: msgspec.Raw = msgspec.Raw(b"null")
    item: msgspec.Raw = msgspec.Raw(b"null")
    response: msgspec.Raw = msgspec.Raw(b"null")


class CallerEvent(msgspec.Struct, frozen=True):
    """One event, in the bytes in which it came."""

    type: str
    id: str
    text: int
    """Bytes that are no sound: none can be more than a token."""
    sound: int
    """Characters of base64."""
    reads_apart: bool
    """It asks for a response that may read something else than the conversation."""


def caller_event(message: bytes) -> CallerEvent:
    """Raises msgspec.DecodeError, also for what is JSON and no event, and RecursionError."""
    event = _events.decode(message)
    if event.type == APPEND:
        return CallerEvent(event.type, event.event_id or "", 0, len(message), False)
    response = _if(event.response, _Response) or _Response()
    items = [_if(event.item, _Item), *(_if(response.input, list[_Item]) or ())]
    sound = sum(len(part.audio or "") for part in _parts(items))
    apart = any(getattr(response, name) != b"null" for name in _OWN_CONTEXT)
    text = len(message) - sound
    return CallerEvent(event.type, event.event_id or "", text, sound, apart)


def _parts(items: list[_Item | None]) -> Iterator[_Part]:
    for item in items:
        for part in (item and _if(item.content, list[_Part])) or ():
            if part.type == "input_audio":
                yield part


def _if(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """None where it is something else: then all of it counts as text."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None


_events = msgspec.json.Decoder(_Event)
