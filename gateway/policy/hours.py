"""Hours of the week on a local clock -> instants. Pure.

A span that crosses midnight belongs to the day on which it begins. Where daylight saving ends
and an hour comes twice, a span begins at its first coming and ends at its last; where an hour is
left out, a time inside it stands for as many minutes after the gap's beginning.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Iterator

from gateway.policy.syntax.scalars import WeeklyHours

_DAY = datetime.timedelta(days=1)
_WEEK_S = 7 * 86400.0
_DAYS_SEEN = 10
"""A week, and what may reach into it from either side."""


def within(hours: WeeklyHours | None, epoch_s: float, ahead_s: float = 0.0) -> bool:
    """Whether the instant lies in the hours, or at most ``ahead_s`` before they begin.

    ``None`` means always.
    """
    if hours is None:
        return True
    return any(begin <= epoch_s < end for begin, end in _spans(hours, epoch_s, ahead_s))


def next_change(hours: WeeklyHours | None, epoch_s: float, ahead_s: float = 0.0) -> float:
    """The first instant after ``epoch_s`` at which ``within`` changes; infinity for never."""
    if hours is None:
        return float("inf")
    covered = epoch_s
    for begin, end in sorted(_spans(hours, epoch_s, ahead_s)):
        if begin > covered:  # a gap: either we stand in it, or it is what comes next
            return begin if covered == epoch_s else covered
        covered = max(covered, end)
    return covered if epoch_s < covered <= epoch_s + _WEEK_S else float("inf")


def _spans(hours: WeeklyHours, epoch_s: float, ahead_s: float) -> Iterator[tuple[float, float]]:
    """Every span that could matter to the week after the instant, each begun ``ahead_s`` early."""
    ahead_s = min(ahead_s, _WEEK_S)
    zone = _zone(hours.zone)
    today = datetime.datetime.fromtimestamp(epoch_s, zone).date()
    last = int(ahead_s // 86400) + _DAYS_SEEN
    for step in range(-2, last):
        day = today + step * _DAY
        if day.weekday() in hours.days:
            yield (
                _instant(day, hours.start, zone, fold=0) - ahead_s,
                max(_instant(day, hours.end, zone, fold=fold) for fold in (0, 1)),
            )


def _zone(name: str) -> datetime.tzinfo:
    """UTC needs no zone data, which a small machine may lack."""
    return datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


def _instant(day: datetime.date, minute: int, zone: datetime.tzinfo, *, fold: int) -> float:
    """Seconds since the epoch of a wall-clock minute, counted from the day's midnight."""
    days, minutes = divmod(minute, 1440)
    date = day + days * _DAY
    time = datetime.time(minutes // 60, minutes % 60, tzinfo=zone, fold=fold)
    return datetime.datetime.combine(date, time).timestamp()
