"""An event loop whose time leaps to the next instant at which something is due, and its clock."""

from __future__ import annotations

import asyncio
import selectors
from asyncio.events import TimerHandle
from collections.abc import Callable
from typing import Any

_LATE_S = 1e-6
"""A timer is never early, as none is in time that passes: whoever slept for a second finds that one
has gone, however sums of floats are rounded."""


class _Leaping(selectors.SelectSelector):
    """Waits for nothing: moves the time on instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is due any more, and somebody waits for it")
        if timeout > 0:
            self.now += timeout + _LATE_S
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Reads no connection. What is given to a thread is done at once."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Seconds since it was made."""
        return self._leaping.now

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

    def call_later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """As the loop's."""
        return self._loop.call_later(seconds, callback)
