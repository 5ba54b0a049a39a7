"""A local worker's answers in the words of the adapters: usage, failures, chunks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from adapters.base import Clock
from adapters.errors import BackendError, FailureClass
from adapters.http.token_counts import tokens_in_event
from adapters.shapes.json_texts import read_if
from adapters.types import Chunk, Progress, Usage
from adapters.whole_events import data_of
from local_runtime.client.pending_call import Answer, PendingCall, Unanswered
from local_runtime.protocol.events import Done, Output

FAILURES = {
    "invalid": FailureClass.INVALID,
    "failed": FailureClass.FAILED,
    "timeout": FailureClass.TIMEOUT,
    "cancelled": FailureClass.CANCELLED,
    "overloaded": FailureClass.OVERLOADED,
    "unsupported": FailureClass.UNSUPPORTED,
    "died": FailureClass.WORKER_DIED,
    "loading": FailureClass.LOADING,
}


def usage_of(pending: PendingCall, done: Done) -> Usage:
    """What the call used, as its worker measured it."""
    return Usage(
        input_tokens=done.input_tokens,
        output_tokens=done.output_tokens,
        queue_s=done.queue_s,
        cold_s=pending.cold_s + done.cold_s,
        load_s=done.cold_s,
        exec_s=done.exec_s,
        gpu_s=done.gpu_s,
        worker=pending.connection.name,
        reported=True,
    )


def error_of(pending: PendingCall, answer: Answer) -> BackendError:
    """The failure that a call ended with."""
    failure = FAILURES.get(answer.kind, FailureClass.FAILED)
    if isinstance(answer, Unanswered):
        return BackendError(failure, answer.message, detail=answer.detail)
    return BackendError(
        failure,
        answer.message,
        usage=usage_of(pending, answer),
        param=answer.param,
        detail=answer.detail,
    )


def done_of(pending: PendingCall) -> Done:
    """What the worker answered. Raises BackendError when that is a failure."""
    answer = pending.answer
    assert answer is not None
    if type(answer) is Done and answer.ok:
        return answer
    raise error_of(pending, answer)


async def end_of(entry: PendingCall) -> Usage:
    """Waits for the end of a background call: what it used. Raises BackendError when it failed."""
    while entry.answer is None:
        await entry.wait()
    return usage_of(entry, done_of(entry))


async def hear_of_line(given_up: PendingCall, progress: Progress, clock: Clock) -> None:
    """Waits, for a second at most, for the worker's word about a call that was given up: whether it
    was begun, or has waited in line there."""
    said = await given_up.wait_late()
    if said is not None and not said.exec_s:
        progress.queued_until = clock.monotonic()


class Chunks:
    """A worker's stream as server-sent events; gives the worker credit as they are taken."""

    def __init__(self, pending: PendingCall, now: Callable[[], float], keep_s: float) -> None:
        self._pending = pending
        self._now = now
        self._keep_s = keep_s
        self._begun = False
        self._spoken = False
        self._end: Chunk | None = None
        self._over = False

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Chunk:
        pending = self._pending
        outputs = pending.outputs
        while not outputs and not self._over and pending.answer is None:
            try:
                await pending.wait()
            except asyncio.CancelledError:
                await self.aclose()
                raise
        if outputs:
            self._begun = True
            return self._passed(_chunk(pending.take()))
        return self._last()

    async def aclose(self) -> None:
        """Tells the worker that nobody reads on, unless the stream has ended."""
        if not self._over:
            self._over = True
            self._pending.leave(self._now() + self._keep_s)
            self._pending.wake()
        if self._pending.outputs:
            self._pending.outputs.clear()

    def _passed(self, chunk: Chunk) -> Chunk:
        """Up to the first token, what holds none is known for that."""
        if not self._spoken:
            self._spoken = not _only_announces(chunk.data)
        return chunk if self._spoken else msgspec.structs.replace(chunk, tokens=0)

    def _last(self) -> Chunk:
        """What follows the outputs: a whole answer as one event, the end, or the error."""
        if self._end is not None:
            end, self._end = self._end, None
            return end
        answer = self._pending.answer
        if self._over or answer is None:
            raise StopAsyncIteration
        self._over = True
        if isinstance(answer, Unanswered):
            raise self._broken(answer)
        if not answer.ok:
            raise error_of(self._pending, answer)
        done = Chunk(b"data: [DONE]\n\n", "done", usage_of(self._pending, answer))
        if not answer.data:
            return done
        self._end = done
        return Chunk(b"data: " + answer.data + b"\n\n")

    def _broken(self, answer: Unanswered) -> BackendError:
        """A worker that dies after the first chunk has cut the answer short."""
        if answer.kind == "died" and self._begun:
            return BackendError(
                FailureClass.TRUNCATED,
                "the worker died in the middle of the answer",
                detail=answer.detail,
            )
        return error_of(self._pending, answer)


def _only_announces(event: bytes) -> bool:
    """Whether an event is one of OpenAI's that says who speaks, and nothing yet."""
    if b'"choices"' not in event:
        return False
    said = read_if(data_of(event), dict[str, Any])
    return said is not None and bool(said.get("choices")) and not tokens_in_event(said)


def _chunk(output: Output) -> Chunk:
    data = b"data: " + output.data + b"\n\n"
    if output.input_tokens is None:
        return Chunk(data)
    usage = Usage(input_tokens=output.input_tokens, output_tokens=output.output_tokens)
    return Chunk(data, "usage" if output.usage else "data", usage)
