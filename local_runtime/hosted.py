"""An app inside the worker of another platform, which has a loop and a protocol of its own.

    app = Hosted("shout.py:app")           # returns once the model is loaded
    app.call("/", {"text": "hi"})          # a whole answer; acall() for asynchronous code
    list(app.pieces("/", {"text": "hi"}))  # a stream; apieces() likewise

The model runs in a worker process, as it does under a gateway: the same batches over the calls of
all callers, the same time-outs, and a process that dies is started again. The platform's own
process stays free to say that it is alive.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import uvloop

from local_runtime.app.request import InvalidInput
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.managed import ManagedWorkers, supervisor_arguments
from local_runtime.client.pending_call import PendingCall
from local_runtime.client.workers import KEEP_S, Workers
from local_runtime.clock import SystemClock
from local_runtime.json_values import Pieces, value_of
from local_runtime.protocol.events import Done, Run
from local_runtime.protocol.wire import MAX_FRAME

T = TypeVar("T")

_END: Final = object()
_CLOSE_S = 20.0


class CallFailed(Exception):
    """A call without a result. ``kind`` is that of ``events.FailureKind``, or ``died``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class NotStarted(Exception):
    """The app cannot be started, or was not ready in time; the text says why."""


class Hosted:
    """One app and its workers. May be called from any thread, and from any event loop.

    Raises NotStarted. Calls raise InvalidInput for what the handler refuses, and CallFailed.
    """

    def __init__(self, app: str, *, workers: int = 1, start_timeout_s: float = 600.0) -> None:
        self._arguments = supervisor_arguments(
            app, {"workers": workers, "start-timeout": start_timeout_s}
        )
        _let_children_find_this_package()
        self._clock = SystemClock()
        self._start_timeout_s = start_timeout_s
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hosted", daemon=True)
        self._thread.start()
        try:
            self._run_blocking(self._open(app, start_timeout_s))
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        """Calls that run at once; 0 while no worker is ready."""
        return self._workers.slots

    def call(self, route: str, body: Any, *, id: str = "") -> Any:
        """The handler's whole result, as JSON carries it; a generator's items as a list. Of a
        background handler, its result at the end. Without an ``id`` the call is given one."""
        return self._run_blocking(self._whole(route, body, id))

    async def acall(self, route: str, body: Any, *, id: str = "") -> Any:
        """The same, for a caller with an event loop; its cancellation cancels the handler."""
        return await self._run_awaiting(self._whole(route, body, id))

    def pieces(self, route: str, body: Any, *, id: str = "") -> Iterator[Any]:
        """A generator's items as they come; a whole result is one item. Closing this closes the
        handler's generator."""
        source = self._stream(route, body, id)
        try:
            while (item := self._run_blocking(_next(source))) is not _END:
                yield item
        finally:
            self._run_blocking(_close(source))

    async def apieces(self, route: str, body: Any, *, id: str = "") -> AsyncIterator[Any]:
        """The same, for a caller with an event loop."""
        source = self._stream(route, body, id)
        try:
            while (item := await self._run_awaiting(_next(source))) is not _END:
                yield item
        finally:
            await self._run_awaiting(_close(source))

    def close(self) -> None:
        """Ends the workers. The end of the process does so too."""
        if self._thread.is_alive():
            if hasattr(self, "_workers"):
                self._run_blocking(self._workers.aclose())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_S)
            self._loop.close()

    # --- in the loop of the workers ---------------------------------------------------------------

    async def _open(self, app: str, within_s: float) -> None:
        changed = asyncio.Event()
        clock = self._clock
        managed = ManagedWorkers(self._arguments, clock)
        self._workers = Workers("hosted", managed, MAX_FRAME, clock, changed.set)
        self._workers.start()
        try:
            async with asyncio.timeout(within_s):
                while not self._workers.slots and not self._workers.hopeless:
                    changed.clear()
                    await changed.wait()
        except TimeoutError:
            text = f"{app} was not ready within {within_s:g} s: {self._workers.detail}"
            raise NotStarted(text) from None
        if not self._workers.slots:
            raise NotStarted(f"{app}: {self._workers.detail}")

    async def _whole(self, route: str, body: Any, id: str) -> Any:
        pending = await self._send(route, body, id, stream=False)
        pieces = []
        try:
            while pending.outputs or pending.answer is None:
                while pending.outputs:
                    pieces.append(pending.take().data)
                await pending.wait()
        finally:
            pending.leave(self._clock.monotonic() + KEEP_S)
        done = _checked(pending)
        if pending.head is not None:
            return value_of(b"".join(pieces), pending.head.headers)
        return value_of(done.data, done.headers)

    async def _stream(self, route: str, body: Any, id: str) -> AsyncGenerator[Any, None]:
        pending = await self._send(route, body, id, stream=True)
        raw: Pieces | None = None
        try:
            while pending.outputs or pending.answer is None:
                while pending.outputs:
                    data = pending.take().data
                    if pending.head is None:
                        yield value_of(data)
                        continue
                    raw = raw or Pieces(pending.head.headers)
                    if piece := raw.value_of(data):
                        yield piece
                await pending.wait()
        finally:
            pending.leave(self._clock.monotonic() + KEEP_S)
        if (done := _checked(pending)).data:
            yield value_of(done.data, done.headers)

    async def _send(self, route: str, body: Any, id: str, *, stream: bool) -> PendingCall:
        worker = await self._worker()
        data = msgspec.json.encode(body)
        run = Run(0, route, data, id or secrets.token_hex(16), stream, direct=True)
        return worker.ask(run, float("inf"))

    async def _worker(self) -> WorkerConnection:
        """A worker: while one starts again, whoever hands over calls should wait, and not see each
        of them fail."""
        if not self._workers.slots:
            await self._workers.wait_ready(self._clock.monotonic() + self._start_timeout_s)
        worker = self._workers.least_loaded()
        if worker is None:
            raise CallFailed("died", f"no worker is ready: {self._workers.detail or 'it starts'}")
        return worker

    # --- ways into it -----------------------------------------------------------------------------

    def _run_blocking(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run_awaiting(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


async def _next(source: AsyncGenerator[Any, None]) -> Any:
    return await anext(source, _END)


async def _close(source: AsyncGenerator[Any, None]) -> None:
    async with aclosing(source):
        pass


def _checked(pending: PendingCall) -> Done:
    answer = pending.answer
    assert answer is not None
    if isinstance(answer, Done) and answer.ok:
        return answer
    if isinstance(answer, Done) and answer.kind == "invalid":
        raise InvalidInput(answer.message, param=answer.param)
    raise CallFailed(answer.kind or "failed", answer.message)


def _let_children_find_this_package() -> None:
    """Workers are started as ``python -m local_runtime...``, and this package may lie in a folder
    that only the program's own place has put on the path."""
    place = str(Path(__file__).resolve().parents[1])
    known = os.environ.get("PYTHONPATH", "")
    if place not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (place, known)))
