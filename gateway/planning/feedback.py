"""Whether promises are kept as often as they should be; and what follows. Pure."""

from __future__ import annotations

import math

_STEP = 0.05
_MOST = 16.0


class Feedback:
    """A factor on what a late call is worth: above 1 while too many come late, below it while more
    come in time than was asked for. It stays within 1/16 and 16, and ends where ``target`` of all
    calls, 0 to 1, come in time."""

    __slots__ = ("_kept", "_late", "factor")

    def __init__(self, target: float) -> None:
        self._kept = math.exp(-_STEP * (1 - target))
        self._late = math.exp(_STEP * target)
        self.factor = 1.0

    def observe(self, in_time: bool) -> None:
        """A call has got its worker."""
        factor = self.factor * (self._kept if in_time else self._late)
        self.factor = min(_MOST, max(1 / _MOST, factor))
