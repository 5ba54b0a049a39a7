"""Workers of a platform that scales from zero: they start, run one call each, idle and end.

A call takes the worker that was at work last, else it waits, and one is started for each call that
waits and for which none starts yet; whichever worker is free first takes the call that has waited
longest. A worker ends when it has idled for long enough and is not one of the least that are kept.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.clock import Clock, Timer


class TakenWorker(NamedTuple):
    """A call's worker."""

    number: int
    fresh: bool
    """It has just started."""

    @property
    def name(self) -> str:
        """As a platform would have it."""
        return f"worker-{self.number}"


SpentOn = Callable[[str, float, float], None]
"""Told what a worker did ("start" or "idle"), and from when until when."""


class WorkerPool:
    """Instants are the clock's monotonic seconds."""

    def __init__(
        self,
        starts: Sequence[float],
        idle_s: float,
        clock: Clock,
        draw: random.Random,
        spent: SpentOn,
        most: float = math.inf,
    ) -> None:
        """``starts``: equally likely seconds of a start; ``most``: workers that there may be."""
        self._starts = starts
        self._idle_s = idle_s
        self._clock = clock
        self._draw = draw
        self._spent = spent
        self._most = most
        self._idle: deque[tuple[float, int]] = deque()
        """Since when, and which; the longest first."""
        self._starting: dict[int, tuple[float, Timer]] = {}
        self._waiting: deque[asyncio.Future[TakenWorker]] = deque()
        self._expiry: Timer | None = None
        self._started = 0
        self.minimum = 0
        """Workers that are kept in any case."""
        self.busy = 0

    @property
    def up(self) -> int:
        """At work or idle."""
        return self.busy + len(self._idle)

    @property
    def starting(self) -> int:
        """On their way."""
        return len(self._starting)

    @property
    def _may_start(self) -> bool:
        return self.up + len(self._starting) < self._most

    @property
    def waiting(self) -> int:
        """Calls without a worker."""
        return sum(not one.done() for one in self._waiting)

    def take(self) -> TakenWorker | None:
        """An idle worker for a call; None where there is none."""
        if not self._idle:
            return None
        since, number = self._idle.pop()
        self._spent("idle", since, self._clock.monotonic())
        self.busy += 1
        return TakenWorker(number, fresh=False)

    async def wait(self) -> TakenWorker:
        """Until a worker is free, which is then taken; one is started where calls are more than
        start. Cancelled, it has none."""
        found: asyncio.Future[TakenWorker] = asyncio.get_running_loop().create_future()
        self._waiting.append(found)
        if len(self._starting) < len(self._waiting) and self._may_start:
            self._start()
        try:
            return await found
        except asyncio.CancelledError:
            if found.done() and not found.cancelled():
                self.give_back(found.result())
            raise

    def give_back(self, taken: TakenWorker) -> None:
        """Its call has ended."""
        self.busy -= 1
        self._free(TakenWorker(taken.number, fresh=False))

    def keep(self, minimum: int) -> None:
        """So many at least, from now on; what starts beyond that and is not waited for is called
        off."""
        self.minimum = minimum
        while self.up + len(self._starting) < minimum and self._may_start:
            self._start()
        wanted = max(minimum - self.up, len(self._waiting))
        while len(self._starting) > wanted:
            _, (since, timer) = self._starting.popitem()
            timer.cancel()
            self._spent("start", since, self._clock.monotonic())
        self._expire()

    def end(self) -> None:
        """All that idle end, as long as they would have idled."""
        now = self._clock.monotonic()
        for since, _ in self._idle:
            self._spent("idle", since, max(now, since + self._idle_s))
        self._idle.clear()
        for since, timer in self._starting.values():
            timer.cancel()
            self._spent("start", since, now)
        self._starting.clear()
        if self._expiry is not None:
            self._expiry.cancel()

    def _start(self) -> None:
        self._started += 1
        number = self._started
        takes_s = self._starts[int(self._draw.random() * len(self._starts))]
        timer = self._clock.call_later(takes_s, lambda: self._ready(number))
        self._starting[number] = (self._clock.monotonic(), timer)

    def _ready(self, number: int) -> None:
        since, _ = self._starting.pop(number)
        self._spent("start", since, self._clock.monotonic())
        self._free(TakenWorker(number, fresh=True))

    def _free(self, worker: TakenWorker) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if not call.done():
                self.busy += 1
                call.set_result(worker)
                return
        self._idle.append((self._clock.monotonic(), worker.number))
        if self._expiry is None:
            self._watch()

    def _watch(self) -> None:
        """Looks again when the one that idles longest may end."""
        if self._idle and self.up > self.minimum:
            left_s = self._idle[0][0] + self._idle_s - self._clock.monotonic()
            self._expiry = self._clock.call_later(max(left_s, 0.0), self._expire)
        else:
            self._expiry = None

    def _expire(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        now = self._clock.monotonic()
        while (
            self._idle and self.up > self.minimum and now - self._idle[0][0] >= self._idle_s - 1e-6
        ):
            self._spent("idle", self._idle.popleft()[0], now)
        self._watch()
