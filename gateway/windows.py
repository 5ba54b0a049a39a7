"""The windows of limits, as arithmetic on integer microseconds since the epoch (UTC).

A window is written as one text, which is also its name in the stores:

    second, minute, hour, day, week, month      of the calendar, UTC
    day Europe/Berlin, week, month              of the calendar of a time zone
    month from 15, week from sun                whose month or week begins on another day
    90s, 30m, 24h, 7d                           rolling: the time until now, of that length

A rolling window is counted in ``STEPS`` steps of equal length, the one that its beginning lies in
included. So what was used counts for its whole length, and for at most one step longer: never for
less, and a cap is not passed for it.

Pure: every function takes the instant it needs. ``counters.lua`` does the same sums on the Redis
server, from the ``edges`` that it is sent; the contract suite holds the two together.
"""

from __future__ import annotations

import bisect
import calendar
import datetime
import functools
import re
import zoneinfo

import msgspec

from gateway.types import MICRO

_SECOND = MICRO
_DAY = 86_400 * _SECOND

RATE_US: dict[str, int] = {
    "second": _SECOND,
    "minute": 60 * _SECOND,
    "hour": 3600 * _SECOND,
    "day": _DAY,
    "week": 7 * _DAY,
    "month": 30 * _DAY,
}
"""How long a rate's window is; a rate knows no calendar, so its month has 30 days."""

STEPS = 60
"""Of a rolling window; what was used is counted for at most one of them too long."""
LONGEST_US = 31 * _DAY
"""Of a rolling window: a store remembers what a call holds for longer than any window."""
EXAMPLES = "month, day Europe/Berlin, month from 15, week from sun, 24h"

_MONDAY = 4 * _DAY  # 1970-01-05, the first Monday: weeks are counted from it
_EPOCH = datetime.date(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LOCAL = ("day", "week", "month")
"""Periods that begin at another instant in another time zone."""
_LENGTH = re.compile(r"(?P<number>[1-9]\d{0,9})(?P<unit>[smhd])\Z")
_LENGTHS = {"s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND, "d": _DAY}
_CALENDAR = re.compile(
    r"(?P<period>[a-z]+)(?:\s+from\s+(?P<first>[A-Za-z]+|\d{1,2}))?"
    r"(?:\s+(?P<zone>[A-Za-z][A-Za-z0-9_+/-]*))?\Z"
)


class LimitWindow(msgspec.Struct, frozen=True):
    """What a window's text says."""

    text: str
    """As it is written everywhere: two texts are two windows."""
    length_us: int
    """Of a rolling window and of a rate; of a period its usual length."""
    rolling: bool = False
    period: str = ""
    """Of the calendar; empty where it rolls."""
    zone: str = "UTC"
    first: int = 0
    """The day on which a month begins, 1 to 31: in a month without it, the last one; or a week,
    0 to 6 from Monday."""

    @property
    def step_us(self) -> int:
        """Of a rolling window: the microseconds that are counted together."""
        return -(-self.length_us // STEPS)

    @property
    def is_plain(self) -> bool:
        """Whether every store can tell its bounds by itself."""
        return self.text in RATE_US


# --- texts --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def read_window(text: str) -> LimitWindow:
    """What a text says, in its one spelling. Raises ValueError."""
    text = " ".join(text.split())
    if text in RATE_US:
        first = 1 if text == "month" else 0
        return LimitWindow(text, RATE_US[text], period=text, first=first)
    length = _LENGTH.match(text)
    return _calendar(text) if length is None else _rolling(text, length)


def _rolling(text: str, match: re.Match[str]) -> LimitWindow:
    length = int(match["number"]) * _LENGTHS[match["unit"]]
    if length > LONGEST_US:
        raise ValueError(f"a rolling window is at most {LONGEST_US // _DAY}d; found {text}")
    return LimitWindow(text, length, rolling=True)


def _calendar(text: str) -> LimitWindow:
    match = _CALENDAR.match(text)
    if match is None or match["period"] not in RATE_US:
        raise ValueError(f"{text!r} is no window; windows are such as {EXAMPLES}")
    period, zone = match["period"], match["zone"] or "UTC"
    if (match["first"] or match["zone"]) and period not in _LOCAL:
        raise ValueError(f"{period} is the same in every time zone: write it alone")
    first = _first(period, match["first"])
    check_zone(zone)
    begins = f" from {_written(period, first)}" if match["first"] else ""
    named = f" {zone}" if match["zone"] else ""
    return LimitWindow(f"{period}{begins}{named}", RATE_US[period], False, period, zone, first)


def _first(period: str, said: str | None) -> int:
    if said is None:
        return 1 if period == "month" else 0
    if period == "month" and said.isdecimal() and 1 <= int(said) <= 31:
        return int(said)
    if period == "week" and said[:3].lower() in _WEEKDAYS and not said.isdigit():
        return _WEEKDAYS.index(said[:3].lower())
    wanted = {"month": "a day from 1 to 31", "week": f"one of {', '.join(_WEEKDAYS)}"}
    if period not in wanted:
        raise ValueError(f"a {period} begins at midnight; only a month and a week begin from a day")
    raise ValueError(f"a {period} begins from {wanted[period]}; found {said!r}")


def _written(period: str, first: int) -> str:
    return str(first) if period == "month" else _WEEKDAYS[first]


def check_zone(zone: str) -> None:
    """Raises ValueError for a time zone that nobody knows."""
    if zone == "UTC":  # known even where no zone data is installed
        return
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{zone!r} is not a time zone that this machine knows") from None


# --- the calendar -------------------------------------------------------------------------------


def bounds(window: str, now_us: int) -> tuple[int, int]:
    """(start, end) in microseconds of the window that holds ``now_us``; end excluded.

    Without more words a week begins on Monday 00:00 UTC, a month on its first day. Of a rolling
    window: its first step's start and its last one's end. Raises ValueError for what is no window.
    """
    if window == "month":
        return _month(now_us)
    length = RATE_US.get(window)
    if length is None:
        return _bounds(read_window(window), now_us)
    offset = _MONDAY if window == "week" else 0
    start = now_us - (now_us - offset) % length
    return start, start + length


def _month(now_us: int) -> tuple[int, int]:
    first = (_EPOCH + datetime.timedelta(days=now_us // _DAY)).replace(day=1)
    after = (first + datetime.timedelta(days=31)).replace(day=1)
    return (first - _EPOCH).days * _DAY, (after - _EPOCH).days * _DAY


def _bounds(window: LimitWindow, now_us: int) -> tuple[int, int]:
    if window.rolling:
        step = window.step_us
        return oldest_step(window, now_us) * step, (now_us // step + 1) * step
    known = edges(window, now_us)
    after = bisect.bisect_right(known, now_us)
    return known[after - 1], known[after]


def oldest_step(window: LimitWindow, now_us: int) -> int:
    """The number of the first step that still counts at ``now_us``; that of an instant is the
    instant divided by ``step_us``, rounded down."""
    return (now_us - window.length_us) // window.step_us


def edges(window: LimitWindow, now_us: int) -> tuple[int, ...]:
    """When the periods around ``now_us`` begin, in microseconds: the one before, that which holds
    it, and the next ones. A day that a time zone leaves out is none."""
    zone = _zone(window.zone)
    local = (_EPOCH_UTC + now_us * _MICROSECOND).astimezone(zone).date()
    days = (_day_of(window, local, step) for step in range(-2, 4))
    return tuple(sorted({_midnight(day, zone) for day in days}))


def _day_of(window: LimitWindow, day: datetime.date, step: int) -> datetime.date:
    """On which the period begins that lies ``step`` periods after that which holds ``day``."""
    if window.period == "day":
        return day + datetime.timedelta(days=step)
    if window.period == "week":
        back = (day.weekday() - window.first) % 7
        return day + datetime.timedelta(days=7 * step - back)
    before = 0 if day >= _from(day.year, day.month, window.first) else 1
    years, month = divmod(day.month - 1 + step - before, 12)
    return _from(day.year + years, month + 1, window.first)


def _from(year: int, month: int, first: int) -> datetime.date:
    return datetime.date(year, month, min(first, calendar.monthrange(year, month)[1]))


def _midnight(day: datetime.date, zone: datetime.tzinfo) -> int:
    """Where a clock is set forward over midnight, the instant at which it is."""
    midnight = datetime.datetime.combine(day, datetime.time(tzinfo=zone))
    return (midnight - _EPOCH_UTC) // _MICROSECOND


def _zone(name: str) -> datetime.tzinfo:
    """UTC needs no zone data, which a small machine may lack."""
    return datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)
