"""The time of a report in stretches that are each read in one way: months of its zone, and four
weeks that are over, whose own sums are read where the zone's clocks do not change meanwhile. Pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from gateway.storage.calendar import Calendar
from gateway.storage.queries import UsageQuery
from gateway.storage.reports import columns_of, moments_of
from gateway.storage.rollups.cubes import (
    DAY,
    FOUR_WEEKS,
    HALVES_OF_WEEK,
    HOUR,
    HOURS_OF_WEEK,
    QUARTER,
    QUARTER_US,
    SIX_HOURS,
    smallest,
)

MOST = 60
"""Each is some selects of a statement, of which SQLite takes five hundred."""


class Stretch(msgspec.Struct, frozen=True):
    """Microseconds; None has no beginning or no end."""

    begin: int | None
    end: int | None
    over: bool = False
    """It is of four weeks that have sums of their own."""
    offset: int | None = None
    """What the zone's clocks add to UTC all the while, in quarters of an hour; None: they change,
    or nobody asks for them."""


class Piece(msgspec.Struct, frozen=True):
    """The sums of one span that start from ``first`` to before ``last``, in quarters of an hour;
    None has no end. ``whole``: those alone in which the moment is one; ``divided``: those alone
    that lie in an hour in which it is not; ``of_day``: those alone that start in one of these
    intervals of a day of UTC. ``over``: of four weeks that have sums of their own."""

    span: int
    first: int | None
    last: int | None
    whole: str = ""
    divided: str = ""
    of_day: tuple[tuple[int, int], ...] = ()
    over: bool = False


def stretches(
    asked: tuple[int | None, int | None],
    edges: Sequence[int],
    over: Sequence[int],
    calendar: Calendar | None,
) -> list[Stretch]:
    """What is asked for, cut at the edges that lie in it and where four weeks of ``over`` do; these
    are left out where they would make too many."""
    since, until = asked
    found = list(_over(over, since, until, calendar))
    if len(found) > MOST:
        found = []
    made: list[Stretch] = []
    at = since
    for each in found:
        if at != each.begin:
            made.append(Stretch(at, each.begin))
        made.append(each)
        at = each.end
    if at is None or at != until:
        made.append(Stretch(at, until))
    return [part for each in made for part in _cut(each, edges)]


def _over(
    starts: Sequence[int], since: int | None, until: int | None, calendar: Calendar | None
) -> Iterator[Stretch]:
    inside = []
    for start in starts:
        begin, end = start * QUARTER_US, (start + FOUR_WEEKS) * QUARTER_US
        if (since is None or since <= begin) and (until is None or end <= until):
            inside.append(Stretch(begin, end, True, _offset(calendar, begin, end)))
    while inside:
        first = inside.pop(0)
        while inside and (inside[0].begin, inside[0].offset) == (first.end, first.offset):
            first = msgspec.structs.replace(first, end=inside.pop(0).end)
        yield first


def _offset(calendar: Calendar | None, begin: int, end: int) -> int | None:
    steady = None if calendar is None else calendar.steady(begin, end)
    return None if steady is None or steady % QUARTER_US else steady // QUARTER_US


def _cut(stretch: Stretch, edges: Sequence[int]) -> Iterator[Stretch]:
    inner = [
        at
        for at in edges
        if (stretch.begin is None or stretch.begin < at)
        and (stretch.end is None or at < stretch.end)
    ]
    for begin, end in itertools.pairwise([stretch.begin, *inner, stretch.end]):
        yield msgspec.structs.replace(stretch, begin=begin, end=end)


def coarse(query: UsageQuery, stretch: Stretch, *, timed: bool) -> list[Piece]:
    """What is read of the sums that four weeks have of their own; nothing where these tell no more
    than those of any time."""
    made = list(_coarse(query, stretch, timed)) if stretch.over else []
    columns = columns_of(query)
    if any(smallest(columns, each.span, timed=timed, over=True) is None for each in made):
        return []
    return made


def _coarse(query: UsageQuery, stretch: Stretch, timed: bool) -> Iterator[Piece]:
    moments = moments_of(query)
    if not moments:
        yield _piece(stretch, FOUR_WEEKS)
    elif timed or stretch.offset is None:
        return
    elif moments == {"hour_of_week"}:
        fits = [span for span in (HOURS_OF_WEEK, HALVES_OF_WEEK) if stretch.offset % -span == 0]
        if fits:
            yield _piece(stretch, fits[0])
    elif "day" in moments and moments <= {"day", "month"} and query.zone != "UTC":
        yield from _days(stretch, -stretch.offset % DAY)


def _days(stretch: Stretch, midnight: int) -> Iterator[Piece]:
    """Of days that begin at a quarter of an hour of UTC's: six hours in which none does, and of the
    others shorter ones."""
    first, last = 0, DAY
    for span in (SIX_HOURS, HOUR, QUARTER):
        if midnight % span == 0:
            yield _piece(stretch, span, (first, last))
            return
        begin = midnight // span * span
        yield _piece(stretch, span, (first, begin), (begin + span, last))
        first, last = begin, begin + span


def _piece(stretch: Stretch, span: int, *of_day: tuple[int, int]) -> Piece:
    assert stretch.begin is not None, "four weeks have a beginning"
    assert stretch.end is not None, "four weeks have an end"
    told = tuple(each for each in of_day if each[0] < each[1])
    return Piece(
        span,
        stretch.begin // QUARTER_US,
        stretch.end // QUARTER_US,
        of_day=() if told == ((0, DAY),) else told,
        over=True,
    )
