"""Server-sent events in OpenAI's dialect: whole events out of any split of bytes.

Bytes are passed on as they came; an event is parsed only where a cheap scan says that it holds
more than text. Dialects that are read: usage on a last event with ``choices: []`` (OpenAI, vLLM),
or on the finishing event; ``"usage": null`` on every event; ids that change; comments and
``event:`` lines; ``\\n``, ``\\r\\n`` and ``\\r`` as line ends; an error object in a frame.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass
from adapters.http.failures import classify_error, clean, read_if, words_in
from adapters.types import Chunk, Usage

MAX_EVENT = 4 * 1024 * 1024
"""Bytes of one event; a server that sends more without an event's end is not believed."""
DONE = b"data: [DONE]\n\n"
_BROKE_OFF = "The backend's stream ended"

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\r\n|\n\n|\r\r")
_MARKS = (b'"usage"', b'"finish_reason"', b'"error"')
_NULL = (b":null", b": null")


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class TokenCounts(msgspec.Struct):
    """OpenAI's usage object, as far as money needs it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    def usage(self) -> Usage:
        """The counts in the words of this project."""
        return Usage(input_tokens=self.prompt_tokens, output_tokens=self.completion_tokens)


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: TokenCounts | None = None
    error: Any = None
    error_type: str | None = None
    object: str | None = None
    message: Any = None
    code: Any = None

    def broken(self) -> Any:
        """What the event says went wrong, if it is that: OpenAI's object, TGI's text with a type
        beside it, or the flat object of older vLLM; a code may stand beside either."""
        if isinstance(self.error, dict) and self.error:
            return {"code": self.code, **self.error}
        if self.error:
            return {"message": self.error, "type": self.error_type, "code": self.code}
        if self.object == "error":
            return {"message": self.message, "code": self.code}
        return None


class EventReader:
    """Feeds on bytes, gives Chunks. Pure: no I/O, no time.

    ``openai`` is False for a stream that is nobody's protocol but the caller's: its events are
    passed on unread, and its clean end is its end.
    """

    __slots__ = ("_rest", "done", "error", "finished", "frames", "openai", "telling", "usage")

    def __init__(self, *, openai: bool) -> None:
        self._rest = b""
        self.openai = openai
        self.frames = False
        """An event with data has been passed on."""
        self.finished = False
        """A finish_reason has been seen."""
        self.done = False
        """[DONE] has been seen."""
        self.usage = Usage()
        """What the stream has said it used."""
        self.telling = b""
        """The JSON of the event that says most of the call: the first, or the last with usage."""
        self.error: BackendError | None = None
        """Why the stream is broken; the chunks that were given before it are whole."""

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that ``data`` completes, up to an error frame if there is one."""
        if self._rest:
            data = self._rest + data
        cut = last_boundary(data)
        self._rest = data[cut:]
        if len(self._rest) > MAX_EVENT:
            self._break(FailureClass.FAILED, "The backend's stream holds an event without an end.")
        if not cut or self.error or self.done:
            return []
        whole = data[:cut]
        if self.frames and not (self.openai and is_special(whole)):
            return [Chunk(whole)]
        return self._each(whole)

    def end(self) -> list[Chunk]:
        """The stream has ended cleanly: what is left of it, and whether that was its end."""
        if self.done:
            return []
        rest, self._rest = self._rest.strip(), b""
        chunks: list[Chunk] = []
        if rest and (rest == DONE.strip() or _is_json(_data_of(rest))):
            chunks = self._each(rest + b"\n\n")
        elif rest:
            self._break(FailureClass.TRUNCATED, _BROKE_OFF + " inside an event.")
        if self.error:
            return chunks
        if not self.frames and not self.done:
            self._break(
                FailureClass.FAILED, "The backend opened a stream and closed it without an event."
            )
        elif self.openai and not self.done and not self.finished:
            self._break(FailureClass.TRUNCATED, _BROKE_OFF + " without a finish_reason or [DONE].")
        return chunks

    def _each(self, whole: bytes) -> list[Chunk]:
        """Event by event; neighbours that are plain become one chunk again."""
        chunks: list[Chunk] = []
        plain: list[bytes] = []
        for event in split_events(whole):
            chunk = self._one(event)
            if self.error:
                break
            if chunk is None:
                continue
            if chunk.kind == "data" and chunk.usage is None:
                plain.append(event)
                continue
            _flush(plain, chunks)
            chunks.append(chunk)
        _flush(plain, chunks)
        return chunks

    def _one(self, event: bytes) -> Chunk | None:
        if self.done:
            return None
        payload = _data_of(event)
        if not payload:
            # A comment before the first frame would commit the caller to this backend.
            return Chunk(event) if self.frames else None
        if not self.openai:
            self.frames = True
            return Chunk(event)
        if payload == b"[DONE]":
            self.done = True
            return Chunk(event, "done")
        return self._parsed(event, payload)

    def _parsed(self, event: bytes, payload: bytes) -> Chunk | None:
        parsed = _decode(payload)
        if parsed is None and self.frames:
            # Most later events are passed on unread, so one that is read is not judged either.
            return Chunk(event)
        if parsed is None:
            self._break(FailureClass.FAILED, "The backend's stream holds an event that is no JSON.")
            return None
        if error := parsed.broken():
            message = clean(words_in(error)) or "The backend's stream ended in an error."
            self._break(classify_error(error), message)
            return None
        if not self.frames:
            self.frames, self.telling = True, payload
        usage = None
        if parsed.usage is not None:
            self.usage = usage = parsed.usage.usage()
            self.telling = payload
            if not parsed.choices:
                return Chunk(event, "usage", usage)
        if any(choice.finish_reason for choice in parsed.choices or ()):
            self.finished = True
        return Chunk(event, "data", usage)

    def _break(self, failure: FailureClass, message: str) -> None:
        """After the first frame, whatever went wrong, the answer is cut."""
        self.error = BackendError(FailureClass.TRUNCATED if self.frames else failure, message)


def is_special(data: bytes) -> bool:
    """False only when the bytes surely hold nothing but pieces of an answer.

    A field that is there and null (``"usage":null`` stands on every event of some servers) does
    not count; whatever is spelt otherwise does, and is parsed.
    """
    if b"[DONE]" in data:
        return True
    for mark in _MARKS:
        at = data.find(mark)
        while at >= 0:
            at += len(mark)
            if not data.startswith(_NULL, at):
                return True
            at = data.find(mark, at)
    return False


def split_events(data: bytes) -> list[bytes]:
    """Bytes that end at a boundary -> events, each with its own boundary."""
    events = []
    start = 0
    for match in _BOUNDARY.finditer(data):
        if match.end() > start:
            events.append(data[start : match.end()])
        start = match.end()
    return events


def frame(payload: bytes) -> bytes:
    """One event that carries a JSON text (which holds no line break outside its strings)."""
    return b"data: %b\n\n" % payload


def _flush(plain: list[bytes], chunks: list[Chunk]) -> None:
    if plain:
        chunks.append(Chunk(b"".join(plain)))
        plain.clear()


def last_boundary(data: bytes) -> int:
    """Where the last whole event ends; 0 when there is none."""
    if data.endswith(b"\n\n"):
        return len(data)
    return max(
        data.rfind(b"\n\n") + 2 if b"\n\n" in data else 0,
        data.rfind(b"\n\r\n") + 3 if b"\n\r\n" in data else 0,
        data.rfind(b"\r\r") + 2 if b"\r\r" in data else 0,
    )


def _data_of(event: bytes) -> bytes:
    """The joined ``data`` lines of an event."""
    if event.startswith(b"data: ") and event.count(b"\n") == 2 and b"\r" not in event:
        return event[6:-2]
    values = [
        line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")
    ]
    return b"\n".join(values)


def _is_json(payload: bytes) -> bool:
    return read_if(payload, msgspec.Raw) is not None


def _decode(payload: bytes) -> _Event | None:
    """What an event says; nothing of note where its shape is unknown; None for no JSON."""
    event = read_if(payload, _Event)
    return _Event() if event is None and _is_json(payload) else event
