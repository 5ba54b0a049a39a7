"""A stream of chat pieces, written anew in other words. Pure but for the waiting."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.shapes.json_texts import UNREADABLE, value_in
from adapters.types import Call, Chunk, Usage
from adapters.whole_events import data_of, split_events

MISSHAPEN = (AttributeError, KeyError, TypeError, ValueError)
"""What reading raises for values of other types than a protocol has."""


class Writer(ABC):
    """Writes one answer to a call, whole or event by event, in the words of the call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._model = call.shown or call.model

    @abstractmethod
    def whole(self, body: bytes, usage: Usage) -> bytes:
        """A whole chat answer. Raises MALFORMED for what is none."""

    @abstractmethod
    def piece(self, event: dict[str, Any]) -> bytes:
        """The events that one event of a chat stream comes to; none is as good as some."""

    @abstractmethod
    def last(self, usage: Usage) -> tuple[bytes, bytes]:
        """What ends the answer: the events before the end marker, and the marker."""


class WrittenStream:
    """The chunks of a chat stream as those of ``writer``. A stream that breaks breaks here too,
    and one that only stops has broken."""

    def __init__(self, chunks: AsyncIterator[Chunk], writer: Writer) -> None:
        self._chunks = chunks
        self._writer = writer
        self._ready: deque[Chunk] = deque()
        self._usage = Usage()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._fill()
        return self._ready.popleft()

    async def _fill(self) -> None:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            said = "The backend's stream ended without its end marker."
            raise BackendError(FailureClass.TRUNCATED, said) from None
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.kind == "done":
            self._end(chunk.usage)
            return
        data = self._written(chunk.data)
        tokens = 0 if chunk.kind == "usage" else chunk.tokens
        if tokens is None:
            tokens = sum(1 for _ in events_of(chunk.data))
        if data or chunk.usage is not None:
            self._ready.append(Chunk(data, "data", chunk.usage, tokens))

    def _written(self, data: bytes) -> bytes:
        try:
            return b"".join([self._writer.piece(event) for event in events_of(data)])
        except MISSHAPEN:
            raise malformed("The backend's stream holds an event of no known shape.") from None

    def _end(self, usage: Usage | None) -> None:
        self._ended = True
        before, marker = self._writer.last(self._usage)
        self._ready.append(Chunk(before, "data", usage, 0))
        self._ready.append(Chunk(marker, "done", usage))

    async def aclose(self) -> None:
        """Closes the stream below."""
        aclose: Any = getattr(self._chunks, "aclose", None)
        if aclose is not None:
            await aclose()


def events_of(data: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of whole events, in turn; comments are none. Raises MALFORMED for what is
    no JSON object."""
    for event in split_events(data):
        payload = data_of(event).strip()
        if payload and payload != b"[DONE]":
            yield object_of(payload)


def object_of(payload: bytes) -> dict[str, Any]:
    """A JSON object. Raises MALFORMED where it is none."""
    try:
        value = value_in(payload)
    except UNREADABLE:
        value = None
    if not isinstance(value, dict):
        raise malformed("The backend's answer is no JSON object.")
    return value


def first_choice(answer: dict[str, Any]) -> dict[str, Any]:
    """The first choice of an answer, or of an event; empty where there is none."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def text_of(value: Any) -> str:
    """A text, as a text or as a list of parts with texts; empty for anything else."""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else ()
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "".join([text for text in texts if isinstance(text, str)])


def reasoning_of(message: dict[str, Any]) -> str:
    """What was thought before the answer, as vLLM, SGLang, llama.cpp and OpenRouter name it."""
    return text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))


def named_event(name: str, value: dict[str, Any]) -> bytes:
    """A server-sent event whose data says its name too, as Anthropic's and OpenAI's typed ones."""
    data = msgspec.json.encode({"type": name, **value})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)
