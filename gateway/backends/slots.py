"""Slots of one backend: so many calls at once, the others wait in line by their priority, and first
come, first served within one.

A call that waits here has been sent nowhere yet, so it may still be rerouted to a backend that
would answer it sooner: a line is only as good as the prediction that put calls into it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MOVED_AT_ONCE = 8
"""Calls that one look may reroute: what they do elsewhere must be seen before more follow."""

NORMAL = 1
"""The rank of a call of normal priority; 0 is low, 2 is high."""
_RANKS = 3
MOST_AHEAD = 8
"""Calls of higher rank that may go before one that waits; then it is its line's turn."""

Reconsider = Callable[[int], Exception | None]
"""Asked with the number of calls that are before this one; an exception sends it away."""


class Replaced(Exception):
    """Raised to a call in line: another backend stands in the place of the one that it waits for,
    and it is to wait there."""


class Waiter:
    """One call in line: done when its slot is granted, or with what sends it away."""

    __slots__ = ("granted", "reconsider")

    def __init__(self, reconsider: Reconsider | None) -> None:
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.reconsider = reconsider


class SlotQueue:
    """``cap`` says how many may run at this instant; ``None``: as many as like."""

    def __init__(self, cap: Callable[[], int | None]) -> None:
        self._cap = cap
        self._lines: tuple[deque[Waiter], ...] = tuple(deque() for _ in range(_RANKS))
        self._passed = [0] * _RANKS
        """How many of higher rank have gone since each line had its turn."""
        self.running = 0
        self.waiting = 0
        """Calls in line."""
        self.freed: Callable[[], None] | None = None
        """Called when a call has ended, before its slot goes to another."""

    def waiting_below(self, rank: int) -> int:
        """Calls in line that one of this rank would go before."""
        return sum(map(len, self._lines[:rank]))

    def ahead_of(self, rank: int, calls: int) -> int:
        """Of so many calls that are there, those that run or stand before one of this rank."""
        return calls if calls <= self.running else calls - self.waiting_below(rank)

    def take(self) -> bool:
        """True when there is a slot now, which is then taken."""
        cap = self._cap()
        if (cap is not None and self.running >= cap) or self.waiting:
            return False
        self.running += 1
        return True

    async def wait(self, reconsider: Reconsider | None = None, rank: int = NORMAL) -> None:
        """Until a slot is granted. Raises what ``reconsider`` gave when rerouted."""
        waiter, line = Waiter(reconsider), self._lines[rank]
        if not line:
            self._passed[rank] = 0
        line.append(waiter)
        self.waiting += 1
        try:
            await waiter.granted
        except BaseException:
            if waiter.granted.done() and not waiter.granted.cancelled() and _was_granted(waiter):
                self.give_back()  # granted in the instant in which the caller was cancelled
            elif waiter in line:
                line.remove(waiter)
                self.waiting -= 1
            raise

    def give_back(self) -> None:
        """A call ended: its slot goes to the first in line."""
        self.running -= 1
        if self.freed is not None:
            self.freed()
        self.fill()

    def fill(self) -> None:
        """Grants what slots there are."""
        cap = self._cap()
        while (cap is None or self.running < cap) and self.waiting:
            waiter = self._next()
            if not waiter.granted.done():
                self.running += 1
                waiter.granted.set_result(None)

    def _next(self) -> Waiter:
        """Takes the first of the highest rank from its line; of a lower one, where enough have gone
        before it, lest it wait for ever."""
        waiting = [rank for rank, line in enumerate(self._lines) if line]
        late = (rank for rank in waiting if self._passed[rank] >= MOST_AHEAD)
        chosen = next(late, waiting[-1])
        for rank in waiting:
            if rank < chosen:
                self._passed[rank] += 1
        self._passed[chosen] = 0
        self.waiting -= 1
        return self._lines[chosen].popleft()

    def dismiss(self, why: Exception) -> None:
        """Sends all away who wait."""
        self.waiting = 0
        for line in self._lines:
            while line:
                waiter = line.popleft()
                if not waiter.granted.done():
                    waiter.granted.set_exception(why)

    def reroute(self) -> None:
        """Asks from the end of the line on, until one would rather stay: those before it wait
        less."""
        for _ in range(min(self.waiting, MOVED_AT_ONCE)):
            line = next(line for line in self._lines if line)
            waiter = line[-1]
            ahead = self.running + self.waiting - 1
            why = None if waiter.reconsider is None else waiter.reconsider(ahead)
            if why is None:
                return
            line.pop()
            self.waiting -= 1
            if not waiter.granted.done():
                waiter.granted.set_exception(why)


def _was_granted(waiter: Waiter) -> bool:
    return waiter.granted.exception() is None
