"""How long a worker takes to start, as samples that stand for the distribution. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

_MOST_RACED = 8
"""Workers that are started for one call at most."""


class StartSamples:
    """Of equally likely ``seconds``, at least one."""

    __slots__ = ("_fastest", "_seconds")

    def __init__(self, seconds: Sequence[float]) -> None:
        self._seconds = sorted(seconds)
        self._fastest = tuple(self._mean_of_fastest(k) for k in range(1, _MOST_RACED + 1))

    def within(self, seconds: float) -> float:
        """The probability that a start takes no longer."""
        return bisect.bisect_right(self._seconds, seconds) / len(self._seconds)

    def quantile(self, share: float) -> float:
        """Seconds that ``share`` of all starts, 0 to 1, do not exceed."""
        at = share * (len(self._seconds) - 1)
        low = int(at)
        high = min(low + 1, len(self._seconds) - 1)
        return self._seconds[low] + (at - low) * (self._seconds[high] - self._seconds[low])

    def fastest_of(self, count: int) -> float:
        """The mean time of the first of ``count`` starts, 1 to 8, that begin together."""
        return self._fastest[count - 1]

    def _mean_of_fastest(self, count: int) -> float:
        """The mean of the least of ``count`` draws: a sample is the least where none is smaller,
        and not all are larger."""
        total = len(self._seconds)
        mean, larger = 0.0, 1.0
        for index, seconds in enumerate(self._seconds):
            rest = ((total - index - 1) / total) ** count
            mean += seconds * (larger - rest)
            larger = rest
        return mean
