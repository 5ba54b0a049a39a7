"""Slots of one backend: so many calls at once, the others wait in line, first come, first served.

A call that waits here has been sent nowhere yet, so it may still be rerouted to a backend that
would answer it sooner: a line is only as good as the prediction that put calls into it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MOVED_AT_ONCE = 8
"""Calls that one look may reroute: what they do elsewhere must be seen before more follow."""

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
        self._waiting: deque[Waiter] = deque()
        self.running = 0

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return len(self._waiting)

    def take(self) -> bool:
        """True when there is a slot now, which is then taken."""
        cap = self._cap()
        if self._waiting or (cap is not None and self.running >= cap):
            return False
        self.running += 1
        return True

    async def wait(self, reconsider: Reconsider | None = None) -> None:
        """Until a slot is granted. Raises what ``reconsider`` gave when rerouted."""
        waiter = Waiter(reconsider)
        self._waiting.append(waiter)
        try:
            await waiter.granted
        except BaseException:
            if waiter.granted.done() and not waiter.granted.cancelled() and _was_granted(waiter):
                self.give_back()  # granted in the instant in which the caller was cancelled
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def give_back(self) -> None:
        """A call ended: its slot goes to the first in line."""
        self.running -= 1
        self.fill()

    def fill(self) -> None:
        """Grants what slots there are."""
        cap = self._cap()
        while self._waiting and (cap is None or self.running < cap):
            waiter = self._waiting.popleft()
            if not waiter.granted.done():
                self.running += 1
                waiter.granted.set_result(None)

    def dismiss(self, why: Exception) -> None:
        """Sends all away who wait."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.granted.done():
                waiter.granted.set_exception(why)

    def reroute(self) -> None:
        """Asks from the end of the line on, until one would rather stay: those before it wait
        less."""
        for _ in range(min(len(self._waiting), MOVED_AT_ONCE)):
            waiter = self._waiting[-1]
            ahead = self.running + len(self._waiting) - 1
            why = None if waiter.reconsider is None else waiter.reconsider(ahead)
            if why is None:
                return
            self._waiting.pop()
            if not waiter.granted.done():
                waiter.granted.set_exception(why)


def _was_granted(waiter: Waiter) -> bool:
    return waiter.granted.exception() is None
