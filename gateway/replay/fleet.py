"""The simulated fleet of a replay: reserved workers, and workers of a platform that start, idle and
end. Its clock is what it is told."""

from __future__ import annotations

import heapq
import random
from collections import deque

from gateway.replay.platforms import Platform

NEVER = float("inf")


class Fleet:
    """Workers that run one call each. Instants are seconds and only grow."""

    __slots__ = (
        "_at_home", "_booting", "_draw", "_ends", "_idle", "_platform", "_starting", "_wanted",
        "away", "reserved",
    )  # fmt: skip

    def __init__(self, platform: Platform, seed: int) -> None:
        self._platform = platform
        self._draw = random.Random(seed)
        self._ends: list[tuple[float, int, bool]] = []
        """(instant, call, on a reserved worker)."""
        self._starting: list[float] = []
        """Instants at which workers will be known to be ready."""
        self._booting: list[float] = []
        """The same of reserved ones, in order."""
        self._idle: deque[float] = deque()
        """Since when each worker of the platform is idle; the longest first."""
        self._at_home = 0
        self.away = 0
        """Calls that run on workers of the platform."""
        self.reserved = 0
        """Reserved workers that are ready."""
        self._wanted = 0

    @property
    def ready(self) -> int:
        """Workers that are up, at work or idle."""
        return self.reserved + self.away + len(self._idle)

    @property
    def idle(self) -> int:
        """Workers of the platform without a call."""
        return len(self._idle)

    @property
    def idle_since(self) -> float | None:
        """Since when the one of these is idle that is so for longest; None where there is none."""
        return self._idle[0] if self._idle else None

    @property
    def starting(self) -> int:
        """Workers of the platform that are on their way."""
        return len(self._starting)

    @property
    def rented(self) -> int:
        """Reserved workers that are paid for."""
        return self.reserved + len(self._booting)

    @property
    def paid(self) -> int:
        """Workers of the platform that are paid for."""
        return self.away + len(self._idle) + len(self._starting)

    @property
    def has_free(self) -> bool:
        """Whether a call could run now."""
        return self._at_home < self.reserved or bool(self._idle)

    def next_event(self) -> float:
        """When a call ends or a worker becomes ready."""
        ends = self._ends[0][0] if self._ends else NEVER
        if self._starting and self._starting[0] < ends:
            ends = self._starting[0]
        if self._booting and self._booting[0] < ends:
            ends = self._booting[0]
        return ends

    def advance(self, now: float) -> int | None:
        """Lets happen what happens at ``now``, of which ``next_event`` told. Returns the call that
        has ended, or None where a worker became ready."""
        if self._ends and self._ends[0][0] <= now:
            _, call, at_home = heapq.heappop(self._ends)
            if at_home:
                self._at_home -= 1
                if self.reserved > self._wanted:
                    self.reserved = max(self._wanted, self._at_home)
            else:
                self.away -= 1
                self._idle.append(now)
            return call
        if self._starting and self._starting[0] <= now:
            heapq.heappop(self._starting)
            self._idle.append(now)
        elif self._booting:
            self._booting.pop(0)
            self.reserved += 1
        return None

    def run(self, call: int, now: float, runs_s: float) -> bool:
        """A call takes a free worker, a reserved one first, else that which was at work last.
        Returns whether it is a reserved one."""
        at_home = self._at_home < self.reserved
        if at_home:
            self._at_home += 1
        else:
            self._idle.pop()
            self.away += 1
        heapq.heappush(self._ends, (now + runs_s, call, at_home))
        return at_home

    def run_on_new(self, call: int, now: float, runs_s: float) -> float:
        """A worker of the platform is started for this call alone. Returns when it begins."""
        begins = now + self._start_s()
        self.away += 1
        heapq.heappush(self._ends, (begins + runs_s, call, False))
        return begins

    def start(self, now: float) -> None:
        """A worker of the platform is asked for."""
        heapq.heappush(self._starting, now + self._start_s() + self._platform.news_s)

    def _start_s(self) -> float:
        starts = self._platform.starts
        return starts[int(self._draw.random() * len(starts))]

    def cancel(self, most: int) -> None:
        """No more than ``most`` go on starting, where the platform can be told so."""
        if len(self._starting) > most and self._platform.cancels:
            # Nobody knows which would be up first: any of them is as good to cancel.
            del self._starting[most:]
            heapq.heapify(self._starting)

    def let_go(self, now: float, most: int, after_s: float) -> None:
        """Of more than ``most`` workers, those go that have been idle for so long."""
        idle = self._idle
        surplus = self.ready - most
        while surplus > 0 and idle and now - idle[0] >= after_s:
            idle.popleft()
            surplus -= 1

    def reserve(self, now: float, workers: int) -> None:
        """More as soon as they start; fewer as their calls end."""
        self._wanted = workers
        booting, takes_s = self._booting, self._platform.reserved_start_s
        while booting and self.rented > workers:
            booting.pop()
        self.reserved = max(min(self.reserved, workers), self._at_home)
        for _ in range(workers - self.rented):
            if takes_s:
                booting.append(now + takes_s)
            else:
                self.reserved += 1
