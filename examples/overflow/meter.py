"""How long each worker was up, and what that comes to: the bill. Pure; instants are passed in.

As on the platform a worker is billed from its start to its end: its idle time as well, which no
job states.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import msgspec

BUCKETS = {"hour": 3600.0, "day": 86_400.0}
MOST_BUCKETS = 10_000
_KEPT = 10_000
"""Workers that have ended; the oldest are forgotten first."""


class Span(msgspec.Struct):
    began: float
    ended: float | None = None

    def within(self, start: float, end: float, now: float) -> float:
        """Seconds of it between two instants."""
        until = min(end, now if self.ended is None else self.ended)
        return max(0.0, until - max(start, self.began))


class Bucket(msgspec.Struct, frozen=True):
    start: float
    seconds: float
    """Of all workers together, each rounded up."""


class Meter:
    """Instants are seconds since 1970-01-01 UTC."""

    def __init__(self, usd_per_hour: float) -> None:
        self.usd_per_hour = usd_per_hour
        self._spans: deque[Span] = deque(maxlen=_KEPT)

    def started(self, now: float) -> Span:
        """A worker's span, whose end its owner sets."""
        span = Span(now)
        self._spans.append(span)
        return span

    def cost(self, seconds: float) -> float:
        """US dollars."""
        return round(seconds * self.usd_per_hour / 3600, 9)

    def buckets(self, start: float, end: float, size: float, now: float) -> Iterator[Bucket]:
        """Those that hold anything, widened to whole buckets. Raises ValueError for too many."""
        first, last = math.floor(start / size), math.ceil(end / size)
        if last - first > MOST_BUCKETS:
            raise ValueError(f"more than {MOST_BUCKETS} buckets")
        for number in range(first, last):
            began = number * size
            used = [span.within(began, began + size, now) for span in self._spans]
            if seconds := sum(map(math.ceil, used)):
                yield Bucket(began, seconds)
