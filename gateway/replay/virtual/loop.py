"""An event loop whose time leaps to the next instant at which something is due, and its clock."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import logging
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

log = logging.getLogger("spillgate")

T = TypeVar("T")
_LATE_S = 1e-6
"""A timer is never early, as none is in time that passes: whoever slept for a second finds that one
has gone, however sums of floats are rounded."""
_MANY = 1000
"""Timers that were called off, from which on it is worth while to sort them out."""


class Due:
    """What is called in its turn, or at its instant. As ``asyncio.TimerHandle``, of which the loop
    makes some ten for each call of a recording."""

    __slots__ = ("_at", "_loop", "args", "callback")

    def __init__(
        self, loop: VirtualLoop, at: float, callback: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._loop = loop
        self._at = at
        self.callback: Callable[..., object] | None = callback
        """None once it was called off."""
        self.args = args

    def when(self) -> float:
        """Seconds by the loop's time."""
        return self._at

    def cancel(self) -> None:
        """It is not called any more."""
        if self.callback is not None:
            self.callback, self.args = None, ()
            self._loop.called_off += 1

    def cancelled(self) -> bool:
        """It was called off."""
        return self.callback is None


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs tasks in one thread, and nothing else: it reads no connection, and what is given to a
    thread is done at once. Of two timers of one instant the one that was set first comes first.
    All run in one context: nothing of a replay is of a single task."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ready: deque[Due] = deque()
        self._timers: list[tuple[float, int, Due]] = []
        self._number = itertools.count()
        self.called_off = 0
        """Of what is still to come, at the least."""
        self._is_running = self._stops = self._is_closed = False

    def time(self) -> float:
        """Seconds since it was made."""
        return self._now

    # --- what is due ----------------------------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Due:
        """Behind what is due now."""
        due = Due(self, self._now, callback, args)
        self._ready.append(due)
        return due

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Due:
        """In so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> Due:
        """At an instant."""
        due = Due(self, when, callback, args)
        heapq.heappush(self._timers, (when, next(self._number), due))
        return due

    def run_forever(self) -> None:
        """Until ``stop``. Raises RuntimeError where nothing is due any more."""
        before = events._get_running_loop()
        self._is_running = True
        events._set_running_loop(self)
        try:
            self._run()
        finally:
            self._is_running = self._stops = False
            events._set_running_loop(before)

    def _run(self) -> None:
        ready = self._ready
        while not self._stops:
            if not ready:
                self._leap()
            for _ in range(len(ready)):
                due = ready.popleft()
                callback = due.callback
                if callback is None:
                    continue
                try:
                    callback(*due.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"message": f"{callback}", "exception": error})

    def _leap(self) -> None:
        """To the next instant at which something is due."""
        timers, ready = self._timers, self._ready
        if self.called_off > _MANY and 2 * self.called_off > len(timers):
            self._sort_out()
        while timers and timers[0][2].callback is None:
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("nothing is due any more, and somebody waits for it")
        if timers[0][0] > self._now:
            self._now = timers[0][0] + _LATE_S
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])

    def _sort_out(self) -> None:
        self._timers[:] = [timer for timer in self._timers if not timer[2].cancelled()]
        heapq.heapify(self._timers)
        self.called_off = 0

    def stop(self) -> None:
        """After this turn."""
        self._stops = True

    # --- tasks ----------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        """Of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        """Begins in its turn."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_until_complete(self, future: Any) -> Any:
        """What comes of it. Raises what it raises."""
        task = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(lambda _: self.stop())
        self.run_forever()
        return task.result()

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """What ``func`` returns or raises."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    # --- what an ``asyncio.Runner`` asks of it --------------------------------------------------

    def is_running(self) -> bool:
        """Whether it turns."""
        return self._is_running

    def is_closed(self) -> bool:
        """Whether it turns no more."""
        return self._is_closed

    def get_debug(self) -> bool:
        """Never."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """It has no such mode."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tells of what nobody has caught."""
        log.error("%s", context.get("message"), exc_info=context.get("exception"))

    async def shutdown_asyncgens(self) -> None:
        """It knows of none."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """It has none."""

    def close(self) -> None:
        """It turns no more."""
        self._ready.clear()
        self._timers.clear()
        self._is_closed = True


class VirtualClock:
    """Of such a loop. ``epoch``: the instant of its beginning, in seconds since 1970."""

    def __init__(self, loop: VirtualLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch
        self.monotonic = loop.time

    def time(self) -> float:
        """Seconds since 1970."""
        return self._epoch + self._loop.time()

    async def sleep(self, seconds: float) -> None:
        """As asyncio's."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Due:
        """As the loop's."""
        return self._loop.call_later(seconds, callback)
