"""How many workers are worth renting by the hour. Pure; O(1) a look, on average.

Layer by layer: the k-th reserved worker pays where a k-th worker was wanted for a larger share of
the window than a reserved second costs beside one of the platform's. It is committed for a while,
and given up only when it is clearly not worth it. Source: the layered break-even of Wang, Li and
Liang, ICAC 2013 (arXiv 1305.5608), applied to the capacity that is wanted, not to that in use.
"""

from __future__ import annotations

from collections import deque

import msgspec

_MOST = 512
"""Workers; more are not told apart."""


class BaselineRule(msgspec.Struct, frozen=True, kw_only=True):
    """Times are seconds."""

    share: float
    """A reserved second's price over the platform's: the k-th worker is reserved where it was
    wanted for a larger share of the window."""
    window_s: float = 3600.0
    every_s: float = 300.0
    """Between two decisions."""
    commit_s: float = 3600.0
    """For which one that is reserved is kept in any case."""
    give_up: float = 0.85
    """It is given up below this part of ``share``."""


class Baseline:
    """The number of reserved workers, followed from look to look."""

    __slots__ = ("_ends", "_next", "_rule", "_spans", "_wanted_s", "workers")

    def __init__(self, rule: BaselineRule, now: float) -> None:
        self._rule = rule
        self._next = now + rule.every_s
        self._spans: deque[tuple[float, int]] = deque()
        """(since when, wanted): each until the next."""
        self._wanted_s = [0.0] * (_MOST + 1)
        """By number wanted, of the spans that have ended."""
        self._ends: list[float] = []
        """Of each reserved worker, until when it is committed."""
        self.workers = 0

    def look(self, now: float, wanted: int) -> int:
        """How many to reserve from now on, after so many were wanted since the last look."""
        wanted = min(wanted, _MOST)
        self._note(now, wanted)
        if now >= self._next:
            self._next = now + self._rule.every_s
            self._decide(now)
        return self.workers

    def _note(self, now: float, wanted: int) -> None:
        spans = self._spans
        since, before = spans[-1] if spans else (now, -1)
        if before != wanted or now - since >= self._rule.every_s:
            if spans:
                self._wanted_s[before] += now - since
            spans.append((now, wanted))
        start = now - self._rule.window_s
        while len(spans) > 1 and spans[1][0] <= start:
            since, before = spans.popleft()
            self._wanted_s[before] -= spans[0][0] - since

    def _decide(self, now: float) -> None:
        start = now - self._rule.window_s
        since, last = self._spans[-1]
        first_since, first = self._spans[0]
        if len(self._spans) > 1 and first_since < start:
            # Of the first span only a part lies in the window.
            self._wanted_s[first] -= start - first_since
            self._spans[0] = (start, first)
        since, covered = max(since, start), now - max(first_since, start)
        above = 0.0
        worth = 0
        for count in range(_MOST, 0, -1):
            above += self._wanted_s[count] + (now - since if count == last else 0.0)
            share = self._rule.share * (self._rule.give_up if count <= self.workers else 1.0)
            if above > share * covered:
                worth = count
                break
        if worth > self.workers:
            self._ends += [now + self._rule.commit_s] * (worth - self.workers)
        while len(self._ends) > worth and self._ends[-1] <= now:
            self._ends.pop()
        self.workers = len(self._ends)
