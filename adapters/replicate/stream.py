"""The chunks of a Replicate prediction, from its event stream."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.chunks import ChunkStream
from adapters.http.named_events import NamedEvent, NamedEvents
from adapters.http.predictions import Prediction, failure_of
from adapters.http.response import Body
from adapters.polling import after_taken
from adapters.settings import Secret
from adapters.shapes.error_words import words_in
from adapters.shapes.json_texts import read_if
from adapters.types import Call, Progress, Usage
from adapters.whole_events import MAX_EVENT

_SILENT = b"408"
"""What the comment begins with that the platform sends before it closes a silent stream."""
_RECORD_WAIT = 10.0
"""Seconds that a prediction's record may lag behind the end of its stream."""


class PredictionSource(Protocol):
    """What a stream asks of the adapter."""

    async def open_stream(self, url: str, last_id: str | None, deadline: float) -> Body:
        """The events from after ``last_id`` on, or from the first. Raises BackendError."""
        ...

    async def look(self, prediction_id: str, progress: Progress) -> None:
        """Notes in ``progress`` whether the prediction still waits."""
        ...

    async def final(self, prediction_id: str, deadline: float, progress: Progress) -> Prediction:
        """The prediction once it has ended. Raises TIMEOUT, or AMBIGUOUS."""
        ...

    def conclude(self, call_id: str, prediction: Prediction) -> Usage:
        """The prediction has ended: what it used."""
        ...

    async def abandon(self, call_id: str) -> Usage | None:
        """Nobody can use the rest: what it used, where it was stopped."""
        ...


class PredictionOnlooker:
    """The source of one who only looks on: where the stream broke, the prediction runs on, since
    its answer can still be asked for."""

    def __init__(self, source: PredictionSource) -> None:
        self.open_stream = source.open_stream
        self.look = source.look
        self.final = source.final
        self.conclude = source.conclude

    async def abandon(self, call_id: str) -> Usage | None:
        """Stops nothing."""
        return None


class PredictionStream(ChunkStream):
    """Events ``output`` (raw text), ``error`` and ``done``, which alone is an end.

    A stream that is closed for its silence is taken up again after the last event's id. One that
    breaks before its first event has lost nothing: the prediction's record is waited for.
    """

    def __init__(
        self,
        source: PredictionSource,
        clock: Clock,
        *,
        prediction: Prediction,
        url: str,
        call: Call,
        deadline: float,
        every: float,
        secrets: tuple[Secret, ...] = (),
        max_event: int = MAX_EVENT,
    ) -> None:
        super().__init__(call.task, secrets, max_event=max_event)
        self._max_event = max_event
        self._source = source
        self._clock = clock
        self._id = prediction.id
        self._url = url
        self._call = call
        self._deadline = deadline
        self._every = every
        self._events = NamedEvents(self._max_event)
        self._body: Body | None = None
        self._last_id: str | None = None
        self._silent = False
        self._opened = clock.monotonic()

    async def _more(self) -> None:
        try:
            data = await self._read()
        except BackendError as error:
            await self._lost(error)
            return
        events = self._events.feed(data) if data else self._events.rest()
        for event in events:
            await self._take(event)
        if not data and not self._ended:
            await self._closed()

    async def _read(self) -> bytes:
        if self._body is None:
            self._body = await self._source.open_stream(self._url, self._last_id, self._deadline)
        return await self._body.read()

    async def _take(self, event: NamedEvent) -> None:
        if self._ended or self._reader.error is not None:
            return
        self._last_id = event.id or self._last_id
        self._silent = self._silent or event.comment.startswith(_SILENT)
        if event.name == "output":
            self._silent = False
            self._put_text(event.data)
        elif event.name == "done":
            await self._done(_field(event.data, "reason"))
        elif event.name == "error":
            await self._failed(_field(event.data, "detail"))

    def _put_text(self, text: bytes) -> None:
        """Text of the answer; for the tasks of OpenAI's protocol it is an event stream itself."""
        if self._task == "infer":
            self._put(msgspec.json.encode(text.decode("utf-8", "replace")))
        else:
            self._feed(text)

    async def _closed(self) -> None:
        """The body has ended without ``done``."""
        self._let_go()
        if not self._silent or (self._begun and self._last_id is None):
            await self._lost(
                BackendError(FailureClass.TRUNCATED, "The stream ended before the prediction did.")
            )
            return
        self._silent = False
        self._events = NamedEvents(self._max_event)
        if not self._begun:
            await self._source.look(self._id, self._call.progress)
        await self._clock.sleep(self._every)

    async def _lost(self, error: BackendError) -> None:
        self._let_go()
        if self._clock.monotonic() >= self._deadline:
            raise after_taken(error)
        if not self._begun:
            progress = self._call.progress
            self._complete(await self._source.final(self._id, self._deadline, progress))
            return
        usage = await self._give_up()
        raise BackendError(
            FailureClass.TRUNCATED,
            "The backend's stream broke off.",
            usage=usage,
            detail=str(error),
        )

    async def _done(self, reason: str) -> None:
        record = await self._record()
        if record is not None and not (reason and record.status == "succeeded"):
            self._complete(record)
        elif reason:
            raise BackendError(self._class_of(reason), f"The prediction ended: {reason}.")
        else:
            self._finish(b"", Usage(exec_s=self._clock.monotonic() - self._opened))
        self._let_go()

    async def _failed(self, said: str) -> None:
        record = await self._record()
        if record is None:
            usage = await self._give_up()
        else:
            usage = self._source.conclude(self._call.id, record)
        if record is not None and (error := self._failure(record, usage or Usage())):
            raise error
        self._broken(FailureClass.FAILED, said or "The prediction failed.", usage)

    async def _record(self) -> Prediction | None:
        """The prediction as it ended, where the platform says so in time."""
        soon = min(self._deadline, self._clock.monotonic() + _RECORD_WAIT)
        try:
            return await self._source.final(self._id, soon, self._call.progress)
        except BackendError:
            return None

    def _complete(self, record: Prediction) -> None:
        usage = self._source.conclude(self._call.id, record)
        error = self._failure(record, usage)
        if error is not None:
            raise error
        self._finish(bytes(record.output), usage)

    def _failure(self, record: Prediction, usage: Usage) -> BackendError | None:
        return failure_of(record, usage, self._secrets, late=self._is_late())

    def _class_of(self, reason: str) -> FailureClass:
        """Of an end of which there is no record."""
        if reason != "canceled":
            return FailureClass.FAILED
        return FailureClass.TIMEOUT if self._is_late() else FailureClass.CANCELLED

    def _is_late(self) -> bool:
        return self._clock.monotonic() >= self._deadline

    async def _give_up(self) -> Usage | None:
        """Nobody can use the rest: the prediction is stopped."""
        return await self._source.abandon(self._call.id)

    def _let_go(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()


def _field(data: bytes, field: str) -> str:
    return words_in((read_if(data, dict[str, Any]) or {}).get(field))
