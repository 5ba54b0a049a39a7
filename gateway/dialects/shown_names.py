"""The name of a model in its answers: that by which the caller called it. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec

from adapters.types import Chunk, Reply

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_INSIDE = ("response", "message")
"""Where the events of OpenAI's responses and of Anthropic's messages have it."""


def shown_as(reply: Reply, name: str) -> Reply:
    """The reply, in which the model is called ``name`` wherever a model is named; whatever is no
    JSON stays as it is."""
    if reply.chunks is not None:
        return msgspec.structs.replace(reply, chunks=ShownStream(reply.chunks, name))
    if "json" not in reply.content_type:
        return reply
    return msgspec.structs.replace(reply, body=renamed(reply.body, encoded(name)))


def encoded(name: str) -> msgspec.Raw:
    """A name as JSON."""
    return msgspec.Raw(msgspec.json.encode(name))


def renamed(body: bytes, name: msgspec.Raw) -> bytes:
    """A JSON object with ``model`` in it, or one level below where events have it, under another
    name; every other field keeps its bytes. Anything else as it is."""
    if b'"model"' not in body:
        return body
    try:
        fields = _decode(body)
        changed = _rename(fields, name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    return msgspec.json.encode(fields) if changed else body


def _rename(fields: dict[str, msgspec.Raw], name: msgspec.Raw) -> bool:
    if "model" in fields:
        fields["model"] = name
        return True
    for inner in _INSIDE:
        if bytes(fields.get(inner, b"")).startswith(b"{"):
            below = _decode(fields[inner])
            if "model" in below:
                below["model"] = name
                fields[inner] = msgspec.Raw(msgspec.json.encode(below))
                return True
    return False


class ShownStream:
    """The chunks of a stream, each with the name that its caller knows."""

    def __init__(self, chunks: AsyncIterator[Chunk], name: str) -> None:
        self._chunks = chunks
        self._name = encoded(name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await anext(self._chunks)
        if b'"model"' not in chunk.data:
            return chunk
        return Chunk(self._events(chunk.data), chunk.kind, chunk.usage, chunk.tokens)

    def _events(self, data: bytes) -> bytes:
        return b"".join([self._line(line) for line in data.splitlines(keepends=True)])

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:"):
            return line
        payload = line[5:].strip()
        changed = renamed(payload, self._name)
        return line if changed is payload else line.replace(payload, changed)

    async def aclose(self) -> None:
        """Closes the stream below."""
        aclose: Any = getattr(self._chunks, "aclose", None)
        if aclose is not None:
            await aclose()
