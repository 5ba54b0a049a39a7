"""Time, passed in: the system's clock, and a fake that a test advances."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from adapters.base import Clock as AdapterClock


class Timer(Protocol):
    """What ``call_later`` gives."""

    def cancel(self) -> None:
        """The callback will not run."""
        ...


class Clock(AdapterClock, Protocol):
    """Adds to the adapters' clock a timer that costs next to nothing when it is cancelled."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls back after so many seconds, unless the timer is cancelled before."""
        ...


class SystemClock:
    """The machine's own clocks."""

    # A call asks a dozen times: the functions themselves, with no method around them.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)

    async def sleep(self, seconds: float) -> None:
        """As asyncio's."""
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """As the running loop's."""
        return asyncio.get_running_loop().call_later(seconds, callback)


async def settle(rounds: int = 20) -> None:
    """Lets every task that can run do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


class FakeClock:
    """A clock that stands still until ``advance``; sleepers wake in the order of their time."""

    settles: Callable[[], Awaitable[None]] = staticmethod(settle)
    """What is waited for at each instant that somebody slept to, and at the end of a step: here
    that every task which can run has done so. Where threads or sockets take part, what they are
    busy with, too."""

    def __init__(self, epoch: float = 1_767_225_600.0) -> None:
        self._epoch = epoch
        self._now = 1000.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Seconds; begins at 1000."""
        return self._now

    def time(self) -> float:
        """Seconds since the epoch; begins at ``epoch``."""
        return self._epoch + self._now - 1000.0

    async def sleep(self, seconds: float) -> None:
        """Until time was moved on by ``seconds``."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Calls back when time was moved on by ``seconds``."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: None if done.cancelled() else callback())
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        return _FutureTimer(future)

    def move(self, seconds: float) -> None:
        """Moves time on without letting anyone run: for code that never sleeps."""
        self._now += seconds

    async def advance(self, seconds: float) -> None:
        """Moves time on, waking each sleeper at its own instant and letting it run; those of one
        instant together, in the order in which they fell asleep."""
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now = self._sleepers[0][0]
            self._wake()
            await self.settles()
        self._now = end
        await self.settles()

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)


class _FutureTimer:
    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def cancel(self) -> None:
        self._future.cancel()
