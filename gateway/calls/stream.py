"""An answer that comes piece by piece and ends its own call.

Whoever is given one passes its pieces on, then what it says last, and closes it:

    async with stream:
        async for piece in stream:
            ...
        stream.last(show_usage=True)

The call is settled when the last piece has been taken, and not a moment later than the stream is
closed: whole, broken off by its backend, or left by its reader at whatever point.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from types import TracebackType
from typing import Any

from adapters.base import Pushing
from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Reply, Usage
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.refusals import refusal_of, shutting_down, stopped
from gateway.calls.state import CallState
from gateway.calls.stream_events import error_event, events_in, priced, usage_event
from gateway.types import ApiError, Unit

log = logging.getLogger("spillgate")

_MOST_KEPT = 64
"""Chunks without a token that wait for the first one; of more than these the later are dropped."""


class SettledStream:
    """The chunks of ``reply``, without the backend's secrets. Usage and the end marker are held
    back until the call is settled: whoever saw the marker can rely on the row."""

    def __init__(
        self, completion: Completion, state: CallState, attempt: Attempt, reply: Reply
    ) -> None:
        assert reply.chunks is not None
        self.usage = reply.usage
        """What the backend said of it before the first chunk."""
        self._completion = completion
        self._state = state
        self._attempt = attempt
        self._progress = attempt.progress
        self._progress.usage = reply.usage
        self._chunks = reply.chunks
        self._progress.covered = completion.paid_output(state, attempt)
        self._redact = attempt.backend.redactor.over_stream()
        self._write: Callable[[bytes], bool] | None = None
        self._first: list[Chunk] = []
        """Up to the first token."""
        self._held: list[Chunk] = []
        self._error: ApiError | None = None
        self._pieces = self._pass_on()
        self._ended = False
        """The call has been settled, or is being settled by a task of its own."""

    async def begin(self) -> None:
        """Waits for the first token, until which another backend may still be asked: what holds
        none, such as who speaks, is kept until then. Raises BackendError as the backend's stream
        does, and where it holds nothing."""
        async for chunk in self._chunks:
            if _begins(chunk):
                self._first.append(chunk)
                self._progress.begun = True
                return
            if len(self._first) < _MOST_KEPT:
                self._first.append(chunk)
        if not self._first:
            raise BackendError(FailureClass.MALFORMED, "The backend's stream held nothing.")

    async def drop(self) -> None:
        """Closes the backend's stream, which did not begin: the call goes on without it."""
        await _close(self._chunks)

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """The pieces, once; a piece may be empty. Ends where the backend breaks off as well, and
        ``last`` says so then."""
        return self._pieces

    def push_to(self, write: Callable[[bytes], bool]) -> None:
        """From now on pieces that can be passed on in the instant in which they come are given to
        ``write``, and the others alone to whoever reads; ``write`` says False where it cannot now.
        """
        if isinstance(self._chunks, Pushing):
            self._write = write
            self._chunks.push_to(self._push)

    def _push_to_nobody(self) -> None:
        """Whoever pushes and whoever is pushed to would keep each other in memory."""
        if self._write is not None and isinstance(self._chunks, Pushing):
            self._write = None
            self._chunks.push_to(None)

    @property
    def is_cut(self) -> bool:
        """Whether an error is what ``last`` gives."""
        return self._error is not None

    def last(self, *, show_usage: bool) -> bytes:
        """What follows the pieces once the call has ended. Of a settled one: its usage, where that
        is wanted, and the end marker. Else an error, and no end marker."""
        cost_nano = self._state.cost_nano
        if self._error is not None:
            told_nano, call = cost_nano if show_usage else None, self._state.call
            told = error_event(self._error, self._state.principal, told_nano, call.task, call.id)
            return self._redact.rest() + told
        usage = self._usage_events(cost_nano) if show_usage else []
        done = [chunk.data for chunk in self._held if chunk.kind == "done"]
        return self._redact(b"".join(usage + done)) + self._redact.rest()

    def _usage_events(self, cost_nano: int) -> list[bytes]:
        given = [priced(chunk.data, cost_nano) for chunk in self._held if chunk.kind == "usage"]
        if given:
            return given
        call, created_at = self._state.call, self._state.received_at
        return [usage_event(call, self._progress.usage, cost_nano, created_at)]

    # --- its way ------------------------------------------------------------------------------

    async def _pass_on(self) -> AsyncGenerator[bytes, None]:
        state, attempt = self._state, self._attempt
        try:
            for chunk in self._first:
                if (piece := self._take(chunk)) is not None:
                    yield piece
            async for chunk in self._chunks:
                if (piece := self._take(chunk)) is not None:
                    yield piece
            await self._completion.finish(state, attempt, self._progress.usage)
            self._ended = True
        except BackendError as failure:
            self._ended = True
            name, kind = attempt.backend.name, failure.failure.slug
            log.warning("call %s broke off at %s (%s): %s", state.call.id, name, kind, failure.told)
            await self._completion.failed_after_answer(state, attempt, failure)
            self._error = refusal_of(failure, state.tried)
        except ApiError as error:
            self._ended = True
            self._error = error

    def _take(self, chunk: Chunk) -> bytes | None:
        """What of a chunk may be passed on now; None where all of it is held back."""
        if chunk.kind == "data":
            self._count(chunk.data, chunk.tokens)
        if chunk.usage is not None:
            progress = self._progress
            progress.usage, progress.told_at = chunk.usage, progress.events
        if chunk.kind != "data":
            self._held.append(chunk)
            return None
        return self._redact(chunk.data)

    def _push(self, data: bytes, tokens: int | None) -> bool:
        piece = self._redact.at_once(data)
        if piece is None or self._write is None or not self._write(piece):
            return False
        self._count(data, tokens)
        return True

    def _count(self, data: bytes, tokens: int | None) -> None:
        progress = self._progress
        progress.events += events_in(data) if tokens is None else tokens
        if progress.events > progress.covered:
            progress.covered += self._completion.more_output(self._state, self._attempt)

    # --- its end ------------------------------------------------------------------------------

    async def abandon(self) -> None:
        """Nobody takes the rest: the remote work is stopped and what it used is settled, even
        when the caller is cancelled once more. A call that has ended stays as it is; in both cases
        an error is what ``last`` gives."""
        self._error = stopped(self._state.stop_cause) or shutting_down()
        if not self._ended:
            self._ended = True
            await self._completion.abandon(self._state)

    async def aclose(self, why: BaseException | None = None) -> None:
        """Settles the call where that is still to be done: as broken off, or, where ``why`` is
        what its reader failed of, as a fault; then closes the backend's stream."""
        try:
            if not self._ended:
                await self._leave(why)
        finally:
            self._push_to_nobody()
            await self._pieces.aclose()
            await _close(self._chunks)

    async def _leave(self, why: BaseException | None) -> None:
        if why is None or isinstance(why, asyncio.CancelledError):
            await self.abandon()
        else:
            self._ended = True
            await self._completion.abandon_after_fault(self._state)

    async def __aenter__(self) -> SettledStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        why: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose(why)


class SettledConversation(SettledStream):
    """A stream of messages, each of which is one of its pieces, and whose reader may send some."""

    def __init__(
        self, completion: Completion, state: CallState, attempt: Attempt, reply: Reply
    ) -> None:
        super().__init__(completion, state, attempt, reply)
        assert reply.conversation is not None
        self.back = reply.conversation
        self._whole = attempt.backend.redactor

    @property
    def used(self) -> Usage:
        """So far, as the backend says, or as it is estimated."""
        return self._progress.usage

    @property
    def attempt(self) -> Attempt:
        """What it is an answer of."""
        return self._attempt

    @property
    def error(self) -> ApiError | None:
        """Why it was cut, once it has ended."""
        return self._error

    async def hold_more(self, more: dict[Unit, int]) -> bool | None:
        """Holds so much more for what follows. False where there is no room for it; None where the
        call is stopped, since nobody could say."""
        return await self._completion.hold_more(self._state, self._attempt, more)

    def _take(self, chunk: Chunk) -> bytes | None:
        if chunk.usage is not None:
            self._progress.usage = chunk.usage
        return self._whole(chunk.data) if chunk.kind == "data" else None


def settled(
    completion: Completion, state: CallState, attempt: Attempt, reply: Reply
) -> SettledStream:
    """The stream of a reply that has chunks."""
    kind = SettledStream if reply.conversation is None else SettledConversation
    return kind(completion, state, attempt, reply)


def _begins(chunk: Chunk) -> bool:
    """Whether the caller's answer begins with it, or has ended."""
    return chunk.kind == "done" or (chunk.kind == "data" and chunk.tokens != 0)


async def _close(chunks: object) -> None:
    aclose: Any = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
