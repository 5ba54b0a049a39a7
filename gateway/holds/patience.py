"""How long a job that has not begun waits for what others hold."""

from __future__ import annotations

import math
from collections import OrderedDict

from gateway.clock import Clock

_PATIENCE_S = 600.0
_NEXT_S = 30.0
"""From one that gives way to the next."""
_MOST_WAITING = 10_000


class WaitingForRoom:
    """Jobs for which others hold too much, and since when. Where all that is held is held by jobs
    that wait in the same way, or by another gateway, nobody knows whether any of it comes back:
    the first whose patience ends gives its own hold to the others."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()
        self._gave_way_at = -math.inf

    def has_patience(self, job: str) -> bool:
        """Whether the job may wait on; if not, what it holds is soon the others', who wait for
        that."""
        now = self._clock.monotonic()
        since = self._since.setdefault(job, now)
        if len(self._since) > _MOST_WAITING:
            self._since.popitem(last=False)
        if max(since, self._gave_way_at - _PATIENCE_S + _NEXT_S) > now - _PATIENCE_S:
            return True
        self._gave_way_at = now
        return False

    def forget(self, job: str) -> None:
        """It has room, or has ended."""
        self._since.pop(job, None)
