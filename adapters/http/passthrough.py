"""A model's own bytes as a stream of events: server-sent events as they are, text as it comes."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, malformed
from adapters.http.api import Api
from adapters.http.chunks import END_GRACE_S, ChunkStream
from adapters.http.failures import asked_by
from adapters.http.opened import are_events, as_chunks, as_one_event, each, rest_of, start_of
from adapters.http.response import Body
from adapters.settings import Secret
from adapters.types import Chunk, Reply, Task, Usage
from adapters.whole_events import MAX_EVENT


class Passthrough(ChunkStream):
    """The server's own events. Its clean end is an end, but for OpenAI's protocol."""

    def __init__(
        self,
        body: Body,
        task: Task,
        clock: Clock,
        usage: Usage,
        secrets: tuple[Secret, ...] = (),
        *,
        begun: bytes = b"",
        max_event: int = MAX_EVENT,
        asked: bytes = b"",
    ) -> None:
        """``usage`` is what was used before the answer began; ``exec_s`` counts from now on top
        of it. ``begun`` is what has been read of the body, ``asked`` the body of the call."""
        super().__init__(task, secrets, max_event=max_event, asked=asked)
        self._body = body
        self._start = begun
        self._clock = clock
        self._usage = usage
        self._began = clock.monotonic()

    async def _more(self) -> None:
        data = await self._read()
        if data:
            self._feed(data)
        else:
            self._ready.extend(chunk for chunk in self._reader.end() if chunk.kind != "done")
        if self._reader.error is None and (self._reader.done or not data):
            self._close()

    async def _read(self) -> bytes:
        start, self._start = self._start, b""
        return start or await self._body.read()

    def _close(self) -> None:
        now = self._clock.monotonic()
        ran = (self._usage.exec_s or 0.0) + now - self._began
        self._finish(b"", msgspec.structs.replace(self._usage, exec_s=ran))
        self._body.leave(now + END_GRACE_S)

    def _let_go(self) -> None:
        self._body.close()


class TextPassthrough(Passthrough):
    """Text that is no event stream: each piece, as it came, is the JSON string of one event."""

    _decoder: codecs.IncrementalDecoder | None = None

    async def _more(self) -> None:
        data = await self._read()
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = self._decoder.decode(data, not data)
        if text:
            self._feed(b"data: %b\n\n" % msgspec.json.encode(text))
        if data:
            return
        if not self._begun:
            raise malformed("The backend opened a stream and sent nothing.", usage=self._usage)
        self._close()


async def stream_of(
    api: Api,
    body: Body,
    task: Task,
    usage: Usage,
    *,
    limit: int,
    max_event: int = MAX_EVENT,
    events: type[Passthrough] = Passthrough,
    asked: bytes = b"",
) -> Reply:
    """The stream that a body is, whatever it is labelled: ``events`` of the server's own, text,
    or one whole answer, of at most ``limit`` bytes. ``asked`` is the body of the call. Raises
    BackendError where it is none of them, or breaks before its first chunk."""
    kind = body.header(b"content-type") or ""
    declared = kind.startswith("text/event-stream")
    known = task != "infer"
    begun = b"" if declared and not known else await start_of(body, of_protocol=known)
    events_come = are_events(begun, of_protocol=known)
    if begun and not events_come and (known or "json" in kind or "html" in kind):
        data = await rest_of(body, begun, limit)
        if task == "infer":
            return _streamed(each(as_one_event(data, kind, usage)))
        return _streamed(each(as_chunks(data, task, usage, api.secrets)))
    text = not known and not declared and not events_come
    chunks = (TextPassthrough if text else events)(
        body, task, api.clock, usage, api.secrets, begun=begun, max_event=max_event, asked=asked
    )
    try:
        await chunks.first()
    except BackendError as error:
        raise asked_by(error, body.headers, api.clock.time()) from None
    return _streamed(chunks)


def _streamed(chunks: AsyncIterator[Chunk]) -> Reply:
    return Reply(content_type="text/event-stream", chunks=chunks)
