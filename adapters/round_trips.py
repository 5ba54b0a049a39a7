"""How far away a host is: the round trips of small requests to it, as they were last."""

from __future__ import annotations

from collections import deque

KEPT = 8
"""Of the last ones; a way that has become longer is believed once so many have taken longer."""


class RoundTrips:
    """Seconds from a request's last byte to its answer's first. The least of the last ones counts:
    what a server does before it answers only adds to the way, and so does a network in a queue."""

    __slots__ = ("_last", "least")

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=KEPT)
        self.least: float | None = None
        """None before the first."""

    def observe(self, seconds: float) -> None:
        """One more."""
        self._last.append(seconds)
        self.least = min(self._last)
