"""The time that a bill and the ledger are compared for: whole hours or days (UTC). Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import msgspec

from adapters.types import BillLine
from gateway.money.text import iso

HOUR, DAY = 3600, 86_400
_BY_THE_HOUR = 4 * DAY
"""A longer period is compared by the day."""


class Period(msgspec.Struct, frozen=True):
    """Whole hours or days, in seconds since 1970-01-01 UTC; ``end`` is not in it."""

    start: float
    end: float

    @property
    def is_days(self) -> bool:
        """Whether it begins and ends with a day."""
        return self.start % DAY == 0 and self.end % DAY == 0

    def around(self, lines: Sequence[BillLine]) -> Period:
        """Widened to what the lines of a bill cover, which may be whole days."""
        starts = [self.start, *(line.start for line in lines)]
        return Period(min(starts), max([self.end, *(line.end for line in lines)]))

    def holds(self, instant: float) -> bool:
        """Whether the instant lies in it."""
        return self.start <= instant < self.end

    def __str__(self) -> str:
        return f"{iso(self.start, 'minutes')} to {iso(self.end, 'minutes')}"


def period_of(
    since: float | None, until: float | None, now_at: float, *, days: bool = False
) -> Period:
    """Rounded down to whole hours, or days where it is long or ``days`` are asked for: a bill knows
    nothing smaller. Left out: the last day. Raises ValueError where nothing whole is left."""
    end = now_at if until is None else min(until, now_at)
    start = end - DAY if since is None else since
    step = DAY if days or end - start > _BY_THE_HOUR else HOUR
    period = Period(math.floor(start / step) * step, math.floor(end / step) * step)
    if period.start >= period.end:
        name = "day" if step == DAY else "hour"
        raise ValueError(f"no {name} that has ended lies between the two, and a bill has no less")
    return period


def days_of(period: Period, lines: Sequence[BillLine]) -> tuple[Period, ...]:
    """The period cut at midnights (UTC), but for those that a line of the bill reaches across:
    nobody can say how much of it lies on either side."""
    midnights = range(math.floor(period.start / DAY) * DAY + DAY, math.ceil(period.end), DAY)
    cuts = [at for at in midnights if not any(line.start < at < line.end for line in lines)]
    edges = [period.start, *cuts, period.end]
    return tuple(Period(start, end) for start, end in itertools.pairwise(edges))
