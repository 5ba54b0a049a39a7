"""Server-sent events in OpenAI's dialect: whole events out of any split of bytes.

Bytes are passed on as they came; each event is read on the way, which is what tells an end, an
error, the usage, and how much text has come. Dialects that are read: usage on a last event with
``choices: []`` (OpenAI, vLLM), or on the finishing event, or on all; ids that change; comments and
``event:`` lines; ``\\n``, ``\\r\\n`` and ``\\r`` as line ends; a byte order mark; fields of no
known name. Bytes that are no UTF-8 are replaced, as the standard has it, and NaN is null.

An answer is what holds a piece of one, and ends with a finish_reason or [DONE]. It ends in an error

* where an event says that something failed, by its name or in whatever shape
  (``adapters/shapes/complaints.py``), or a choice ended in an error;
* at an event that is no JSON, since nobody could say what is missing without it;
* where what came last was no event of the protocol, and no choice has said why it ended: such
  events are passed on, but nobody takes one for an end;
* at [DONE] while one choice of several has not said why it ended, where others have;
* where it ends without a token and without a finish_reason. What comes before the first token
  waits for it, so that another backend can still be asked.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.answers import failure_in, failure_of, no_answer
from adapters.http.asked_choices import Choices
from adapters.http.plain_events import (
    Choice,
    KnownEvent,
    ReadEvent,
    decode,
    known_event,
    plain_tokens,
)
from adapters.http.stated_usage import told, usage_in
from adapters.http.token_counts import tokens_in_event
from adapters.shapes.complaints import is_failure_name
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import UNREADABLE, mended, read_if, value_in, value_of
from adapters.types import Chunk, Usage
from adapters.whole_events import (
    MAX_EVENT,
    WholeEvents,
    data_of,
    name_of,
    split_events,
    stray_text,
)

DONE = b"data: [DONE]\n\n"
MAX_EARLY = 64
"""Events that hold nothing yet and wait for the first token; what comes after these and holds none
either is dropped, for a caller who has waited so long misses no more of the kind."""
_LOOKS = 3
"""Of so many events of a stream it is found out whether the next ones are like it."""
_BROKE_OFF = "The backend's stream ended"


class EventReader:
    """Feeds on bytes, gives Chunks. Pure: no I/O, no time.

    ``openai`` is False for a stream that is nobody's protocol but the caller's: its events are
    passed on unread, and its clean end is its end. ``asked`` is the body of the call: it says how
    many choices have to end, where no [DONE] says that they have.
    """

    __slots__ = (
        "_early",
        "_events",
        "_known",
        "_looks",
        "_slow",
        "_stray",
        "answered",
        "choices",
        "done",
        "error",
        "frames",
        "openai",
        "telling",
        "usage",
    )

    def __init__(self, *, openai: bool, max_event: int = MAX_EVENT, asked: bytes = b"") -> None:
        self.choices = Choices(asked)
        self._events = WholeEvents(max_event)
        self._early: list[Chunk] = []
        self._known: KnownEvent | None = None
        self._looks = _LOOKS
        self._slow = True
        """What comes next is to be fed, whatever it is."""
        self._stray = b""
        """What came last, after any piece of answer, that is no event of the protocol."""
        self.openai = openai
        self.frames = False
        """An event with data has been passed on; in OpenAI's protocol, one with a token or the end
        of a choice."""
        self.answered = False
        """A piece of answer has come, or the end of one; in OpenAI's protocol."""
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
        if self._slow:
            return self._each(whole)
        if self._known is not None and self._known.count(whole):
            return [Chunk(whole)]
        tokens, events = plain_tokens(whole, self.choices.begun)
        if not events:
            return self._each(whole)
        return [Chunk(whole, tokens=None if tokens == events else tokens)]

    def plain(self, data: bytes) -> int:
        """How many tokens ``data`` holds where it is whole events of nothing but pieces of an
        answer, which need not be fed; 0 where it is to be fed."""
        if self._slow or self._events.waits:
            return 0
        known = self._known
        if known is not None and (tokens := known.count(data)):
            return tokens
        tokens, _ = plain_tokens(data, self.choices.begun)
        if tokens == 1 and self._looks:
            self._looks -= 1
            self._known = known_event(data)
        return tokens

    def end(self) -> list[Chunk]:
        """The stream has ended cleanly: what is left of it, and whether that was its end."""
        if self.done:
            return []
        rest = self._events.rest().strip()
        chunks: list[Chunk] = []
        if rest and (rest == DONE.strip() or _is_json(data_of(rest))):
            chunks = self._each(rest + b"\n\n")
        elif (text := stray_text(rest)) and not data_of(rest):
            self._note(text)
        elif rest:
            self._break(_cut(" inside an event."))
        if self.error:
            return chunks
        if not self.frames:
            self._break(self._nothing())
        elif self.openai and not self.done and not self.choices.finished:
            self._break(self._cut_short(" without a finish_reason or its end marker."))
        return chunks

    def close(self) -> None:
        """Somebody else says that the stream has ended well: it is broken where it cannot have."""
        if self.openai and not self.done and self.error is None and self.frames:
            self._check_end()

    def _check_end(self) -> None:
        """Breaks at an end to which there is no answer, or which is none of it."""
        if not self.answered:
            self._break(self._nothing())
        elif self._stray and not self.choices.ended:
            self._break(self._cut_short(" without an answer's end."))
        elif unfinished := self.choices.unfinished:
            self._break(_cut(f" in the middle of choice {min(unfinished)}, with its end marker."))

    def _cut_short(self, where: str) -> BackendError:
        """An end that is none, in the words of what came last where that has any."""
        said = words_in(value_of(self._stray)) or self._stray.decode("utf-8", "replace")
        return _cut(f"{where[:-1]}: {said}") if said else _cut(where)

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
        over = self.error is not None or self.done
        self._slow = over or bool(self._stray) or not (self.openai and self.answered)
        return chunks

    def _after_early(self, chunk: Chunk | None) -> list[Chunk]:
        """A chunk and what waited for it; nothing while there is no answer."""
        if chunk is None:
            return []
        if not self.frames:
            if len(self._early) < MAX_EARLY:
                self._early.append(chunk)
            return []
        chunks, self._early = [*self._early, chunk], []
        return chunks

    def _one(self, event: bytes) -> Chunk | None:
        if self.done:
            return None
        payload = data_of(event)
        named = event.find(b"event:") >= 0 and self.openai and is_failure_name(name_of(event))
        if self.openai and (text := stray_text(event)):
            self._note(text)
            if self.error is not None:
                return None
        if not payload and not named:
            # A comment alone would commit the caller to this backend.
            kept = self.frames or 0 < len(self._early) < MAX_EARLY // 2
            return Chunk(event, tokens=0) if kept else None
        if not self.openai:
            self.frames = True
            return Chunk(event)
        if payload.strip() == b"[DONE]":
            self._check_end()
            if self.error is not None:
                return None
            self.done = True
            return Chunk(event, "done")
        if named:
            self._break(named_error(payload))
            return None
        try:
            return self._read(event, payload, decode(payload))
        except UNREADABLE:
            return self._odd(event, payload)

    def _odd(self, event: bytes, payload: bytes) -> Chunk | None:
        """An event of another shape is passed on; one that is no JSON is the stream's end."""
        if not _is_utf8(payload):
            event, payload = _utf8(event), _utf8(payload)
        readable = mended(payload)
        try:
            value = value_in(readable)
        except UNREADABLE:
            self._break(malformed("The backend's stream holds an event that is no JSON."))
            return None
        return self._read(with_data(event, payload, readable), readable, _understood(value))

    def _note(self, text: bytes) -> None:
        """Text that stands in no field: no reader of events sees it, and it may tell of an end."""
        failure = failure_of(value_of(text))
        if failure is not None:
            self._break(failure)
        elif not self.choices.ended:
            self._stray = text

    def _read(self, event: bytes, payload: bytes, parsed: ReadEvent) -> Chunk | None:
        usage = None if parsed.usage is None else self._told(parsed.usage, payload)
        if parsed.may_have_failed():
            failure = failure_of(value_of(payload), usage=usage)
            if failure is not None:
                self._break(failure)
                return None
        self.telling = self.telling or payload
        tokens = 0
        for choice in parsed.choices or ():
            tokens += choice.tokens()
            self.choices.begun.add(choice.index)
            if choice.finish_reason:
                self.choices.ended.add(choice.index)
                self.answered = True
        if parsed.choices and not tokens:
            tokens = tokens_in_event(value_of(payload))
        self.answered = self.answered or tokens > 0
        self.frames = self.frames or self.answered
        if tokens or self.choices.ended:
            self._stray = b""
        elif parsed.choices is None and usage is None:
            self._stray = payload
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
        if not (said := self._stray or self.telling):
            return malformed("The backend opened a stream and closed it without an event.")
        return no_answer(value_of(said))

    def _break(self, error: BackendError) -> None:
        """After the first frame, whatever went wrong, the answer is cut."""
        if self.frames and error.failure is not FailureClass.TRUNCATED:
            error = BackendError(FailureClass.TRUNCATED, error.message, usage=error.usage)
        self.error, self._slow = error, True


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
    value = value_of(payload)
    return value if isinstance(value, dict) else {}


def named_error(payload: bytes) -> BackendError:
    """What an event means that is named an error."""
    return failure_in(_object(payload) or {"error": payload.decode("utf-8", "replace")})


def with_data(event: bytes, payload: bytes, readable: bytes) -> bytes:
    """An event with its data as every reader of JSON takes them."""
    if payload == readable:
        return event
    if payload in event:
        return event.replace(payload, readable)
    return frame(readable.replace(b"\n", b"\ndata: "))


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


def _understood(value: Any) -> ReadEvent:
    """What an event says whose fields are not all of the protocol's types."""
    if not isinstance(value, dict):
        return ReadEvent()
    choices = value.get("choices")
    kind = value.get("object")
    return ReadEvent(
        choices=_choices_in(choices) if isinstance(choices, list) else None,
        usage=value.get("usage"),
        error=value.get("error"),
        object=kind if isinstance(kind, str) else None,
    )


def _choices_in(values: list[Any]) -> list[Choice] | None:
    """None where all of them are none."""
    if values and not any(isinstance(value, dict) for value in values):
        return None
    return [_choice_in(value) for value in values]


def _choice_in(value: Any) -> Choice:
    if not isinstance(value, dict):
        return Choice()
    index, reason = value.get("index"), value.get("finish_reason")
    return Choice(
        index=index if isinstance(index, int) else 0,
        finish_reason=reason if isinstance(reason, str) else None,
        error=value.get("error"),
    )
