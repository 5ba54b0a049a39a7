"""Server-sent events in OpenAI's dialect: whole events out of any split of bytes.

Bytes are passed on as they came; each event is read on the way, which is what tells an end, an
error, the usage, and how much text has come. Dialects that are read: usage on a last event with
``choices: []`` (OpenAI, vLLM), or on the finishing event, or on all; ids that change; comments and
``event:`` lines; ``\\n``, ``\\r\\n`` and ``\\r`` as line ends; a byte order mark; an error object
in a frame, an event that is named ``error``, a choice that ended in an error. An event that is no
JSON ends the stream in an error, since nobody could say what is missing without it; bytes that are
no UTF-8 are replaced, as the standard has it. What comes before the first choice waits for it: a
stream that has none is no answer, and another backend can still be asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.answers import broken_choice, failure_in, is_broken, is_hollow, no_answer
from adapters.http.failures import UNREADABLE, read_if
from adapters.http.odd_json import mended
from adapters.http.stated_usage import told, usage_in
from adapters.http.token_counts import ONE_TOKEN, tokens_of_piece
from adapters.http.whole_events import (
    MAX_EVENT,
    WholeEvents,
    data_of,
    name_of,
    split_events,
)
from adapters.types import Chunk, Usage

DONE = b"data: [DONE]\n\n"
MAX_EARLY = 64
"""Events without a choice that wait for the first one; more than these begin the answer."""
_BROKE_OFF = "The backend's stream ended"


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None

    def tokens(self) -> int:
        """About how many tokens of answer it holds."""
        delta = self.delta
        if delta is None:
            return tokens_of_piece(self.text)
        made = tokens_of_piece(delta.content)
        if delta.reasoning_content or delta.reasoning:
            made += tokens_of_piece(delta.reasoning_content or delta.reasoning)
        if delta.tool_calls:
            made += 1
        return made


class _Event(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    object: str | None = None


_decode = msgspec.json.Decoder(_Event).decode


class EventReader:
    """Feeds on bytes, gives Chunks. Pure: no I/O, no time.

    ``openai`` is False for a stream that is nobody's protocol but the caller's: its events are
    passed on unread, and its clean end is its end.
    """

    __slots__ = (
        "_early",
        "_events",
        "done",
        "error",
        "finished",
        "frames",
        "openai",
        "telling",
        "usage",
    )

    def __init__(self, *, openai: bool, max_event: int = MAX_EVENT) -> None:
        self._events = WholeEvents(max_event)
        self._early: list[Chunk] = []
        self.openai = openai
        self.frames = False
        """An event with data has been passed on; in OpenAI's protocol, one with a choice."""
        self.finished = False
        """A finish_reason has been seen."""
        self.done = False
        """[DONE] has been seen, after an answer."""
        self.usage = Usage()
        """What the stream has said it used."""
        self.telling = b""
        """The JSON of the event that says most of the call: the first, or the last with usage."""
        self.error: BackendError | None = None
        """Why the stream is broken; the chunks that were given before it are whole."""

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that ``data`` completes, up to an error frame if there is one."""
        try:
            whole = self._events.feed(data)
        except BackendError as error:
            self._break(error)
            return []
        if not whole or self.error or self.done:
            return []
        if not self.frames:
            return self._each(whole)
        if not self.openai:
            return [Chunk(whole)]
        tokens, events = _plain(whole)
        if not events:
            return self._each(whole)
        return [Chunk(whole, tokens=None if tokens == events else tokens)]

    def end(self) -> list[Chunk]:
        """The stream has ended cleanly: what is left of it, and whether that was its end."""
        if self.done:
            return []
        rest = self._events.rest().strip()
        chunks: list[Chunk] = []
        if rest and (rest == DONE.strip() or _is_json(data_of(rest))):
            chunks = self._each(rest + b"\n\n")
        elif rest:
            self._break(_cut(" inside an event."))
        if self.error:
            return chunks
        if not self.frames:
            self._break(self._nothing())
        elif self.openai and not self.done and not self.finished:
            self._break(_cut(" without a finish_reason or [DONE]."))
        return chunks

    def _each(self, whole: bytes) -> list[Chunk]:
        """Event by event; neighbours that are plain become one chunk again."""
        chunks: list[Chunk] = []
        plain: list[Chunk] = []
        for event in split_events(whole):
            chunk = self._one(event)
            if self.error:
                break
            for one in self._after_early(chunk):
                if one.kind == "data" and one.usage is None:
                    plain.append(one)
                    continue
                _flush(plain, chunks)
                chunks.append(one)
        _flush(plain, chunks)
        return chunks

    def _after_early(self, chunk: Chunk | None) -> list[Chunk]:
        """A chunk and what waited for it; nothing while there is no answer."""
        if chunk is None:
            return []
        if not self.frames:
            self._early.append(chunk)
            if len(self._early) <= MAX_EARLY:
                return []
            self.frames = True
            chunks, self._early = self._early, []
            return chunks
        chunks, self._early = [*self._early, chunk], []
        return chunks

    def _one(self, event: bytes) -> Chunk | None:
        if self.done:
            return None
        payload = data_of(event)
        if not payload:
            # A comment before the first frame would commit the caller to this backend.
            return Chunk(event, tokens=0) if self.frames else None
        if not self.openai:
            self.frames = True
            return Chunk(event)
        if payload.strip() == b"[DONE]":
            if not self.frames:
                self._break(self._nothing())
                return None
            self.done = True
            return Chunk(event, "done")
        if event[:1] != b"d" and name_of(event) == b"error":
            self._break(_named_error(payload))
            return None
        try:
            return self._read(event, payload, _decode(payload))
        except UNREADABLE:
            return self._odd(event, payload)

    def _odd(self, event: bytes, payload: bytes) -> Chunk | None:
        """An event of another shape is passed on; one that is no JSON is the stream's end."""
        if not _is_utf8(payload):
            event, payload = _utf8(event), _utf8(payload)
        try:
            value = msgspec.json.decode(mended(payload))
        except UNREADABLE:
            self._break(malformed("The backend's stream holds an event that is no JSON."))
            return None
        return self._read(event, payload, _understood(value))

    def _read(self, event: bytes, payload: bytes, parsed: _Event) -> Chunk | None:
        if parsed.object == "error" or not is_hollow(parsed.error):
            self._break(failure_in(_object(payload)))
            return None
        self.telling = self.telling or payload
        tokens = 0
        for choice in parsed.choices or ():
            tokens += choice.tokens()
            if choice.finish_reason:
                self.finished = True
                if is_broken(choice.finish_reason):
                    self._break(failure_in(broken_choice(_object(payload).get("choices")) or {}))
                    return None
        self.frames = self.frames or bool(parsed.choices)
        usage = None if parsed.usage is None else self._told(parsed.usage, payload)
        if usage is not None and not parsed.choices:
            return Chunk(event, "usage", usage)
        return Chunk(event, "data", usage, None if tokens == 1 else tokens)

    def _told(self, stated: Any, payload: bytes) -> Usage | None:
        """The usage that an event states, where it states any."""
        usage = usage_in(stated)
        if not told(usage):
            return None
        self.usage, self.telling = usage, payload
        return usage

    def _nothing(self) -> BackendError:
        """What a stream means that has ended without an answer."""
        if not self.telling:
            return malformed("The backend opened a stream and closed it without an event.")
        return no_answer(_object(self.telling))

    def _break(self, error: BackendError) -> None:
        """After the first frame, whatever went wrong, the answer is cut."""
        cut = self.frames and error.failure is not FailureClass.TRUNCATED
        self.error = BackendError(FailureClass.TRUNCATED, error.message) if cut else error


def _plain(whole: bytes) -> tuple[int, int]:
    """The tokens and the number of events that hold nothing but pieces of an answer; no events
    where one of them holds more, or cannot be read."""
    events = whole.split(b"\n\n")
    if events.pop():
        return 0, 0
    tokens = 0
    for event in events:
        if not event.startswith(b"data: {"):
            return 0, 0
        try:
            parsed = _decode(event[6:])
        except UNREADABLE:
            return 0, 0
        if parsed.error is not None or parsed.usage is not None or not parsed.choices:
            return 0, 0
        for choice in parsed.choices:
            if choice.finish_reason is not None:
                return 0, 0
            delta = choice.delta
            text = None if delta is None else delta.content
            tokens += 1 if text and len(text) <= ONE_TOKEN else choice.tokens()
    return tokens, len(events)


def frame(payload: bytes) -> bytes:
    """One event that carries a JSON text (which holds no line break outside its strings)."""
    return b"data: %b\n\n" % payload


def _flush(plain: list[Chunk], chunks: list[Chunk]) -> None:
    if len(plain) == 1:
        chunks.append(plain[0])
    elif plain:
        tokens = sum(1 if chunk.tokens is None else chunk.tokens for chunk in plain)
        data = b"".join([chunk.data for chunk in plain])
        chunks.append(Chunk(data, tokens=None if tokens == len(plain) else tokens))
    plain.clear()


def _is_json(payload: bytes) -> bool:
    return read_if(payload, msgspec.Raw) is not None


def _object(payload: bytes) -> dict[str, Any]:
    return read_if(mended(payload), dict[str, Any]) or {}


def _named_error(payload: bytes) -> BackendError:
    """What an event means that is named an error."""
    return failure_in(_object(payload) or {"error": payload.decode("utf-8", "replace")})


def _cut(where: str) -> BackendError:
    return BackendError(FailureClass.TRUNCATED, _BROKE_OFF + where)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _utf8(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode()


def _understood(value: Any) -> _Event:
    """What an event says whose fields are not all of the protocol's types."""
    if not isinstance(value, dict):
        return _Event()
    choices = value.get("choices")
    kind = value.get("object")
    return _Event(
        choices=[_choice_in(one) for one in choices] if isinstance(choices, list) else None,
        usage=value.get("usage"),
        error=value.get("error"),
        object=kind if isinstance(kind, str) else None,
    )


def _choice_in(value: Any) -> _Choice:
    if not isinstance(value, dict):
        return _Choice()
    delta, reason = value.get("delta"), value.get("finish_reason")
    text = delta.get("content") if isinstance(delta, dict) else value.get("text")
    return _Choice(
        text=text if isinstance(text, str) else None,
        finish_reason=reason if isinstance(reason, str) else None,
    )
