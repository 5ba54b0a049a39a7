"""Slots of one backend: so many calls at once. The others wait in line, and take whatever is free
first: a call may stand in the lines of several backends, and leaves all of them with its slot.

A call that waits here has been sent nowhere yet, so it may still be rerouted to a backend that
would answer it sooner: a line is only as good as the prediction that put calls into it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from adapters.base import Clock
from gateway.backends.line_room import LineRoom
from gateway.planning.kept_free import KeptFree
from gateway.planning.line import LINES, Line, Place

MOVED_AT_ONCE = 8
"""Calls that one look may reroute: what they do elsewhere must be seen before more follow."""

_RANKS = 4
"""Those of calls, and behind them that of a batch's lines."""
ANYWHERE = Place()

Reconsider = Callable[[int], Exception | None]
"""Asked with the number of calls that are before this one; an exception sends it away."""


class Replaced(Exception):
    """Raised to a call in line: another backend stands in the place of one that it waits for, or
    one is drained, and it is to wait anew."""


class Waiter:
    """One call in line: done when its slot is granted, by the queue that has it, or with what sends
    it away."""

    __slots__ = ("granted", "place", "queues", "reconsider")

    def __init__(
        self, queues: Sequence[SlotQueue], place: Place, reconsider: Reconsider | None
    ) -> None:
        """``queues``: where it stands; it counts as waiting in the first."""
        self.granted: asyncio.Future[SlotQueue] = asyncio.get_running_loop().create_future()
        self.queues = queues
        self.place = place
        self.reconsider = reconsider

    def leave(self) -> None:
        """It stands in no line any more."""
        for queue in self.queues:
            queue.forget(self)

    def send_away(self, why: Exception) -> None:
        self.leave()
        if not self.granted.done():
            self.granted.set_exception(why)


class SlotQueue:
    """``cap`` says how many may run at this instant; ``None``: as many as like."""

    def __init__(
        self,
        cap: Callable[[], int | None],
        clock: Clock,
        kept_free: Callable[[], KeptFree | None] = lambda: None,
    ) -> None:
        """``kept_free``: the slots that lines of batches leave to calls; None: none are."""
        self._cap = cap
        self._kept_free = kept_free
        self._clock = clock
        self.line: Line[Waiter] = Line()
        self.arrivals = 0
        """Calls on their connections that came, since ever."""
        self.line_s = 0.0
        """Seconds that the last line of a batch should take."""
        self._room = LineRoom()
        self._lines: dict[Waiter, float] = {}
        """Those of batches that wait, those among them that stand elsewhere too, and until when
        each may."""
        self._of_rank = [0] * _RANKS
        """Of those that wait for this backend first."""
        self.running = 0
        self.waiting = 0
        """Calls in line, those among them that stand elsewhere too."""
        self.freed: Callable[[], None] | None = None
        """Called when a call has ended, before its slot goes to another."""

    @property
    def waiting_first(self) -> int:
        """Calls in line for this backend before all others."""
        return sum(self._of_rank)

    def waiting_below(self, rank: int) -> int:
        """Calls in line that one of this rank would go before."""
        return sum(self._of_rank[: rank - LINES])

    def before(self, reconsider: Reconsider) -> int | None:
        """Calls in line before the one that is asked by this; None where it does not wait here."""
        own = next((one for one in self.line if one.reconsider is reconsider), None)
        return None if own is None else self.line.before(own)

    def ahead_of(self, rank: int, calls: int) -> int:
        """Of so many calls that are there, those that run or stand before one of this rank."""
        return calls if calls <= self.running else calls - self.waiting_below(rank)

    def take(self) -> bool:
        """True when there is a slot now, which is then taken."""
        cap = self._cap()
        if (cap is not None and self.running >= cap) or self.waiting:
            return False
        self.running += 1
        room = self._room
        calls = self.running - room.running
        if calls > room.most_calls:
            room.saw(calls)
        return True

    def take_for_line(self, place: Place) -> bool:
        """The same for the line of a batch."""
        self.line_s, now = place.work_s, self._clock.monotonic()
        if self.waiting or self._keeps_free(now, now + place.patience_s):
            return False
        cap = self._cap()
        if cap is not None and self.running >= cap:
            return False
        self.running += 1
        self._room.begin(now)
        return True

    def _keeps_free(self, now: float, until: float) -> bool:
        """Whether what is free is left to calls on their connections. ``until``: when the first of
        the lines may wait no longer for that."""
        kept = self._kept_free()
        if kept is None or until <= now:
            return False
        return not self._room.takes(kept, self.running, self.line_s, now)

    def add(self) -> None:
        """One more runs there already, however many may."""
        self.running += 1

    async def wait(
        self,
        reconsider: Reconsider | None = None,
        place: Place = ANYWHERE,
        others: Sequence[SlotQueue] = (),
        since: float | None = None,
    ) -> SlotQueue:
        """Until a slot is granted, here or in one of the ``others``, whichever is free first:
        returns whose. ``since``: from when on the call has waited, where that is not now. Raises
        what ``reconsider`` gave when rerouted."""
        waiter = Waiter((self, *others), place, reconsider)
        came = self._clock.monotonic() if since is None else since
        for queue in waiter.queues:
            queue.line.add(waiter, came, place)
            queue.waiting += 1
            if place.rank == LINES:
                queue._lines[waiter] = came + place.patience_s
            else:
                queue._room.saw(queue._calls)
        self._of_rank[place.rank - LINES] += 1
        for queue in others:
            queue.fill()
        if self._lines:
            self.fill()
        try:
            return await waiter.granted
        except BaseException:
            waiter.leave()
            if waiter.granted.done() and not waiter.granted.cancelled() and _was_granted(waiter):
                # granted in the instant in which the caller was cancelled
                waiter.granted.result().give_back(is_line=place.rank == LINES)
            raise

    def forget(self, waiter: Waiter) -> None:
        """It stands here no more, if it did."""
        if self.line.remove(waiter):
            self._count_out(waiter)

    def _count_out(self, waiter: Waiter) -> None:
        self.waiting -= 1
        if waiter.place.rank == LINES:
            del self._lines[waiter]
        if waiter.queues[0] is self:
            self._of_rank[waiter.place.rank - LINES] -= 1

    @property
    def _calls(self) -> int:
        """That run or wait and are no lines of batches."""
        return self.running - self._room.running + self.waiting - len(self._lines)

    def give_back(self, *, is_line: bool = False) -> None:
        """A call ended, or the line of a batch: its slot goes to the first in line."""
        self.running -= 1
        self._room.running -= is_line
        if self.freed is not None:
            self.freed()
        if self.waiting:
            self.fill()

    def fill(self) -> None:
        """Grants what slots there are."""
        if not self.waiting:
            return
        cap, now = self._cap(), self._clock.monotonic()
        while (cap is None or self.running < cap) and self.waiting:
            least = LINES
            if self._lines and self._keeps_free(now, min(self._lines.values())):
                if len(self._lines) == self.waiting:
                    return
                least = 0
            waiter = self.line.take(now, least)
            self._count_out(waiter)
            waiter.leave()
            if not waiter.granted.done():
                self.running += 1
                if waiter.place.rank == LINES:
                    self._room.begin(now)
                waiter.granted.set_result(self)

    def dismiss(self, why: Exception) -> None:
        """Sends all away who wait."""
        for waiter in self.line.last(self.waiting):
            waiter.send_away(why)

    def reroute(self) -> None:
        """Asks those that wait for this backend first, from the end of the line on, until one would
        rather stay: those before it wait less."""
        ahead = self.running + self.waiting_first
        for waiter in self.line.last(MOVED_AT_ONCE):
            if waiter.queues[0] is not self:
                continue
            ahead -= 1
            why = None if waiter.reconsider is None else waiter.reconsider(ahead)
            if why is None:
                return
            waiter.send_away(why)


def _was_granted(waiter: Waiter) -> bool:
    return waiter.granted.exception() is None
