"""How a report's time is taken apart: days, hours and quarters of an hour that are summed, and what
is left at its ends, which only rows tell. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.storage.calendar import Calendar
from gateway.storage.queries import UsageQuery
from gateway.storage.reports import columns_of, moments_of
from gateway.storage.rollups.cubes import DAY, HOUR, QUARTER, QUARTER_US, Cube, smallest
from gateway.storage.rollups.stretches import MOST, Piece, coarse, stretches
from gateway.types import MICRO

_UNDIVIDED = frozenset({"day", "month"})
"""Moments of which an hour that begins at another instant than theirs may be a part."""


class Cut(msgspec.Struct, frozen=True):
    """Pieces side by side, and the rows' intervals around them, in microseconds."""

    pieces: tuple[Piece, ...]
    ends: tuple[tuple[int, int], ...]

    @property
    def summed(self) -> tuple[int | None, int | None]:
        """Microseconds: from where to where the pieces reach."""
        firsts = [piece.first for piece in self.pieces]
        lasts = [piece.last for piece in self.pieces]
        return (
            None if None in firsts else min(f for f in firsts if f is not None) * QUARTER_US,
            None if None in lasts else max(at for at in lasts if at is not None) * QUARTER_US,
        )


def cut_of(
    query: UsageQuery,
    calendar: Calendar | None,
    *,
    quarters_from: int = 0,
    timed: bool = False,
    over: Sequence[int] = (),
) -> Cut | None:
    """How a narrowed query is answered from sums; None where rows alone tell. ``quarters_from``:
    the first quarter of an hour that has sums; ``timed``: for how long calls took; ``over``: the
    starts of four weeks that have sums of their own."""
    since = None if query.since is None else round(query.since * MICRO)
    until = None if query.until is None else round(query.until * MICRO)
    edges = _months(query, calendar)
    spans, split = _spans(query, calendar) if edges is None else ((DAY, HOUR, QUARTER), "")
    kept = [span for span in spans if smallest(columns_of(query), span, timed=timed)]
    if (since or 0) < quarters_from * QUARTER_US and QUARTER in kept:
        kept.remove(QUARTER)
    if not kept or (split and QUARTER not in kept):
        return None
    if any(at % (kept[-1] * QUARTER_US) for at in edges or ()):
        return None
    pieces: list[Piece] = []
    ends: list[tuple[int, int]] = []
    over = [start for start in over if start >= quarters_from]
    for stretch in stretches((since, until), edges or (), over, calendar):
        made = coarse(query, stretch, timed=timed)
        if not made:
            more, rows = taken_apart(stretch.begin, stretch.end, kept)
            made = [msgspec.structs.replace(piece, over=stretch.over) for piece in more]
            made = [part for piece in made for part in _divided(piece, split)] if split else made
            ends += rows
        pieces += made
    return Cut(tuple(pieces), tuple(ends)) if pieces else None


def _months(query: UsageQuery, calendar: Calendar | None) -> tuple[int, ...] | None:
    """Where a report of a zone's months is cut, so that whole days of UTC lie within one; None
    where that is of no use, or there are too many."""
    if calendar is None or query.zone == "UTC" or moments_of(query) != {"month"}:
        return None
    begins = sorted(at for at, _ in calendar.months)[1:]
    return tuple(begins) if len(begins) <= MOST else None


def cube_for(query: UsageQuery, piece: Piece, *, timed: bool = False) -> Cube:
    """Of which a piece is read."""
    cube = smallest(columns_of(query), piece.span, timed=timed, over=piece.over)
    assert cube is not None, "a cut has no span without sums"
    return cube


def _spans(query: UsageQuery, calendar: Calendar | None) -> tuple[tuple[int, ...], str]:
    """Those of which the sums can be told, the longest first, and the moment by which hours must be
    looked at, if any."""
    moments = moments_of(query)
    if not moments or (query.zone == "UTC" and moments <= _UNDIVIDED):
        return (DAY, HOUR, QUARTER), ""
    assert calendar is not None, "a report by time has a calendar"
    if calendar.in_steps_of(HOUR * QUARTER_US):
        return (HOUR, QUARTER), ""
    if not calendar.in_steps_of(QUARTER_US):
        return (), ""
    return ((HOUR, QUARTER), "day") if moments <= _UNDIVIDED else ((QUARTER,), "")


def taken_apart(
    since: int | None, until: int | None, spans: Sequence[int]
) -> tuple[list[Piece], list[tuple[int, int]]]:
    """Pieces of the longest spans in the middle, of shorter ones around them, and the intervals of
    rows at the ends. Microseconds; what has no beginning or no end has sums there."""
    if not spans:
        assert since is not None, "what has no beginning has sums"
        assert until is not None, "what has no end has sums"
        return [], [(since, until)]
    span = spans[0]
    width = span * QUARTER_US
    first = None if since is None else -(-since // width)
    last = None if until is None else until // width
    if first is not None and last is not None and first >= last:
        return taken_apart(since, until, spans[1:])
    starts = [None if at is None else at * span for at in (first, last)]
    pieces = [Piece(span, starts[0], starts[1])]
    ends: list[tuple[int, int]] = []
    for begin, end in (
        (since, None if first is None else first * width),
        (None if last is None else last * width, until),
    ):
        if begin is not None and end is not None and begin < end:
            more, rows = taken_apart(begin, end, spans[1:])
            pieces += more
            ends += rows
    return pieces, ends


def _divided(piece: Piece, moment: str) -> list[Piece]:
    if piece.span == QUARTER:
        return [piece]
    return [
        msgspec.structs.replace(piece, whole=moment),
        msgspec.structs.replace(piece, span=QUARTER, divided=moment),
    ]
