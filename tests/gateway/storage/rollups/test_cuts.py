"""A report's time is taken apart without a gap, and rows are read for no more than its ends."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.calendar import Calendar, calendar_of, zone_of
from gateway.storage.queries import UsageQuery
from gateway.storage.rollups.cubes import FULL, QUARTER_US, TOTAL, WHAT, WHO
from gateway.storage.rollups.cuts import cube_for, cut_of
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


instants = st.none() | st.integers(YEAR * 2, (YEAR + 40 * 86_400) * 2).map(lambda half: half / 2)


@given(since=instants, until=instants, timed=st.booleans())
def test_pieces_and_ends_lie_side_by_side_and_cover_what_is_asked(
    since: float | None, until: float | None, timed: bool
) -> None:
    cut = cut_of(UsageQuery(since=since, until=until), None, timed=timed)
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
    assert cube_for(UsageQuery(**query), 96) is cube
