"""``/generate_stream`` of Text Generation Inference: events of tokens, of which the last one holds
the whole text. There is no ``[DONE]``.

Source: https://huggingface.co/docs/text-generation-inference, specification of 3.3.
"""

from __future__ import annotations

from typing import Any

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.chunks import END_GRACE_S, ChunkStream
from adapters.http.failures import classify_error
from adapters.http.response import Body
from adapters.http.sse import frame
from adapters.http.token_counts import count_of
from adapters.settings import Secret
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read_if
from adapters.types import Chunk, Usage
from adapters.whole_events import MAX_EVENT, WholeEvents, data_of, split_events


class _Event(msgspec.Struct):
    generated_text: str | None = None
    details: dict[str, Any] | None = None
    error: Any = None
    error_type: str | None = None


_NO_TOKEN = _Event(error="The backend's stream holds an event that is no token.")
_BY_TYPE = {
    "overloaded": FailureClass.OVERLOADED,
    "validation": FailureClass.INVALID,
    "tokenizer": FailureClass.INVALID,
}


class TokenStream(ChunkStream):
    """The events, framed as everywhere. A good end is an event with ``generated_text``."""

    def __init__(
        self,
        body: Body,
        clock: Clock,
        started: float,
        secrets: tuple[Secret, ...] = (),
        *,
        max_event: int = MAX_EVENT,
    ) -> None:
        super().__init__("infer", secrets)
        self._body = body
        self._clock = clock
        self._started = started
        self._events = WholeEvents(max_event)
        self._whole: _Event | None = None

    async def _more(self) -> None:
        data = await self._body.read()
        if not data:
            self._end()
            return
        for event in split_events(self._events.feed(data)):
            self._take(event)
            if self._reader.error is not None:
                return

    def _take(self, event: bytes) -> None:
        payload = data_of(event).strip()
        if not payload:
            return
        found = read_if(payload, _Event) or _NO_TOKEN
        if found.error is not None:
            self._fail(found)
            return
        if found.generated_text is not None:
            self._whole = found
        self._reader.frames = True
        self._ready.append(Chunk(frame(payload)))

    def _fail(self, found: _Event) -> None:
        """Behind the chunks that came before it."""
        failure = _BY_TYPE.get(found.error_type or "", classify_error({"type": found.error_type}))
        self._reader.error = BackendError(failure, words_in(found.error) or "The stream failed.")

    def _end(self) -> None:
        now = self._clock.monotonic()
        if self._whole is None:
            failure = FailureClass.TRUNCATED if self._begun else FailureClass.FAILED
            raise BackendError(failure, "The backend's stream ended before its text did.")
        self._finish(b"", usage_of(self._whole.details, now - self._started))
        self._body.leave(now + END_GRACE_S)

    def _let_go(self) -> None:
        self._body.close()


def usage_of(details: dict[str, Any] | None, seconds: float) -> Usage:
    """``details`` of a generation, where they were asked for or given."""
    counts = details or {}
    return Usage(
        input_tokens=count_of(counts.get("input_length")),
        output_tokens=count_of(counts.get("generated_tokens")),
        exec_s=seconds,
    )
