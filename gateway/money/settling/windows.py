"""What counters of limits are filled with: the ledger's sums, and rows that came after these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from gateway.money.counted import Limited, amounts_of, scopes_of, sides_of, spent_of
from gateway.storage.base import Counted, LedgerRow
from gateway.storage.spent import Side, Spent, SpentQuery
from gateway.types import MICRO, Unit
from gateway.windows import bounds, read_window

_UNCOUNTED = frozenset(("idle", "correction"))
"""Kinds of rows for which no limit holds."""


class _Asked(msgspec.Struct, frozen=True):
    window: str
    side: Side
    since_us: int
    step_us: int


class Windows:
    """All windows of limits, so that a store is filled in one go: one that knows only some of them
    would let calls pass. ``now``: seconds since the epoch."""

    def __init__(self, limits: Limited, now: float) -> None:
        self._limits = limits
        self._asked = list(_asked(limits, round(now * MICRO)))
        self.queries = [
            SpentQuery(since=one.since_us / MICRO, side=one.side, step_us=one.step_us)
            for one in self._asked
        ]

    def counted(
        self, sums: Sequence[Sequence[Spent]], rows: Collection[LedgerRow], now: float
    ) -> list[Counted]:
        """``sums``: of each query, ``rows``: those that came later. Of a calendar window that has
        ended since, the sums are past."""
        found: list[Counted] = []
        for one, sum_of in zip(self._asked, sums, strict=True):
            since_us, _ = bounds(one.window, round(now * MICRO))
            goes_on = one.step_us or since_us == one.since_us
            later = [
                spent_of(row, one.side, one.step_us)
                for row in rows
                if row.kind not in _UNCOUNTED and row.started_at * MICRO >= since_us
            ]
            spent = [*sum_of, *later] if goes_on else later
            found.extend(_counters(spent, one.side, one.window, self._limits[one.window]))
        return found


def _asked(limits: Limited, now_us: int) -> Iterator[_Asked]:
    for text, wanted in limits.items():
        window = read_window(text)
        since_us, _ = bounds(text, now_us)
        step_us = window.step_us if window.rolling else 0
        for side in sides_of(kind for kind, _ in wanted):
            yield _Asked(text, side, since_us, step_us)


def _counters(
    spent: Iterable[Spent], side: Side, window: str, wanted: Collection[tuple[str, Unit]]
) -> Iterator[Counted]:
    """The sums of every scope that is limited in the window."""
    sums: defaultdict[tuple[str, Unit, int], int] = defaultdict(int)
    for row in spent:
        amounts = amounts_of(row)
        for kind, scope in scopes_of(row, side):
            for unit, amount in amounts.items():
                if (kind, unit) in wanted:
                    sums[scope, unit, row.step] += amount
    for (scope, unit, step), amount in sums.items():
        if amount:
            yield Counted(scope, unit, window, amount, step)
