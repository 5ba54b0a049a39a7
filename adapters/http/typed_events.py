"""Answers of Anthropic's /v1/messages and OpenAI's /v1/responses, whole and as their events. Pure.

Each event says its type in its data. They are passed on as they came, those of unknown types too;
what is read on the way is an end, an error, the usage, and about how much was said:

    message_stop, response.completed, response.incomplete       the end, and nothing after it
    error, response.failed, an error of whatever shape          an error
    ...delta                                                    a piece of answer
    message_start, message_delta, and what ends a response      the usage

Sources: https://docs.claude.com/en/docs/build-with-claude/streaming and
https://platform.openai.com/docs/api-reference/responses-streaming, as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.answers import check_answer, failure_in, failure_of, readable
from adapters.http.sse import EventReader, named_error, with_data
from adapters.http.stated_usage import told, usage_in, with_stated
from adapters.http.token_counts import tokens_made, tokens_of_piece
from adapters.settings import Secret
from adapters.shapes.complaints import is_failure_name, is_hollow
from adapters.shapes.json_texts import UNREADABLE, mended, value_of
from adapters.shapes.task_answers import is_answer
from adapters.types import Chunk, Task, Usage
from adapters.whole_events import MAX_EVENT, data_of, name_of, stray_text

_ENDS = frozenset(("message_stop", "response.completed", "response.incomplete"))
_KNOWN = ("message_", "content_block_", "response.", "ping", "keepalive")
"""How the types of both protocols begin."""
_PIECES = ("text", "thinking", "partial_json")
"""Where a delta of Anthropic's has its text; that of a response is its text."""


class _Event(msgspec.Struct):
    type: Any = None
    delta: Any = None
    message: Any = None
    response: Any = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class TypedReader(EventReader):
    """Feeds on bytes, gives Chunks; see ``EventReader``."""

    __slots__ = ("_ended", "_stated")

    def __init__(self, *, max_event: int = MAX_EVENT) -> None:
        super().__init__(openai=True, max_event=max_event)
        self._stated: dict[str, Any] = {}
        self._ended = False
        """It has been said why the answer ended."""

    def feed(self, data: bytes) -> list[Chunk]:
        try:
            whole = self._events.feed(data)
        except BackendError as error:
            self._break(error)
            return []
        return [] if not whole or self.error or self.done else self._each(whole)

    def plain(self, data: bytes) -> int:
        """None of it is told without being fed."""
        return 0

    def end(self) -> list[Chunk]:
        """The body has ended; without an end of the answer it was cut."""
        if not self.done and self.error is None:
            if self.answered:
                said = "The backend's stream ended before its answer did."
                self._break(BackendError(FailureClass.TRUNCATED, said))
            else:
                self._break(self._nothing())
        return []

    def _one(self, event: bytes) -> Chunk | None:
        payload = data_of(event)
        if self.done:
            return None
        if text := stray_text(event):
            self._note(text)
        if self.error is None and is_failure_name(name_of(event)) and not payload:
            self._break(named_error(payload))
        if self.error is not None:
            return None
        if not payload:
            return Chunk(event, tokens=0) if self.frames else None
        try:
            readable = mended(payload)
            read = _decode(readable)
        except UNREADABLE:
            failure = failure_of(value_of(payload))
            said = "The backend's stream holds an event of no known shape."
            self._break(failure or malformed(said))
            return None
        return self._of_type(with_data(event, payload, readable), readable, read)

    def _of_type(self, event: bytes, payload: bytes, read: _Event) -> Chunk | None:
        kind = read.type if isinstance(read.type, str) else ""
        response = read.response if isinstance(read.response, dict) else {}
        usage = self._told(_usage_in(read, response), payload)
        failure = self._failure(event, payload, read, kind, response, usage)
        if failure is not None:
            self._break(failure)
            return None
        self.telling = self.telling or payload
        if kind in _ENDS:
            return self._end_of(event, payload, response)
        tokens = _tokens_in(read.delta) if kind.endswith("delta") else 0
        stop = read.delta.get("stop_reason") if isinstance(read.delta, dict) else None
        self._ended = self._ended or isinstance(stop, str)
        self.answered = self.answered or tokens > 0 or self._ended
        self.frames = self.frames or tokens > 0
        if tokens or self._ended:
            self._stray = b""
        elif not kind.startswith(_KNOWN):
            self._stray = payload
        return Chunk(event, "data", usage, None if tokens == 1 else tokens)

    def _failure(
        self,
        event: bytes,
        payload: bytes,
        read: _Event,
        kind: str,
        response: dict[str, Any],
        usage: Usage | None,
    ) -> BackendError | None:
        """What an event means that says that something failed: by its type, its name, or, where it
        has no type of the protocol, in whatever shape."""
        said = value_of(payload)
        inner = response.get("error")
        named = _is_failure(kind) or _is_failure(name_of(event).decode("utf-8", "replace"))
        if named or not is_hollow(read.error) or (kind in _ENDS and not is_hollow(inner)):
            return failure_in({"error": read.error or inner or said}, usage=usage)
        return None if kind.startswith(_KNOWN) else failure_of(said, usage=usage)

    def _end_of(self, event: bytes, payload: bytes, response: dict[str, Any]) -> Chunk | None:
        """The end of an answer, if there was any."""
        whole = is_answer("responses", response)
        status = response.get("status")
        if isinstance(status, str) and is_failure_name(status):
            self._break(failure_in({"error": response}))
        elif not (self.answered or whole):
            self._break(self._nothing())
        elif self._stray and not self._ended and not whole:
            self._break(self._cut_short(" without an answer's end."))
        if self.error is not None:
            return None
        self.frames = self.done = True
        return Chunk(event, "done")

    def _told(self, stated: Any, payload: bytes) -> Usage | None:
        """Of a message its start says what was read, and its end what was written."""
        if not isinstance(stated, dict):
            return None
        self._stated |= {name: value for name, value in stated.items() if value is not None}
        usage = usage_in(self._stated)
        if not told(usage):
            return None
        self.usage, self.telling = usage, payload
        return usage


def _is_failure(name: str) -> bool:
    """Of the protocols' own types that of a whole response alone: one of its tools may fail, such
    as ``response.mcp_call.failed``, and the answer goes on."""
    part = name.startswith(_KNOWN) and name.count(".") != 1
    return not part and is_failure_name(name)


def _usage_in(read: _Event, response: dict[str, Any]) -> Any:
    message = read.message if isinstance(read.message, dict) else {}
    return read.usage or message.get("usage") or response.get("usage")


def _tokens_in(delta: Any) -> int:
    if isinstance(delta, str):
        return tokens_of_piece(delta)
    texts = (delta.get(name) for name in _PIECES) if isinstance(delta, dict) else ()
    return sum(tokens_of_piece(text) for text in texts if isinstance(text, str))


def typed_answer(
    body: bytes, task: Task, usage: Usage, secrets: Sequence[Secret] = ()
) -> tuple[bytes, Usage]:
    """A whole answer as every reader of JSON takes it, and what it says that it used, beside what
    is known of it. Raises what an error in it means, and MALFORMED where it is none; ``usage`` is
    what was used all the same."""
    body = readable(body, usage)
    said: Any = value_of(body)
    fields: dict[str, Any] = said if isinstance(said, dict) else {}
    used = with_stated(usage, usage_in(fields.get("usage")))
    check_answer(said, task, secrets, used)
    if used.output_tokens:
        return body, used
    made = fields.get("content" if task == "messages" else "output")
    text = tokens_made({"choices": [{"message": {"content": made}}]})
    return body, msgspec.structs.replace(used, text_tokens=text or None)
