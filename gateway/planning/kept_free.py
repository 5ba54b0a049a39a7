"""Slots that the lines of batches leave free for calls on their connections. Pure.

A line that runs is not stopped, so a call for which no slot is free waits until one ends: for a run
divided by the slots, on the average. So many are left free that calls take a twentieth longer at
the most, all in all: as many as a Poisson process seldom brings until a slot is free again. Where
there are many slots, that is none.
"""

from __future__ import annotations

from math import exp
from typing import NamedTuple

_LONGER = 0.05
"""Part of a run by which calls may take longer on the average, where lines run as long as they."""
_WINDOW_S = 10.0
_REMEMBERED_S = 60.0
"""A call that came longer ago keeps nothing free."""


class KeptFree(NamedTuple):
    """So many of the slots are left to calls on their connections."""

    free: int
    slots: int


class ArrivalRate:
    """Calls a second that come, by what was counted since the last look."""

    __slots__ = ("_counted", "_last", "_rate", "_seen", "_since")

    def __init__(self, now: float) -> None:
        self._rate = 0.0
        self._counted = self._seen = 0
        self._since = now
        self._last = -_REMEMBERED_S
        """When one was seen to have come last."""

    def rate(self, counted: int, now: float) -> float:
        """``counted``: all that ever came; ``now``: monotonic seconds. 0 where none came in the
        last minute."""
        new, passed_s = counted - self._counted, now - self._since
        if counted != self._seen:
            self._seen, self._last = counted, now
        if now - self._last >= _REMEMBERED_S:
            self._counted, self._since, self._rate = counted, now, 0.0
            return 0.0
        if passed_s >= _WINDOW_S:
            before = self._rate if passed_s < _REMEMBERED_S else new / passed_s
            self._rate = (before + new / passed_s) / 2
            self._counted, self._since = counted, now
            return max(self._rate, 1 / _REMEMBERED_S)
        return max(self._rate, new / _WINDOW_S, 1 / _REMEMBERED_S)


def kept_free(rate: float, run_s: float, slots: int) -> int:
    """Of so many slots; ``rate``: calls a second that come, ``run_s``: of a line. One is always
    left to the lines."""
    if not rate or slots < 2:
        return 0
    mean = rate * run_s / slots
    free, meets_none, term = 0, 1.0, exp(-mean)
    while meets_none / slots > _LONGER and free < slots - 1:
        free += 1
        meets_none -= term
        term *= mean / free
    return free
