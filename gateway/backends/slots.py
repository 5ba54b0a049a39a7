"""Places at one backend: so many calls at once, the others wait in line, first come, first served.

A call that waits here has been sent nowhere yet, so it may still be called away to a backend that
would answer it sooner: a line is only as good as the prediction that put calls into it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

MOVED_AT_ONCE = 8
"""Calls that one look may call away: what they do elsewhere must be seen before more follow."""

Reconsider = Callable[[int], Exception | None]
"""Asked with the number of calls that are before this one; an exception calls it away."""


class Waiter:
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
        return len(self._waiting)

    def take(self) -> bool:
        """True when there is a place now, which is then taken."""
        cap = self._cap()
        if self._waiting or (cap is not None and self.running >= cap):
            return False
        self.running += 1
        return True

    async def wait(self, reconsider: Reconsider | None = None) -> None:
        """Until a place is granted. Raises what ``reconsider`` gave when called away."""
        place = Waiter(reconsider)
        self._waiting.append(place)
        try:
            await place.granted
        except BaseException:
            if place.granted.done() and not place.granted.cancelled() and _was_granted(place):
                self.give_back()  # granted in the instant in which the caller was cancelled
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def give_back(self) -> None:
        self.running -= 1
        self.fill()

    def fill(self) -> None:
        """Grants what places there are."""
        cap = self._cap()
        while self._waiting and (cap is None or self.running < cap):
            place = self._waiting.popleft()
            if not place.granted.done():
                self.running += 1
                place.granted.set_result(None)

    def call_away(self) -> None:
        """Asks from the end of the line on, until one would rather stay: those before it wait
        less."""
        for _ in range(min(len(self._waiting), MOVED_AT_ONCE)):
            place = self._waiting[-1]
            ahead = self.running + len(self._waiting) - 1
            call = None if place.reconsider is None else place.reconsider(ahead)
            if call is None:
                return
            self._waiting.pop()
            if not place.granted.done():
                place.granted.set_exception(call)


def _was_granted(place: Waiter) -> bool:
    return place.granted.exception() is None
