"""Workers that a platform was told to keep: which of them are up, and which still start."""

from __future__ import annotations

from collections import deque


class HeldWorkers:
    """Of one backend. Instants are monotonic seconds.

    A platform that says how many of its workers are up is believed; of any other a start is taken
    to be over when starts are, by what they took.
    """

    __slots__ = ("_starts", "_up", "count", "said_up")

    def __init__(self) -> None:
        self.count = 0
        """As many as the platform was told."""
        self._up = 0
        self._starts: deque[tuple[float, int]] = deque()
        """(since when, workers), the oldest first."""
        self.said_up: int | None = None
        """As many as the platform said last are up, busy ones among them; None where it says
        nothing of that."""

    def tell(self, workers: int, now: float) -> None:
        """The platform was told to keep so many. What starts is given up before what is up."""
        more = workers - self.count
        self.count = workers
        if more > 0:
            self._starts.append((now, more))
        while more < 0 and self._starts:
            since, starting = self._starts.pop()
            more += starting
            if more > 0:
                self._starts.append((since, more))
        self._up = min(self._up, workers)

    def hear(self, up: int) -> None:
        """The platform says that so many of its workers are up, busy ones among them."""
        self.said_up = up

    def doubt(self, now: float) -> None:
        """A call that should have found one of them had to wait for a start."""
        self._starts.clear()
        self._up = 0
        self.said_up = None if self.said_up is None else 0
        if self.count:
            self._starts.append((now, self.count))

    def up(self, now: float, start_s: float) -> int:
        """How many are up, where a start takes ``start_s``."""
        starts = self._starts
        while starts and now - starts[0][0] >= start_s:
            self._up += starts.popleft()[1]
        return self._up if self.said_up is None else min(self.count, self.said_up)

    def starting_for_s(self, now: float, start_s: float) -> float | None:
        """Seconds since the oldest start began that is not over; None where none is under way."""
        if self.up(now, start_s) >= self.count:
            return None
        return now - self._starts[0][0] if self._starts else start_s
