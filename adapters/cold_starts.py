"""How much of a call's time was a worker's start, at platforms that hold a call and do not say.

An estimate, and never ``reported``: a call that found no warm worker, as far as was known when it
was sent, took a start and then a run like the last warm one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from adapters.base import Clock
from adapters.types import Chunk, Reply, Usage


class ColdStarts:
    """What is known of a platform's workers between two calls. ``warm_for``: seconds that one
    stays up unused."""

    def __init__(self, clock: Clock, warm_for: float) -> None:
        self._clock = clock
        self._warm_for = warm_for
        self._warm: bool | None = None
        self._since = 0.0
        self._run: float | None = None
        self._first: float | None = None

    def observe(self, *, warm: bool) -> None:
        """The platform has said how it stands, or a call has ended."""
        self._warm = warm
        self._since = self._clock.monotonic()

    @property
    def lately_warm(self) -> bool:
        """A worker was up, and could not have gone since."""
        return self._warm is True and self._clock.monotonic() - self._since <= self._warm_for

    def expected(self) -> bool:
        """A call sent now would wait for a start; False where nothing is known."""
        return self._warm is not None and not self.lately_warm

    def with_start(self, reply: Reply, began: float, *, cold: bool) -> Reply:
        """The answer, or the begun stream, of a call that was sent at ``began``, an instant of the
        monotonic clock, with its start told apart. ``cold``: one was expected then."""
        taken = self._clock.monotonic() - began
        usual = self._run if reply.chunks is None else self._first
        self.observe(warm=True)
        if not cold:
            if reply.chunks is None:
                self._run = taken
            else:
                self._first = taken
            return reply
        start = max(0.0, taken - (usual or 0.0))
        if reply.chunks is not None:
            chunks = StartCounted(reply.chunks, start, inside=True)
            return msgspec.structs.replace(reply, chunks=chunks)
        return msgspec.structs.replace(reply, usage=split(reply.usage, start, inside=True))


class StartCounted:
    """The chunks of a stream that was preceded by a start of ``start`` seconds. ``inside``: the
    stream's own time includes it."""

    def __init__(self, chunks: AsyncIterator[Chunk], start: float, *, inside: bool) -> None:
        self._chunks = chunks
        self._start = start
        self._inside = inside

    def __aiter__(self) -> StartCounted:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await anext(self._chunks)
        if chunk.usage is None:
            return chunk
        usage = split(chunk.usage, self._start, inside=self._inside)
        return msgspec.structs.replace(chunk, usage=usage)

    async def aclose(self) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]


def split(usage: Usage, start: float, *, inside: bool) -> Usage:
    """The usage with its start told apart from its run."""
    ran = usage.exec_s
    if inside and ran is not None:
        ran = max(0.0, ran - start)
    return msgspec.structs.replace(usage, exec_s=ran, cold_s=start)
