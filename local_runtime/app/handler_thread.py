"""A thread for functions that must not find an event loop where they run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import cached_property, partial
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


class HandlerThread:
    """One thread that runs plain functions one after another, and coroutines between them.

    The coroutines share an event loop. For a plain function that loop is stopped, not only held
    up: no loop runs in the thread then, so the function may run one of its own, with
    ``asyncio.run``. The thread begins with the first of either, and ends with its process.
    """

    def __init__(self) -> None:
        self._functions: deque[Callable[[], None]] = deque()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = uvloop.new_event_loop()
        self._thread = threading.Thread(
            target=self._work, args=(loop,), name="handlers", daemon=True
        )
        self._thread.start()
        return loop

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What ``function`` returns in the thread, for which the caller's own thread waits; at
        once where that is the same. Raises whatever it raises."""
        loop = self._loop
        if threading.current_thread() is self._thread:
            return function(*arguments)
        outcome: Future[T] = Future()
        self._functions.append(partial(_into, outcome, function, *arguments))
        loop.call_soon_threadsafe(loop.stop)
        return outcome.result()

    async def acall(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns on the thread's loop; whoever is cancelled here cancels it there.
        Raises whatever it raises."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            # A coroutine that ends with one of these has its result, and others are under way.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                loop.run_forever()
            while self._functions:
                self._functions.popleft()()


def _into(outcome: Future[T], function: Callable[..., T], *arguments: Any) -> None:
    try:
        result = function(*arguments)
    except BaseException as error:  # of which an extension in Rust makes its panics
        outcome.set_exception(error)
    else:
        outcome.set_result(result)
