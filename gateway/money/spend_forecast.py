"""What a window will have spent at its end, with a range, and when a limit will be used up. Pure.

The spend of each hour so far is taken apart into a level, the hours of the day and the days of the
week, as far as there is history for these. What the days differ from that is how uncertain the
rest is: differences that last for days widen the range, and so does a short history. The range has
the true sum in about eight of ten cases, once there is a day of history; sums are taken as
log-normal, for they are never below zero and lean to the high side.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

HOUR_S = 3_600
DAY_H = 24
WEEK_H = 168
HISTORY_S = 32 * 86_400
"""As long as the longest window goes on; what was further back says little."""

Shape = Literal["flat", "day", "week"]
_DAYS_FOR: tuple[tuple[int, Shape], ...] = ((14, "week"), (3, "day"))
_DAYS_TO_KNOW = 10
"""Before there are so many days it is believed, less and less, that they differ as they usually do:
by 45 percent, which is what teams' days do."""
_BELIEVED_VARIANCE = 0.2
_LEAST_DAYS = 0.25
_LEAST_SEEN = 0.3
_Z90 = 1.2815515655446004
"""Of a normal distribution, what nine of ten lie below."""
_MOST_CARRIED = 0.9
_BELIEVED_CARRIED = 0.4
_DAYS_CARRIED = 5
"""So many days' worth of belief that differences last."""
_MONDAY_H = 4 * DAY_H
"""1970-01-05 was a Monday."""


class SpendForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts are of the limit's unit, instants seconds since the epoch; None where it is not
    reached before the window ends."""

    expected: int
    """Of the whole window, what is spent already included."""
    low: int
    """One of ten such windows ends below it."""
    high: int
    """One of ten ends above it."""
    exhausted_at: float | None
    """When the limit is used up, if all goes on as expected."""
    earliest: float | None
    """One of ten is used up before."""
    latest: float | None
    """One of ten is used up later; None: more than one of ten is not used up at all."""
    shape: Shape
    """What the history was long enough for."""
    history_h: int
    """How many hours it has."""


class _Pattern(NamedTuple):
    """What an hour is expected to bring."""

    level: float
    by_hour: Sequence[float]
    by_day: Sequence[float]

    def at(self, hour: int) -> float:
        day = (hour - _MONDAY_H) // DAY_H % 7
        return self.level * self.by_hour[hour % DAY_H] * self.by_day[day]


class _Doubt(NamedTuple):
    """How far days are from what was expected, as shares of it."""

    variance: float
    carried: float
    """How much of one day's difference is the next one's too."""
    days: float
    """Of history, by which the level is known."""
    freedom: float
    """By how many differences the variance is known."""


class _Rest(NamedTuple):
    """What a time to come brings: its mean, and its variance."""

    mean: float
    variance: float


def forecast(
    by_hour: Mapping[int, int], *, now_at: float, ends_at: float, spent: int, limit: int | None
) -> SpendForecast:
    """``by_hour``: hour since the epoch -> what was spent in it; hours that are missing after the
    first one spent nothing. ``spent``: of the window so far. ``limit``: of the window; None: there
    is none."""
    this_hour = int(now_at // HOUR_S)
    past = {hour: amount for hour, amount in by_hour.items() if hour < this_hour}
    first = min(past, default=this_hour)
    series = [past.get(hour, 0) for hour in range(first, this_hour)]
    shape = _shape(len(series))
    pattern = _pattern(series, first, shape)
    doubt = _doubt(series, first, pattern)
    path = _path(pattern, doubt, now_at, ends_at)
    whole = path[-1][1] if path else _Rest(0.0, 0.0)
    low, high = (_quantile(whole, sign, doubt) for sign in (-1, 1))
    return SpendForecast(
        expected=spent + round(whole.mean),
        low=spent + round(low),
        high=spent + round(high),
        exhausted_at=_reached(path, limit, spent, now_at, doubt, 0),
        earliest=_reached(path, limit, spent, now_at, doubt, 1),
        latest=_reached(path, limit, spent, now_at, doubt, -1),
        shape=shape,
        history_h=len(series),
    )


# --- what is expected ----------------------------------------------------------------------------


def _shape(hours: int) -> Shape:
    return next((shape for days, shape in _DAYS_FOR if hours >= days * DAY_H), "flat")


def _pattern(series: Sequence[int], first: int, shape: Shape) -> _Pattern:
    flat = _Pattern(statistics.fmean(series) if series else 0.0, [1.0] * DAY_H, [1.0] * 7)
    if shape == "flat" or not flat.level:
        return flat
    hours = _shares(series, [(first + at) % DAY_H for at in range(len(series))], DAY_H)
    if shape == "day":
        return flat._replace(by_hour=hours)
    days = [(first + at - _MONDAY_H) // DAY_H % 7 for at in range(len(series))]
    return flat._replace(by_hour=hours, by_day=_shares(series, days, 7))


def _shares(series: Sequence[int], slots: Sequence[int], count: int) -> list[float]:
    """What each slot brings, as a share of the mean: 1 of one that was never seen."""
    level = statistics.fmean(series)
    found: defaultdict[int, list[int]] = defaultdict(list)
    for amount, slot in zip(series, slots, strict=True):
        found[slot].append(amount)
    return [statistics.fmean(found[slot]) / level if found[slot] else 1.0 for slot in range(count)]


# --- how uncertain it is -------------------------------------------------------------------------


def _doubt(series: Sequence[int], first: int, pattern: _Pattern) -> _Doubt:
    days = len(series) // DAY_H
    skip = len(series) - days * DAY_H
    errors = []
    for day in range(days):
        hours = range(skip + day * DAY_H, skip + (day + 1) * DAY_H)
        mean = sum(pattern.at(first + at) for at in hours)
        if mean > 0:
            errors.append((sum(series[at] for at in hours) - mean) / mean)
    believed = max(_DAYS_TO_KNOW - len(errors), 0) / 2
    squares = sum(error * error for error in errors) + believed * _BELIEVED_VARIANCE
    freedom = max(len(errors) - _fitted(pattern), 0) + believed
    carried = _carried(errors)
    return _Doubt(
        variance=squares / max(freedom, 1.0) / _seen(carried, len(errors)),
        carried=carried,
        days=max(len(series) / DAY_H, _LEAST_DAYS),
        freedom=max(freedom, 1.0),
    )


def _seen(carried: float, days: int) -> float:
    """How much of the variance shows in so many days: of differences that last, those that all
    days share are taken for the level."""
    if days < 2:
        return 1.0
    shared = _lasting(carried) / days
    return max((1 - shared) / (1 - 1 / days), _LEAST_SEEN)


def _lasting(carried: float) -> float:
    """By how much the variance of a sum grows, where differences last."""
    return (1 + carried) / (1 - carried)


def _fitted(pattern: _Pattern) -> int:
    """How many figures of the pattern were fitted to the days."""
    return 7 if len(set(pattern.by_day)) > 1 else 1


def _carried(errors: Sequence[float]) -> float:
    """The correlation of each day with the next one, where it is positive. That of a short series
    comes out too small by some (1 + 3 r) / n (Kendall, 1954)."""
    squares = sum(error * error for error in errors)
    if not squares:
        return 0.0
    days = len(errors)
    found = sum(one * other for one, other in itertools.pairwise(errors)) / squares
    found += (1 + 3 * found) / days
    found = (days * found + _DAYS_CARRIED * _BELIEVED_CARRIED) / (days + _DAYS_CARRIED)
    return min(max(found, 0.0), _MOST_CARRIED)


# --- what comes ----------------------------------------------------------------------------------


def _path(
    pattern: _Pattern, doubt: _Doubt, now_at: float, ends_at: float
) -> list[tuple[float, _Rest]]:
    """Instants, and what will have come until then; by the hour."""
    path: list[tuple[float, _Rest]] = []
    mean = own = 0.0
    begins_at = now_at
    lasting = _lasting(doubt.carried)
    while begins_at < ends_at:
        hour = int(begins_at // HOUR_S)
        until_at = min((hour + 1) * HOUR_S, ends_at)
        amount = pattern.at(hour) * (until_at - begins_at) / HOUR_S
        mean += amount
        # A part of a day differs by as much of it as it is: what comes in bursts adds up so.
        own += amount * pattern.level * DAY_H * doubt.variance
        level = mean * mean * doubt.variance / doubt.days
        path.append((until_at, _Rest(mean, (own + level) * lasting)))
        begins_at = until_at
    return path


def _quantile(rest: _Rest, sign: int, doubt: _Doubt) -> float:
    """What nine of ten lie below (1) or above (-1); 0: the mean."""
    if rest.mean <= 0 or sign == 0:
        return rest.mean
    spread = math.log1p(rest.variance / (rest.mean * rest.mean))
    z = _student90(doubt.freedom)
    return rest.mean * math.exp(sign * z * math.sqrt(spread) - spread / 2)


def _student90(freedom: float) -> float:
    """What nine of ten of Student's t lie below: a variance of few days is itself uncertain.
    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5."""
    z = _Z90
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


def _reached(
    path: Sequence[tuple[float, _Rest]],
    limit: int | None,
    spent: int,
    now_at: float,
    doubt: _Doubt,
    sign: int,
) -> float | None:
    """When the rest of a limit will have come, by the mean (0), or at which one of ten has come
    sooner (1) or later (-1)."""
    if limit is None:
        return None
    left = limit - spent
    if left <= 0:
        return now_at
    before_at, before = now_at, 0.0
    for until_at, rest in path:
        come = _quantile(rest, sign, doubt)
        if come >= left:
            share = (left - before) / (come - before) if come > before else 1.0
            return before_at + (until_at - before_at) * max(0.0, min(share, 1.0))
        before_at, before = until_at, max(before, come)
    return None
