"""Days, months and hours of a time zone, as SQL over an instant and as the words that are told.

Instants are integer microseconds since the epoch. The zone's offsets are written into the statement
as a CASE over the instants at which they change, which every database reads alike.
"""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections.abc import Iterator

import msgspec

from gateway.types import MICRO

HOUR_US = 3_600 * MICRO
DAY_US = 24 * HOUR_US
MOMENTS = ("hour", "day", "month", "hour_of_week")
"""Dimensions that are read from when a call began."""
_EPOCH = datetime.date(1970, 1, 1)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_THURSDAY_H = 72  # 1970-01-01 was a Thursday, and a week begins on Monday
_HOUR_OF_WEEK = re.compile(rf"({'|'.join(_DAYS)}) ([01]\d|2[0-3]):00\Z")
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])\Z")
_LAST_US = 7_258_118_400 * MICRO
"""2200-01-01: nothing later is looked for."""
_EXAMPLES = {
    "day": "2026-01-31",
    "hour": "2026-01-31T13:00Z",
    "month": "2026-01",
    "hour_of_week": "'Mon 13:00'",
}


def zone_of(name: str) -> datetime.tzinfo:
    """Raises ValueError for a name that is no time zone."""
    if name == "UTC":
        return datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone such as Europe/Berlin or UTC") from None


def instant_of(text: str, zone: datetime.tzinfo) -> float:
    """Seconds since the epoch of a date or a time, which is the zone's unless it says otherwise; in
    a query string, the plus of an offset arrives as a space. Raises ValueError."""
    moment = datetime.datetime.fromisoformat(re.sub(r" (\d\d:?\d\d)\Z", r"+\1", text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    try:
        seconds = moment.timestamp()
    except OverflowError:
        raise ValueError("out of range") from None
    if seconds < 0:
        raise ValueError("before the epoch")
    return seconds


def interval_of(name: str, text: str, zone: datetime.tzinfo) -> tuple[float, float]:
    """(begin, end) in seconds of the day, hour or month that ``text`` names. Raises ValueError."""
    try:
        if name == "hour":
            return _hour(instant_of(text, zone), zone)
        first = _first_of_month(text) if name == "month" else _local(text, zone).date()
        after = _next_month(first) if name == "month" else first + datetime.timedelta(days=1)
        return _midnight(first, zone), _midnight(after, zone)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no {name} such as {_EXAMPLES[name]}") from None


def hour_of_week(text: str) -> int:
    """Hours since Monday 00:00 of 'Mon 13:00'. Raises ValueError."""
    found = _HOUR_OF_WEEK.match(text)
    if found is None:
        example = _EXAMPLES["hour_of_week"]
        raise ValueError(f"{text!r} is no hour_of_week such as {example}")
    return _DAYS.index(found[1]) * 24 + int(found[2])


class Calendar(msgspec.Struct, frozen=True):
    """The calendar of a zone between two instants, outside of which there is nothing."""

    zone: datetime.tzinfo
    offsets: tuple[tuple[int, int], ...]
    """(from when, microseconds to be added to UTC), the latest first."""
    months: tuple[tuple[int, int], ...]
    """(when it begins, 12 * year + month - 1), the latest first."""

    def in_steps_of(self, length_us: int) -> bool:
        """Whether what the zone's clocks tell changes only where such a length of UTC ends."""
        changes = [at for at, _ in self.offsets[:-1]]
        return all(at % length_us == 0 for at in (*changes, *(o for _, o in self.offsets)))

    def steady(self, begin_us: int, end_us: int) -> int | None:
        """What is added to UTC from one instant to another; None where that changes meanwhile."""
        changes = [at for at, _ in self.offsets[:-1]]
        if any(begin_us < at < end_us for at in changes):
            return None
        later = (offset for at, offset in self.offsets if at <= begin_us)
        return next(later, self.offsets[-1][1])

    def expression(self, name: str, instant: str) -> str:
        """SQL for a moment, an integer, by the SQL of an instant."""
        if name == "month":
            return _cases(self.months, instant)
        if name == "hour" and self.in_steps_of(HOUR_US):
            return f"({instant} / {HOUR_US} * {HOUR_US})"
        offset = _cases(self.offsets, instant)
        local = f"({instant} + {offset})"
        if name == "hour":
            return f"({local} / {HOUR_US} * {HOUR_US} - {offset})"
        if name == "day":
            return f"({local} / {DAY_US})"
        return f"(({local} / {HOUR_US} + {_THURSDAY_H}) % 168)"

    def label(self, name: str, value: int) -> str:
        """What is told of the expression's value."""
        if name == "day":
            return str(_EPOCH + datetime.timedelta(days=value))
        if name == "month":
            return f"{value // 12}-{value % 12 + 1:02}"
        if name == "hour_of_week":
            return f"{_DAYS[value // 24]} {value % 24:02}:00"
        moment = datetime.datetime.fromtimestamp(value // MICRO, self.zone)
        return moment.isoformat(timespec="minutes").replace("+00:00", "Z")


def calendar_of(zone: datetime.tzinfo, first_us: int, last_us: int) -> Calendar:
    """That of ``zone`` from ``first_us`` to ``last_us``, both of which it holds."""
    first_us, last_us = max(0, first_us), min(max(first_us, last_us), _LAST_US)
    offsets = tuple(_offsets(zone, first_us // MICRO, last_us // MICRO))[::-1]
    months = tuple(_months(zone, first_us // MICRO, last_us // MICRO))[::-1]
    return Calendar(zone, offsets, months)


def _cases(steps: tuple[tuple[int, int], ...], instant: str) -> str:
    """The value of the step in which the instant lies; the earliest one's before it too."""
    *later, (_, value) = steps
    cases = "".join(f"WHEN {instant} >= {at} THEN {value} " for at, value in later)
    return f"CASE {cases}ELSE {value} END" if cases else str(value)


def _offset(zone: datetime.tzinfo, at: int) -> int:
    offset = datetime.datetime.fromtimestamp(at, zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds()) * MICRO


def _offsets(zone: datetime.tzinfo, first: int, last: int) -> Iterator[tuple[int, int]]:
    known = _offset(zone, first)
    yield first * MICRO, known
    if zone is datetime.UTC:
        return
    at = first
    while at < last:
        following = min(at + 86_400, last)
        offset = _offset(zone, following)
        if offset != known:
            yield _change(zone, at, following) * MICRO, offset
            known = offset
        at = following


def _change(zone: datetime.tzinfo, before: int, after: int) -> int:
    """The first second between the two that has the later one's offset."""
    new = _offset(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == new:
            after = middle
        else:
            before = middle
    return after


def _months(zone: datetime.tzinfo, first: int, last: int) -> Iterator[tuple[int, int]]:
    month = datetime.datetime.fromtimestamp(first, zone).date().replace(day=1)
    while (begins := _midnight(month, zone)) <= last:
        yield round(begins * MICRO), month.year * 12 + month.month - 1
        month = _next_month(month)


def _next_month(first: datetime.date) -> datetime.date:
    return (first + datetime.timedelta(days=31)).replace(day=1)


def _first_of_month(text: str) -> datetime.date:
    found = _MONTH.match(text)
    if found is None:
        raise ValueError(text)
    return datetime.date(int(found[1]), int(found[2]), 1)


def _local(text: str, zone: datetime.tzinfo) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(instant_of(text, zone), zone)


def _midnight(day: datetime.date, zone: datetime.tzinfo) -> float:
    """Where clocks are put forward at midnight, the day begins at the change."""
    return datetime.datetime.combine(day, datetime.time(), zone).timestamp()


def _hour(at: float, zone: datetime.tzinfo) -> tuple[float, float]:
    offset = _offset(zone, int(at)) // MICRO
    begin = (int(at) + offset) // 3_600 * 3_600 - offset
    return begin, begin + 3_600
