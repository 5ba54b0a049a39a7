"""A model's own bytes as a stream of events: server-sent events as they are, text as it comes."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator

import msgspec

from adapters.base import Clock
from adapters.errors import FailureClass
from adapters.http.chunks import END_GRACE_S, ChunkStream
from adapters.http.failures import read
from adapters.http.response import Body
from adapters.http.sse import frame
from adapters.settings import Secret
from adapters.types import Chunk, Task, Usage


class Passthrough(ChunkStream):
    """The server's own events. Its clean end is an end, but for OpenAI's protocol."""

    def __init__(
        self,
        body: Body,
        task: Task,
        clock: Clock,
        usage: Usage,
        secrets: tuple[Secret, ...] = (),
    ) -> None:
        """``usage`` is what was used before the answer began; ``exec_s`` counts from now on top
        of it."""
        super().__init__(task, secrets)
        self._body = body
        self._clock = clock
        self._usage = usage
        self._began = clock.monotonic()

    async def _more(self) -> None:
        data = await self._body.read()
        if data:
            self._feed(data)
        else:
            self._ready.extend(chunk for chunk in self._reader.end() if chunk.kind != "done")
        if self._reader.error is None and (self._reader.done or not data):
            self._close()

    def _close(self) -> None:
        now = self._clock.monotonic()
        ran = (self._usage.exec_s or 0.0) + now - self._began
        self._finish(b"", msgspec.structs.replace(self._usage, exec_s=ran))
        self._body.leave(now + END_GRACE_S)

    def _let_go(self) -> None:
        self._body.close()


class TextPassthrough(Passthrough):
    """Text that is no event stream: each piece, as it came, is the JSON string of one event."""

    def __init__(
        self,
        body: Body,
        task: Task,
        clock: Clock,
        usage: Usage,
        secrets: tuple[Secret, ...] = (),
    ) -> None:
        super().__init__(body, task, clock, usage, secrets)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    async def _more(self) -> None:
        data = await self._body.read()
        text = self._decoder.decode(data, not data)
        if text:
            self._feed(b"data: %b\n\n" % msgspec.json.encode(text))
        if data:
            return
        if not self._begun:
            self._broken(FailureClass.FAILED, "The backend opened a stream and sent nothing.")
        self._close()


def stream_of(
    body: Body, task: Task, clock: Clock, usage: Usage, secrets: tuple[Secret, ...] = ()
) -> Passthrough:
    """The stream that a body's content type says it is."""
    kind = body.header(b"content-type") or ""
    events = task != "infer" or kind.startswith("text/event-stream")
    return (Passthrough if events else TextPassthrough)(body, task, clock, usage, secrets)


async def one_event(data: bytes, usage: Usage) -> AsyncIterator[Chunk]:
    """A whole JSON answer as the only event of a stream."""
    read(data, msgspec.Raw, "The backend's answer is no JSON.", usage)
    yield Chunk(frame(msgspec.json.format(data, indent=-1)), "data", usage)
