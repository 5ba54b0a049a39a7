"""How long the answers of one model at one backend take: quantiles of the last ones. Pure."""

from __future__ import annotations

from collections import deque

from gateway.policy.sections.hedge import Quantile

ENOUGH = 50
"""Answers that must have been seen before a quantile of them means anything."""
KEPT = 512
"""Of these 1 % are five: a p99 is no single answer."""
_OFTEN = 16
"""Answers after which they are put into order again."""
_SHARES: dict[Quantile, float] = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


class AnswerQuantiles:
    """Seconds from asking to a whole answer, or to a stream's first token."""

    __slots__ = ("_last", "_new", "_ordered")

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=KEPT)
        self._ordered: list[float] = []
        self._new = 0

    def observe(self, seconds: float) -> None:
        """One more took so long, or longer where nobody waited for its end."""
        self._last.append(seconds)
        self._new += 1

    def after(self, quantile: Quantile) -> float | None:
        """Seconds within which so many come; None while too little is known."""
        if len(self._last) < ENOUGH:
            return None
        if self._new >= _OFTEN or not self._ordered:
            self._ordered, self._new = sorted(self._last), 0
        place = int(len(self._ordered) * _SHARES[quantile])
        return self._ordered[min(place, len(self._ordered) - 1)]
