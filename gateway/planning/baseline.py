"""How many workers are worth renting by the hour. Pure; O(1) a look, on average.

Layer by layer: the k-th reserved worker pays where a k-th worker will be wanted for a larger share
of the coming window than a reserved second costs beside one of the platform's. It is committed for
a while, and given up only when it is clearly not worth it. Source: the layered break-even of Wang,
Li and Liang, ICAC 2013 (arXiv 1305.5608), applied to the capacity that is wanted, not to that in
use, and to what is to be expected, not to what was.
"""

from __future__ import annotations

import msgspec

from gateway.planning.outlook import Outlook
from gateway.planning.shares import Shares, WantedSlots

_DAY_S = 86_400.0
_RECENT = 2
"""Decisions: the last minutes are the time between so many."""


class BaselineRule(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds."""

    share: float
    """A reserved second's price over the platform's: the k-th worker is reserved where it will be
    wanted for a larger share of the window."""
    window_s: float = 3600.0
    every_s: float = 300.0
    """Between two decisions."""
    commit_s: float = 3600.0
    """For which one that is reserved is kept in any case."""
    take: float = 0.85
    """It is reserved above this part of ``share``, for it also keeps promises that others would
    break."""
    give_up: float = 0.72
    """It is given up below this part of ``share``."""


class Baseline:
    """The number of reserved workers, followed from look to look."""

    __slots__ = ("_day", "_ends", "_next", "_outlook", "_rule", "_slots", "_window", "workers")

    def __init__(self, rule: BaselineRule, now: float) -> None:
        self._rule = rule
        self._next = now + rule.every_s
        self._window = max(1, round(rule.window_s / rule.every_s))
        self._day = max(self._window, round(_DAY_S / rule.every_s))
        self._slots = WantedSlots(rule.every_s, self._day, now)
        self._outlook = Outlook(self._window)
        self._ends: list[float] = []
        """Of each reserved worker, until when it is committed."""
        self.workers = 0

    def look(self, now: float, wanted: int) -> int:
        """How many to reserve from now on, and so many are wanted until the next look."""
        while now >= self._next:
            self._slots.until(self._next)
            self._slots.close()
            self._decide(self._next)
            self._next += self._rule.every_s
        self._slots.until(now)
        self._slots.want(wanted)
        return self.workers

    def _decide(self, now: float) -> None:
        slots = self._slots
        yesterday = slots.first(self._window) if len(slots) == self._day else None
        expected = self._outlook.expect(slots.last(self._window), slots.last(_RECENT), yesterday)
        worth = self._worth(expected)
        if worth > self.workers:
            self._ends += [now + self._rule.commit_s] * (worth - self.workers)
        while len(self._ends) > worth and self._ends[-1] <= now:
            self._ends.pop()
        self.workers = len(self._ends)

    def _worth(self, expected: Shares) -> int:
        """The highest layer that pays."""
        for layer in range(len(expected) - 1, 0, -1):
            rule = self._rule
            part = rule.give_up if layer <= self.workers else rule.take
            if expected[layer] > part * rule.share:
                return layer
        return 0
