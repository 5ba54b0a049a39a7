"""The gateway's end of one local worker's socket: calls out, answers in, nothing per call but a
future and a row in a dictionary."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from adapters.errors import BackendError, FailureClass
from adapters.types import Chunk, Usage
from local_runtime.events import Cancel, Credit, Done, FromWorker, Output, Ping, Ready, Run, Slots
from local_runtime.wire import STREAM_WINDOW, Connection, decode_from_worker

FAILURES = {
    "invalid": FailureClass.INVALID,
    "failed": FailureClass.FAILED,
    "timeout": FailureClass.TIMEOUT,
    "cancelled": FailureClass.CANCELLED,
    "overloaded": FailureClass.OVERLOADED,
    "unsupported": FailureClass.UNSUPPORTED,
}

Answer = Done | BackendError


class Entry:
    """A call that a worker has and has not answered."""

    __slots__ = (
        "answer",
        "call_id",
        "deadline",
        "id",
        "left",
        "link",
        "outputs",
        "settled",
        "settling",
        "waiter",
    )

    def __init__(self, link: Link, id: int, call_id: str, deadline: float, stream: bool) -> None:
        self.link = link
        self.id = id
        self.call_id = call_id
        self.deadline = deadline
        self.outputs: deque[Output] | None = deque() if stream else None
        self.waiter: asyncio.Future[None] | None = None
        self.answer: Answer | None = None
        self.left = False
        """Its caller has gone; it is kept a little while for its usage."""
        self.settled: Done | None = None
        """What the worker said after that."""
        self.settling: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until there is an output or the answer; leaves nothing behind when cancelled."""
        if self.answer is None and not self.outputs:
            self.waiter = self.link.loop.create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def leave(self, keep_until: float) -> None:
        """Nobody waits for the answer any more: the worker is told, unless it has answered."""
        if not self.left and self.answer is None:
            self.link.send(Cancel(self.id))
            self.deadline = keep_until
        self.left = True

    def give_up(self, error: BackendError, keep_until: float) -> None:
        """Fails the call without waiting for the worker."""
        self.leave(keep_until)
        self.answer = error
        self.wake()

    async def usage(self) -> Usage | None:
        """What a call that was left has used, once the worker says so; None when it does not."""
        if self.settled is None and self.id in self.link.entries:
            self.settling = self.settling or self.link.loop.create_future()
            await asyncio.shield(self.settling)
        return None if self.settled is None else self.link.usage(self.settled)

    def settle(self, done: Done | None) -> None:
        self.settled = done or self.settled
        if self.settling is not None and not self.settling.done():
            self.settling.set_result(None)


class Link:
    """One connection to one worker. ``changed`` is called when it becomes ready, changes its
    slots, or is gone."""

    def __init__(self, name: str, changed: Callable[[Link], None], limit: int) -> None:
        self.name = name
        self.loop = asyncio.get_running_loop()
        self.routes: frozenset[str] = frozenset()
        self.start_s = 0.0
        """Seconds that its worker took to load, init and warm up."""
        self.slots = 0
        self.gone = False
        self.entries: dict[int, Entry] = {}
        self._next_id = 0
        self._changed = changed
        self.connection: Connection[FromWorker] = Connection(
            decode=decode_from_worker, receive=self._receive, lost=self._lost, limit=limit
        )
        self.send = self.connection.send

    def run(self, call_id: str, route: str, body: bytes, stream: bool, deadline: float) -> Entry:
        """Sends one call. Raises FrameTooLarge, and then nothing was sent."""
        self._next_id = id = self._next_id + 1
        self.send(Run(id, route, body, call_id, stream))
        entry = self.entries[id] = Entry(self, id, call_id, deadline, stream)
        return entry

    def ping(self, deadline: float) -> Entry:
        self._next_id = id = self._next_id + 1
        self.send(Ping(id))
        entry = self.entries[id] = Entry(self, id, "", deadline, False)
        return entry

    def sweep(self, now: float, keep_s: float) -> None:
        """Fails the calls that are past their deadline, and forgets those that were left."""
        late = [entry for entry in self.entries.values() if entry.deadline <= now]
        for entry in late:
            if entry.left:
                del self.entries[entry.id]
                entry.settle(None)
            else:
                text = "the call was not answered within its deadline"
                entry.give_up(BackendError(FailureClass.TIMEOUT, text), now + keep_s)

    def usage(self, done: Done) -> Usage:
        return Usage(
            input_tokens=done.input_tokens,
            output_tokens=done.output_tokens,
            queue_s=done.queue_s,
            cold_s=0.0,
            exec_s=done.exec_s,
            gpu_s=done.gpu_s,
            worker=self.name,
            reported=True,
        )

    def error(self, done: Done) -> BackendError:
        return BackendError(
            FAILURES.get(done.kind, FailureClass.FAILED),
            done.message,
            usage=self.usage(done),
            param=done.param,
            detail=done.detail,
        )

    def _receive(self, event: FromWorker) -> None:
        kind = type(event)
        if kind is Done:
            self._finish(event)  # type: ignore[arg-type]
        elif isinstance(event, Output):
            entry = self.entries.get(event.id)
            if entry is not None and entry.outputs is not None and not entry.left:
                entry.outputs.append(event)
                entry.wake()
        elif isinstance(event, Ready):
            self.routes = frozenset(event.routes)
            self.slots = event.slots
            self.start_s = event.load_s + event.init_s + event.warmup_s
            self._changed(self)
        elif isinstance(event, Slots):
            self.slots = event.slots
            self._changed(self)

    def _finish(self, done: Done) -> None:
        entry = self.entries.get(done.id)
        if entry is None:
            return
        if entry.left:
            entry.settle(done)
        else:
            del self.entries[done.id]
            entry.answer = done
            entry.wake()

    def _lost(self, error: Exception | None) -> None:
        self.gone, self.slots = True, 0
        entries, self.entries = self.entries, {}
        for entry in entries.values():
            if entry.answer is None:
                entry.answer = BackendError(
                    FailureClass.WORKER_DIED,
                    "the worker that ran the call has died",
                    detail=f"{self.name}: {error or 'its connection ended'}",
                )
            entry.wake()
            entry.settle(None)
        self._changed(self)


class Chunks:
    """A worker's stream as server-sent events; gives the worker credit as they are taken."""

    def __init__(self, entry: Entry, now: Callable[[], float], keep_s: float) -> None:
        self._entry = entry
        self._now = now
        self._keep_s = keep_s
        self._unpaid = 0
        self._begun = False
        self._end: Chunk | None = None
        self._over = False

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Chunk:
        entry = self._entry
        outputs = entry.outputs
        while not outputs and not self._over and entry.answer is None:
            try:
                await entry.wait()
            except asyncio.CancelledError:
                await self.aclose()
                raise
        if outputs:
            self._begun = True
            return self._chunk(outputs.popleft())
        return self._last()

    async def aclose(self) -> None:
        """Tells the worker that nobody reads on, unless the stream has ended."""
        if not self._over:
            self._over = True
            self._entry.leave(self._now() + self._keep_s)
            self._entry.wake()
        if self._entry.outputs:
            self._entry.outputs.clear()

    def _chunk(self, output: Output) -> Chunk:
        size = len(output.data)
        self._unpaid += size
        if self._unpaid >= STREAM_WINDOW // 2:
            self._entry.link.send(Credit(self._entry.id, self._unpaid))
            self._unpaid = 0
        data = b"data: " + output.data + b"\n\n"
        if output.input_tokens is None:
            return Chunk(data)
        usage = Usage(input_tokens=output.input_tokens, output_tokens=output.output_tokens)
        return Chunk(data, "usage" if output.usage else "data", usage)

    def _last(self) -> Chunk:
        """What follows the outputs: a whole answer as one event, the end, or the error."""
        if self._end is not None:
            end, self._end = self._end, None
            return end
        answer = self._entry.answer
        if self._over or answer is None:
            raise StopAsyncIteration
        self._over = True
        if isinstance(answer, BackendError):
            raise self._broken(answer)
        if not answer.ok:
            raise self._entry.link.error(answer)
        done = Chunk(b"data: [DONE]\n\n", "done", self._entry.link.usage(answer))
        if not answer.data:
            return done
        self._end = done
        return Chunk(b"data: " + answer.data + b"\n\n")

    def _broken(self, error: BackendError) -> BackendError:
        """A worker that dies after the first chunk has cut the answer short."""
        if error.failure is FailureClass.WORKER_DIED and self._begun:
            return BackendError(
                FailureClass.TRUNCATED,
                "the worker died in the middle of the answer",
                detail=error.detail,
            )
        return error
