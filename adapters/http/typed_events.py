"""Answers of Anthropic's /v1/messages and OpenAI's /v1/responses, whole and as their events. Pure.

Each event says its type in its data. They are passed on as they came, those of unknown types too;
what is read on the way is an end, an error, the usage, and about how much was said:

    message_stop, response.completed, response.incomplete       the end, and nothing after it
    error, response.failed                                      an error
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
from adapters.http.answers import failure_in, is_hollow, no_answer
from adapters.http.failures import UNREADABLE, read_if
from adapters.http.sse import EventReader
from adapters.http.stated_usage import told, usage_in, with_stated
from adapters.http.token_counts import tokens_made, tokens_of_piece
from adapters.settings import Secret
from adapters.types import Chunk, Usage
from adapters.whole_events import MAX_EVENT, data_of

_ENDS = frozenset(("message_stop", "response.completed", "response.incomplete"))
_ERRORS = frozenset(("error", "response.failed"))
_PIECES = ("text", "thinking", "partial_json")
"""Where a delta of Anthropic's has its text; that of a response is its text."""


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    message: Any = None
    response: Any = None
    usage: Any = None
    error: Any = None


_decode = msgspec.json.Decoder(_Event).decode


class TypedReader(EventReader):
    """Feeds on bytes, gives Chunks; see ``EventReader``."""

    __slots__ = ("_stated",)

    def __init__(self, *, max_event: int = MAX_EVENT) -> None:
        super().__init__(openai=True, max_event=max_event)
        self._stated: dict[str, Any] = {}

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
            if self.frames:
                said = "The backend's stream ended before its answer did."
                self._break(BackendError(FailureClass.TRUNCATED, said))
            else:
                self._break(self._nothing())
        return []

    def _one(self, event: bytes) -> Chunk | None:
        payload = data_of(event)
        if self.done:
            return None
        if not payload:
            return Chunk(event, tokens=0) if self.frames else None
        try:
            read = _decode(payload)
        except UNREADABLE:
            self._break(malformed("The backend's stream holds an event of no known shape."))
            return None
        return self._of_type(event, payload, read)

    def _of_type(self, event: bytes, payload: bytes, read: _Event) -> Chunk | None:
        response = read.response if isinstance(read.response, dict) else {}
        usage = self._told(_usage_in(read, response), payload)
        if read.type in _ERRORS or not is_hollow(read.error):
            said = read.error or response.get("error") or read_if(payload, Any)
            self._break(failure_in({"error": said}, usage=usage))
            return None
        self.telling = self.telling or payload
        if read.type in _ENDS:
            self.frames = self.done = True
            return Chunk(event, "done")
        tokens = _tokens_in(read.delta) if read.type.endswith("delta") else 0
        self.frames = self.frames or tokens > 0
        return Chunk(event, "data", usage, None if tokens == 1 else tokens)

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


def _usage_in(read: _Event, response: dict[str, Any]) -> Any:
    message = read.message if isinstance(read.message, dict) else {}
    return read.usage or message.get("usage") or response.get("usage")


def _tokens_in(delta: Any) -> int:
    if isinstance(delta, str):
        return tokens_of_piece(delta)
    texts = (delta.get(name) for name in _PIECES) if isinstance(delta, dict) else ()
    return sum(tokens_of_piece(text) for text in texts if isinstance(text, str))


class _Whole(msgspec.Struct):
    type: Any = None
    status: Any = None
    error: Any = None
    content: Any = None
    output: Any = None
    usage: Any = None


_decode_whole = msgspec.json.Decoder(_Whole).decode


def usage_of_typed(body: bytes, usage: Usage, secrets: Sequence[Secret] = ()) -> Usage:
    """What a whole answer says that it used, beside what is known of it. Raises what an error in it
    means, and MALFORMED where it is none; ``usage`` is what was used all the same."""
    try:
        whole = _decode_whole(body)
    except UNREADABLE as error:
        said = "The backend's answer is not what was asked for."
        raise malformed(said, usage=usage, detail=str(error)) from None
    used = with_stated(usage, usage_in(whole.usage))
    if whole.type == "error" or whole.status == "failed" or not is_hollow(whole.error):
        raise failure_in({"error": whole.error or read_if(body, Any)}, secrets, used)
    made = whole.content if isinstance(whole.content, list) else whole.output
    if not isinstance(made, list):
        raise no_answer(read_if(body, Any), secrets, used)
    if used.output_tokens:
        return used
    text = tokens_made({"choices": [{"message": {"content": made}}]})
    return msgspec.structs.replace(used, text_tokens=text or None)
