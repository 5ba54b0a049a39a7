"""A report's time is taken apart without a gap, and rows are read for no more than its ends."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.calendar import DAY_US, Calendar, calendar_of, zone_of
from gateway.storage.queries import UsageQuery
from gateway.storage.rollups.cubes import (
    FIRST_WEEK,
    FOUR_WEEKS,
    FULL,
    HALVES_OF_WEEK,
    HOURS_OF_WEEK,
    QUARTER_US,
    SIX_HOURS,
    TOTAL,
    WHAT,
    WHO,
)
from gateway.storage.rollups.cuts import cube_for, cut_of
from gateway.storage.rollups.stretches import Piece
from gateway.types import MICRO

YEAR = 1_767_225_600
"""2026-01-01 00:00 UTC."""


def calendar(zone: str) -> Calendar:
    return calendar_of(zone_of(zone), YEAR * MICRO, (YEAR + 365 * 86_400) * MICRO)


@pytest.mark.parametrize(
    ("zone", "spans"),
    [
        ("UTC", {96}),
        ("Europe/Berlin", {4}),
        ("Asia/Kolkata", {4, 1}),
        ("Asia/Kathmandu", {4, 1}),
        ("Australia/Lord_Howe", {4, 1}),
    ],
)
def test_days_and_months_of_every_zone_are_summed_without_a_row(zone: str, spans: set[int]) -> None:
    """Most of a month's time are whole days of UTC, wherever it is."""
    for name, expected in (("day", spans), ("month", spans | {96})):
        cut = cut_of(UsageQuery(group_by=("user", name), zone=zone), calendar(zone))
        assert cut is not None
        assert cut.ends == ()
        assert {piece.span for piece in cut.pieces} == expected
        assert all(piece.whole == "" for piece in cut.pieces if name == "month")


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
@pytest.mark.parametrize("name", ["hour", "hour_of_week"])
def test_hours_that_begin_within_one_of_utc_are_summed_by_quarters(zone: str, name: str) -> None:
    cut = cut_of(UsageQuery(group_by=(name,), zone=zone), calendar(zone))
    assert cut is not None
    assert (cut.ends, {piece.span for piece in cut.pieces}) == ((), {1})


def test_a_clock_of_before_the_zones_of_today_is_told_by_rows() -> None:
    old = calendar_of(zone_of("Africa/Monrovia"), 0, YEAR * MICRO)
    assert cut_of(UsageQuery(group_by=("day",), zone="Africa/Monrovia"), old) is None


def test_quarters_that_have_no_sums_yet_are_not_asked() -> None:
    query = UsageQuery(group_by=("hour",), zone="Asia/Kolkata")
    assert cut_of(query, calendar("Asia/Kolkata"), quarters_from=YEAR // 900 + 1) is None
    day = UsageQuery(since=YEAR + 60.0, group_by=("user",))
    cut = cut_of(day, None, quarters_from=YEAR // 900 + 1)
    assert cut is not None
    assert cut.ends == ((round((YEAR + 60) * MICRO), (YEAR + 3_600) * MICRO),)


FIRST = next(start for start in range(FIRST_WEEK, 10**7, FOUR_WEEKS) if start * 900 >= YEAR)
WEEKS = [FIRST + number * FOUR_WEEKS for number in range(12)]
"""Of the year, all that are over."""


@pytest.mark.parametrize(
    ("group_by", "zone", "spans"),
    [
        (("user",), "UTC", {FOUR_WEEKS}),
        (("user", "backend"), "Europe/Berlin", {FOUR_WEEKS}),
        (("user", "hour_of_week"), "UTC", {HOURS_OF_WEEK}),
        (("user", "hour_of_week"), "Europe/Berlin", {HOURS_OF_WEEK, 4}),
        (("user", "model", "hour_of_week"), "Asia/Kolkata", {HALVES_OF_WEEK}),
        (("user", "hour_of_week"), "Asia/Kathmandu", {1}),
        (("user", "backend", "hour_of_week"), "UTC", {HOURS_OF_WEEK}),
        (("user", "price", "hour_of_week"), "Asia/Kolkata", {HALVES_OF_WEEK}),
        (("user", "backend", "day"), "Europe/Berlin", {4}),
        (("user", "outcome", "hour_of_week"), "UTC", {4}),
        (("user", "day"), "UTC", {96}),
        (("user", "day"), "Europe/Berlin", {SIX_HOURS, 4}),
        (("user", "day"), "Asia/Kolkata", {SIX_HOURS, 4, 1}),
        (("user", "day"), "Asia/Tashkent", {SIX_HOURS, 4}),
        (("user", "hour"), "Europe/Berlin", {4}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_four_weeks_that_are_over_are_read_from_their_own_sums(
    group_by: tuple[str, ...], zone: str, spans: set[int]
) -> None:
    """But not where clocks change in them, or where their sums tell less than is asked."""
    asked = UsageQuery(
        since=WEEKS[0] * 900.0, until=(WEEKS[-1] + FOUR_WEEKS) * 900.0, group_by=group_by, zone=zone
    )
    cut = cut_of(asked, calendar(zone), over=WEEKS)
    assert cut is not None
    assert cut.ends == ()
    assert {piece.span for piece in cut.pieces} == spans


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tokyo"])
def test_each_quarter_of_an_hour_of_four_weeks_is_in_one_piece_of_a_days_report(zone: str) -> None:
    """And in a piece of which each sum lies within one day."""
    asked = UsageQuery(since=WEEKS[0] * 900.0, until=WEEKS[1] * 900.0, group_by=("day",), zone=zone)
    cut = cut_of(asked, calendar(zone), over=WEEKS)
    assert cut is not None
    offset = calendar(zone).steady(WEEKS[0] * QUARTER_US, WEEKS[1] * QUARTER_US)
    assert offset is not None
    for quarter in range(WEEKS[0], WEEKS[0] + 200):
        [piece] = [
            piece
            for piece in cut.pieces
            if any(a <= quarter // piece.span * piece.span % 96 < b for a, b in piece.of_day)
        ]
        begin = quarter // piece.span * piece.span * QUARTER_US + offset
        assert begin // DAY_US == (begin + piece.span * QUARTER_US - 1) // DAY_US


@pytest.mark.parametrize("count", [0, 61, 200])
def test_more_stretches_than_a_statement_takes_are_read_as_any_time_is(count: int) -> None:
    apart = [FIRST + number * 2 * FOUR_WEEKS for number in range(count)]
    cut = cut_of(UsageQuery(), None, over=apart)
    assert cut is not None
    assert len(cut.pieces) == 1


instants = st.none() | st.integers(YEAR * 2, (YEAR + 40 * 86_400) * 2).map(lambda half: half / 2)


@given(
    since=instants,
    until=instants,
    timed=st.booleans(),
    over=st.lists(st.sampled_from(WEEKS), unique=True).map(sorted),
)
def test_pieces_and_ends_lie_side_by_side_and_cover_what_is_asked(
    since: float | None, until: float | None, timed: bool, over: list[int]
) -> None:
    cut = cut_of(UsageQuery(since=since, until=until), None, timed=timed, over=over)
    if cut is None:
        assert since is not None
        assert until is not None
        assert until - since < 2 * 3_600 if not timed else 2 * 86_400
        return
    parts: list[tuple[float, float]] = [
        (
            float("-inf") if piece.first is None else piece.first * QUARTER_US,
            float("inf") if piece.last is None else piece.last * QUARTER_US,
        )
        for piece in cut.pieces
    ]
    parts = sorted([*parts, *cut.ends])
    assert all(one[1] == other[0] for one, other in itertools.pairwise(parts))
    assert parts[0][0] == (float("-inf") if since is None else since * MICRO)
    assert parts[-1][1] == (float("inf") if until is None else until * MICRO)
    assert all(end - begin < 4 * QUARTER_US for begin, end in cut.ends)


@pytest.mark.parametrize(
    ("query", "cube"),
    [
        ({"group_by": ()}, TOTAL),
        ({"group_by": ("day",)}, TOTAL),
        ({"group_by": ("backend", "month")}, WHAT),
        ({"group_by": ("user",)}, WHO),
        ({"group_by": ("tag:team", "day"), "where": {"kind": "call"}}, WHO),
        ({"group_by": ("day",), "where": {"user": "alice"}}, WHO),
        ({"group_by": ("user", "model")}, FULL),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.name,
)
def test_a_report_is_read_from_the_smallest_sums_that_tell_it(
    query: dict[str, Any], cube: object
) -> None:
    assert cube_for(UsageQuery(**query), Piece(96, None, None)) is cube
