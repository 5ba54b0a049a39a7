"""What streams share: chunks that are ready, the first one awaited, a connection let go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Self

import msgspec

from adapters.errors import BackendError, FailureClass, malformed
from adapters.http.failures import clean, cleaned
from adapters.http.opened import as_chunks
from adapters.http.outputs import event_of
from adapters.http.sse import DONE, EventReader
from adapters.settings import Secret
from adapters.types import Chunk, Task, Usage
from adapters.whole_events import MAX_EVENT

END_GRACE_S = 1.0
"""How long the last bytes of a stream that has ended well may take for its connection to be
kept."""


class ReadyChunks(ABC):
    """The chunks of one streamed call, given one by one; a subclass brings them by ``_fill``.

    Whatever breaks before the first chunk is raised by ``first``, so that another backend can
    still be asked.
    """

    __slots__ = ("_ended", "_ready")

    def __init__(self) -> None:
        self._ready: deque[Chunk] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def first(self) -> None:
        """Waits for the first chunk. Raises BackendError, after which nothing is left open."""
        try:
            await self._fill()
        except BaseException:
            self._let_go()
            raise

    async def __anext__(self) -> Chunk:
        if not self._ready:
            await self._fill()
            if not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()

    async def aclose(self) -> None:
        self._ended = True
        self._ready.clear()
        self._let_go()

    @abstractmethod
    async def _fill(self) -> None:
        """Waits until a chunk is ready or the stream has ended. Raises BackendError."""

    @abstractmethod
    def _let_go(self) -> None:
        """Closes what is open. May be called twice."""


class ChunkStream(ReadyChunks):
    """The chunks of a platform with an envelope of its own; a subclass brings them by ``_more``."""

    def __init__(
        self,
        task: Task,
        secrets: Sequence[Secret] = (),
        *,
        max_event: int = MAX_EVENT,
        asked: bytes = b"",
    ) -> None:
        """``asked``: the body of the call, where no platform says that its answer is whole."""
        super().__init__()
        self._task = task
        self._secrets = secrets
        self._reader = EventReader(openai=task != "infer", max_event=max_event, asked=asked)

    # --- for a subclass --------------------------------------------------------------------

    @abstractmethod
    async def _more(self) -> None:
        """Waits for what the platform says next, and puts it or ends the stream."""

    async def _give_up(self) -> Usage | None:
        """Stops the remote work after an error event, where closing the connection does not, and
        says what it used."""
        return None

    @property
    def _begun(self) -> bool:
        return self._reader.frames

    def _put(self, output: bytes) -> None:
        """One piece of output, as JSON."""
        self._feed(event_of(output))

    def _feed(self, events: bytes) -> None:
        """Bytes of an event stream, in any split."""
        chunks = self._reader.feed(events)
        self._ready.extend(chunk for chunk in chunks if chunk.kind != "done")

    def _finish(self, output: bytes, usage: Usage) -> None:
        """The platform says that the call succeeded. ``output`` is the whole of it, the stream
        of a model that gave it in no pieces. Raises BackendError where that is no stream."""
        self._ended = True
        self._reader.close()
        error = self._reader.error
        if error is None and not self._begun:
            usage = self._put_whole(output, usage)
        if error is not None:
            raise cleaned(error, self._secrets, usage)
        self._ready.append(self._last(usage))

    def _broken(self, failure: FailureClass, message: str, usage: Usage | None = None) -> None:
        """Ends the stream. Raises what was meant, or TRUNCATED once a chunk was given."""
        self._ended = True
        kind = FailureClass.TRUNCATED if self._begun else failure
        raise BackendError(kind, clean(message, self._secrets), usage=usage)

    # --- inside ----------------------------------------------------------------------------

    async def _fill(self) -> None:
        while not self._ready and not self._ended:
            if self._reader.error is not None:
                self._let_go()
                usage = await self._give_up()
                error = cleaned(self._reader.error, self._secrets, usage)
                if self._begun:
                    self._broken(FailureClass.TRUNCATED, error.message, usage)
                self._ended = True
                raise error
            try:
                await self._more()
            except BaseException:
                self._ended = True
                self._ready.clear()
                self._let_go()
                raise

    def _put_whole(self, output: bytes, usage: Usage) -> Usage:
        """The answer of a model that has no stream, as one; what it used. Raises what an error in
        it means, and MALFORMED for what is no answer."""
        if self._task == "infer":
            self._put(output or b"null")
            return usage
        if not output:
            raise malformed("The model answered a stream with no stream.", usage=usage)
        *chunks, last = as_chunks(output, self._task, usage, self._secrets)
        self._ready.extend(chunks)
        return last.usage or usage

    def _last(self, usage: Usage) -> Chunk:
        if self._task == "infer":
            return Chunk(b"", "data", usage)
        said = self._reader.usage
        usage = msgspec.structs.replace(
            usage,
            input_tokens=usage.input_tokens if said.input_tokens is None else said.input_tokens,
            output_tokens=usage.output_tokens if said.output_tokens is None else said.output_tokens,
            total_tokens=said.total_tokens or usage.total_tokens,
        )
        return Chunk(DONE, "done", usage)


async def once(chunk: Chunk) -> AsyncIterator[Chunk]:
    """A stream of one chunk: the answer of a model that has no stream."""
    yield chunk
