"""What lies between a process and a server: time, order, and all that may be lost on the way."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Generic, TypeVar

from gateway.storage.base import MaybeWritten, StorageUnavailable
from tests.simulation.loop import Process, SimulatedLoop

T = TypeVar("T")
_WORLD = Context()
"""Of no process."""


_LOOKS_S = 0.5
"""How often a message looks whether a server goes on that stood still."""


class Server:
    """One that answers, until it is told otherwise. It is of no process of ours."""

    def __init__(self, loop: SimulatedLoop, draw: random.Random) -> None:
        self.loop = loop
        self.draw = draw
        self.is_down = False
        self.stalls_until = 0.0
        self.slow_s = 0.001
        """Seconds that a message takes at the most, each way."""
        self.loses = 0.0
        """The share of the questions that meet a connection which breaks: before the server has
        heard them, or after it has done what they ask."""
        self.cut_off: set[str] = set()
        """Names of processes that cannot reach it."""

    def heal(self) -> None:
        """Nothing is wrong with it any more."""
        self.is_down, self.stalls_until, self.slow_s, self.loses = False, 0.0, 0.001, 0.0
        self.cut_off.clear()

    def later(self, seconds: float, work: Callable[..., object], *args: Any) -> None:
        """Something that happens whichever process dies meanwhile."""
        self.loop.call_later(seconds, work, *args, context=_WORLD)

    def delay_s(self) -> float:
        """How long the next message takes."""
        return self.draw.random() * self.slow_s


class _Message(Generic[T]):
    """``work`` is done on the server, in one step."""

    def __init__(self, work: Callable[[], T], answer: asyncio.Future[T] | None) -> None:
        self.work = work
        self.answer = answer


class Link:
    """The connection of one process to one server: what is asked in turn is done in turn.

    ``in_process``: the server is a thread of the process, so what it has not begun dies along.
    """

    def __init__(
        self, server: Server, process: Process, timeout_s: float, *, in_process: bool = False
    ) -> None:
        self._server = server
        self._process = process
        self._timeout_s = timeout_s
        self._in_process = in_process
        self._sent: deque[_Message[Any]] = deque()
        self._busy_until = 0.0
        self.failing = ""

    async def ask(self, work: Callable[[], T], undo: Callable[[], None] | None = None) -> T:
        """What ``work`` gives. Raises StorageUnavailable, or MaybeWritten where it may have been
        done; ``undo`` is sent behind it where nobody waits for the answer any more."""
        server, loop = self._server, self._server.loop
        if server.is_down or self._process.name in server.cut_off:
            await asyncio.sleep(server.delay_s())
            raise self._failed(StorageUnavailable("it cannot be reached"))
        answer: asyncio.Future[T] = loop.create_future()
        self._send(_Message(work, answer))
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await answer
        except TimeoutError:
            if undo is not None:
                self.send(undo)
            raise self._failed(MaybeWritten("it did not answer in time")) from None
        except asyncio.CancelledError:
            if undo is not None:
                self.send(undo)
            raise
        except StorageUnavailable as unavailable:
            raise self._failed(unavailable) from None
        self.failing = ""
        return found

    def send(self, work: Callable[[], object]) -> None:
        """The same where nobody waits for it."""
        self._send(_Message(work, None))

    def _failed(self, why: StorageUnavailable) -> StorageUnavailable:
        self.failing = str(why)
        return why

    def _send(self, message: _Message[Any]) -> None:
        server = self._server
        self._sent.append(message)
        self._busy_until = max(self._busy_until, server.loop.time() + server.delay_s())
        server.later(self._busy_until - server.loop.time(), self._arrive)

    def _arrive(self) -> None:
        """One of them, the oldest first whichever timer has come."""
        server = self._server
        if self._in_process and not self._process.is_alive:
            self._sent.clear()
            return
        wait_s = server.stalls_until - server.loop.time()
        if wait_s > 0:
            server.later(min(wait_s, _LOOKS_S), self._arrive)
            return
        message = self._sent.popleft()
        cut = self._process.name in server.cut_off
        if server.is_down or cut or server.draw.random() < server.loses / 2:
            self._break(message)
            return
        self._do(message)

    def _do(self, message: _Message[Any]) -> None:
        server = self._server
        try:
            found = message.work()
        except Exception as error:
            server.later(server.delay_s(), _fail, message.answer, error)
            return
        if server.draw.random() < server.loses / 2:
            self._break(message)
        else:
            server.later(server.delay_s(), _answer, message.answer, found)

    def _break(self, message: _Message[Any]) -> None:
        later = self._server.later
        later(self._server.delay_s(), _fail, message.answer, MaybeWritten("the connection broke"))


def _answer(answer: asyncio.Future[T] | None, found: T) -> None:
    if answer is not None and not answer.done():
        answer.set_result(found)


def _fail(answer: asyncio.Future[Any] | None, error: Exception) -> None:
    if answer is not None and not answer.done():
        answer.set_exception(error)
