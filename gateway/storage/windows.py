"""Calendar windows and rates, as arithmetic on integer microseconds since the epoch (UTC).

Pure: every function takes the instant it needs. ``counters.lua`` does the same sums on the Redis
server; the contract suite holds the two together.
"""

from __future__ import annotations

import datetime

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

_MONDAY = 4 * _DAY  # 1970-01-05, the first Monday: weeks are counted from it
_EPOCH = datetime.date(1970, 1, 1)


def bounds(window: str, now_us: int) -> tuple[int, int]:
    """(start, end) in microseconds of the calendar window that holds ``now_us``; end excluded.

    A week begins on Monday 00:00 UTC, a month on its first day. Raises KeyError for a word that
    is no window.
    """
    if window == "month":
        return _month(now_us)
    length = RATE_US[window]
    offset = _MONDAY if window == "week" else 0
    start = now_us - (now_us - offset) % length
    return start, start + length


def _month(now_us: int) -> tuple[int, int]:
    first = (_EPOCH + datetime.timedelta(days=now_us // _DAY)).replace(day=1)
    after = (first + datetime.timedelta(days=31)).replace(day=1)
    return (first - _EPOCH).days * _DAY, (after - _EPOCH).days * _DAY
