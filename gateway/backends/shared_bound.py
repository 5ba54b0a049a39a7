"""A bound on the calls at a backend that several processes share: this one's part of it.

A process may have as many calls there as it has been granted, and asks for more when calls wait.
What it does not need it keeps, until others lack it: calls that follow each other ask nobody.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

from gateway.backends.slots import SlotQueue

Say = Callable[[int], None]


class SharedBound:
    """``want`` asks for as many as it is told, which it may already have in part; ``give`` gives
    back so many, and says that no more are wanted until it asks again. ``fair``: what this process
    may count on having."""

    def __init__(self, *, fair: int, want: Say, give: Say) -> None:
        self.granted = 0
        """Calls that this process may have there."""
        self._fair = fair
        self._want = want
        self._give = give
        self._wanted = 0
        self._owed = 0
        """To be given back as calls end, whoever waits here."""
        self._pressed = False
        """Others lack some: what is not needed is given back at once."""
        self._queues: weakref.WeakSet[SlotQueue] = weakref.WeakSet()
        """Of the backend, and of those that a reload has put in its place."""

    def governs(self, queue: SlotQueue) -> None:
        """Its calls are bounded, among others; its cap must be ``cap``."""
        self._queues.add(queue)
        queue.freed = self._freed

    def leave(self, queue: SlotQueue) -> None:
        """Its calls are bounded otherwise from now on."""
        self._queues.discard(queue)
        queue.freed = None
        if not self._queues and self.granted:
            count, self.granted = self.granted, 0
            self._wanted = self._owed = 0
            self._give(count)

    def cap(self, queue: SlotQueue) -> int:
        """Calls that one of the queues may have running."""
        return self.granted - self._running + queue.running

    @property
    def _running(self) -> int:
        return sum([queue.running for queue in self._queues])

    @property
    def _waiting(self) -> int:
        return sum([queue.waiting for queue in self._queues])

    @property
    def expected(self) -> int:
        """Calls that will run at once, as far as can be foreseen."""
        return max(self.granted, self._fair)

    def ask(self) -> None:
        """A call waits, for which there may be no room."""
        calls = self._running + self._waiting + 1
        if calls > max(self.granted, self._wanted):
            self._wanted = calls
            self._want(calls)

    def grant(self, more: int, *, pressed: bool) -> None:
        """The others leave so many more to this process; ``pressed``: though some lack them."""
        self.granted += more
        self._pressed = pressed
        if self.granted >= self._wanted:
            self._wanted = 0
        for queue in tuple(self._queues):
            queue.fill()
        self._freed()

    def recall(self, left: int) -> None:
        """Others lack some: no more than ``left`` are to be kept, and those that are free are not
        either. What is in use is given back as calls end."""
        self._pressed = True
        self._wanted = 0
        self._owed = max(0, self.granted - left)
        self._freed()
        if self._waiting and not self._wanted:
            self.ask()

    def _freed(self) -> None:
        """A call has ended, or some were granted that nobody waits for any more."""
        if not (self._owed or self._pressed):
            return
        free = self.granted - self._running
        count = min(self._owed, free) if self._waiting else free
        if count > 0:
            self.granted -= count
            self._owed = max(0, self._owed - count)
            self._give(count)
            self._wanted = 0
            if self._waiting:
                self.ask()


MakeBound = Callable[[str, int], SharedBound]
"""Of a backend's name and the bound on its calls in all."""


def bound_of(
    backend: str, calls: int | None, queue: SlotQueue, make: MakeBound | None
) -> SharedBound | None:
    """What governs the calls in ``queue``; None where nothing bounds them, or one process is all
    that there is."""
    if make is None or calls is None:
        return None
    bound = make(backend, calls)
    bound.governs(queue)
    return bound
