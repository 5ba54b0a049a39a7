"""The chunks of a Modal generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Protocol

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.chunks import ChunkStream
from adapters.modal.failures import after_submit
from adapters.modal.values import piece_of
from adapters.settings import Secret
from adapters.types import Call, Usage
from adapters.waiting import before


class Source(Protocol):
    """What a stream tells the adapter."""

    def entered(self) -> None:
        """The stream has begun."""
        ...

    def left(self, closing: Coroutine[Any, Any, None]) -> None:
        """The stream has ended; ``closing`` ends its generator."""
        ...

    def conclude(self, call_id: str, started: float) -> Usage:
        """The call has ended: what it used since ``started``."""
        ...


class GeneratorStream(ChunkStream):
    """One streamed call. Its end is an end only when the platform counted every item.

    A stream that is left or breaks is still known to the adapter, which cancels it when the
    gateway says so.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock,
        *,
        items: AsyncGenerator[Any, None],
        call: Call,
        started: float,
        deadline: float,
        stall: float,
        secrets: tuple[Secret, ...],
    ) -> None:
        super().__init__(call.task, secrets)
        self._source = source
        self._clock = clock
        self._items = items
        self._call = call
        self._started = started
        self._deadline = deadline
        self._stall = stall
        self._open = True
        source.entered()

    async def _more(self) -> None:
        try:
            item = await before(self._clock, self._next_deadline(), anext(self._items))
        except StopAsyncIteration:
            self._finish(b"", self._source.conclude(self._call.id, self._started))
            self._let_go()
        except TimeoutError:
            self._broken(FailureClass.TIMEOUT, "The backend did not finish in time.")
        except Exception as error:
            self._fail(after_submit(error, None, self._secrets))
        else:
            self._put(piece_of(item, Usage()))

    def _next_deadline(self) -> float:
        if not self._begun:
            return self._deadline
        return min(self._deadline, self._clock.monotonic() + self._stall)

    def _fail(self, failure: BackendError) -> None:
        usage = None
        if not failure.failure.maybe_running:
            usage = self._source.conclude(self._call.id, self._started)
        self._broken(failure.failure, failure.message, usage)

    def _let_go(self) -> None:
        if self._open:
            self._open = False
            self._source.left(self._items.aclose())
