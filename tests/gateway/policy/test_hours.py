"""Hours of the week against the calendar: zones, daylight saving, midnight."""

from __future__ import annotations

import datetime
import math
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.policy.hours import next_change, within
from gateway.policy.syntax.scalars import WeeklyHours, parse_hours

HOUR = 3600.0


def at(text: str, zone: str = "UTC") -> float:
    """'2026-11-23 08:00' on that zone's clock -> epoch seconds. 2026-11-23 is a Monday."""
    local = datetime.datetime.fromisoformat(text)
    return local.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


def test_no_hours_means_always() -> None:
    """And nothing ever changes."""
    assert within(None, at("2026-11-22 03:00"))
    assert next_change(None, 0.0) == math.inf


@pytest.mark.parametrize(
    ("instant", "inside"),
    [
        ("2026-11-23 07:59:59", False),
        ("2026-11-23 08:00", True),
        ("2026-11-27 19:59:59", True),
        ("2026-11-27 20:00", False),
        ("2026-11-28 12:00", False),
        ("2026-11-29 12:00", False),
    ],
)
def test_office_hours_hold_from_the_first_minute_to_before_the_last(
    instant: str, inside: bool
) -> None:
    """Monday to Friday, the end left out."""
    assert within(parse_hours("Mon-Fri 08:00-20:00"), at(instant)) is inside


def test_a_span_past_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    """Friday's night ends on Saturday morning; Saturday's own does not begin."""
    nights = parse_hours("Mon-Fri 22:00-06:00")
    assert within(nights, at("2026-11-28 05:59"))
    assert not within(nights, at("2026-11-28 06:00"))
    assert not within(nights, at("2026-11-28 23:00"))
    assert not within(nights, at("2026-11-23 05:00"))
    assert next_change(nights, at("2026-11-27 23:00")) == at("2026-11-28 06:00")


def test_days_may_run_over_the_week_end() -> None:
    """Sat-Mon is three days."""
    hours = parse_hours("Sat-Mon 10:00-11:00")
    days = [within(hours, at(f"2026-11-{day} 10:30")) for day in range(23, 30)]
    assert days == [True, False, False, False, False, True, True]


def test_ahead_begins_early_and_ends_no_later() -> None:
    """Also across midnight into the day before."""
    hours = parse_hours("Mon 00:10-01:00")
    assert within(hours, at("2026-11-22 23:40"), 30 * 60)
    assert not within(hours, at("2026-11-22 23:39"), 30 * 60)
    assert not within(hours, at("2026-11-23 01:00"), 30 * 60)
    assert next_change(hours, at("2026-11-22 12:00"), 30 * 60) == at("2026-11-22 23:40")


def test_hours_are_those_of_their_own_clock() -> None:
    """Eight in Berlin is seven in UTC in winter and six in summer."""
    berlin = parse_hours("08:00-20:00 Europe/Berlin")
    assert within(berlin, at("2026-11-23 07:00"))
    assert not within(berlin, at("2026-11-23 06:59"))
    assert within(berlin, at("2026-07-06 06:00"))
    assert not within(berlin, at("2026-07-06 05:59"))


def test_the_day_is_that_of_the_zone_not_of_utc() -> None:
    """Monday morning in Auckland is Sunday in UTC."""
    auckland = parse_hours("Mon 08:00-09:00 Pacific/Auckland")
    assert within(auckland, at("2026-11-22 19:30"))
    assert not within(auckland, at("2026-11-23 19:30"))


def test_an_hour_that_comes_twice_is_inside_both_times() -> None:
    """Berlin, 2026-10-25: 02:00-03:00 happens from 00:00 to 02:00 UTC."""
    hours = parse_hours("Sun 02:00-02:30 Europe/Berlin")
    begin = at("2026-10-25 00:00")
    assert next_change(hours, begin - HOUR) == begin
    assert next_change(hours, begin) == at("2026-10-25 01:30")
    assert within(hours, at("2026-10-25 00:45"))


def test_an_hour_that_is_left_out_moves_behind_the_gap() -> None:
    """Berlin, 2026-03-29: there is no 02:00-03:00; 02:15 stands for 03:15."""
    hours = parse_hours("Sun 02:15-02:45 Europe/Berlin")
    assert next_change(hours, at("2026-03-29 00:00")) == at("2026-03-29 01:15")
    assert next_change(hours, at("2026-03-29 01:15")) == at("2026-03-29 01:45")


def test_a_whole_day_has_as_many_hours_as_it_has() -> None:
    """Twenty-three in March, twenty-five in October."""
    sunday = parse_hours("Sun 00:00-24:00 Europe/Berlin")
    for date, length in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-22", 24)):
        begin = at(f"{date} 00:00", "Europe/Berlin")
        assert next_change(sunday, begin - 1) == begin
        assert next_change(sunday, begin) == begin + length * HOUR


def test_hours_that_never_pause_never_change() -> None:
    """Midnight between two whole days is no change."""
    always = parse_hours("00:00-24:00 Europe/Berlin")
    assert within(always, at("2026-11-23 00:00"))
    assert next_change(always, at("2026-11-23 12:00")) == math.inf


def test_days_in_a_row_are_one_span() -> None:
    """Mon-Tue all day changes on Wednesday."""
    hours = parse_hours("Mon-Tue 00:00-24:00")
    assert next_change(hours, at("2026-11-23 12:00")) == at("2026-11-25 00:00")
    assert next_change(hours, at("2026-11-25 00:00")) == at("2026-11-30 00:00")


def test_to_be_woken_a_week_ahead_is_to_be_warm_always() -> None:
    """Longer than that says no more."""
    hours = parse_hours("Mon 08:00-09:00")
    assert next_change(hours, at("2026-11-23 08:30"), 30 * 86400) == math.inf
    assert within(hours, at("2026-11-25 12:00"), 30 * 86400)


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
HOURS = st.builds(
    lambda days, start, length, zone: WeeklyHours(
        days=days, start=start, end=start + length, zone=zone
    ),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1440),
    ZONES,
)


@settings(deadline=None, max_examples=200)
@given(HOURS, st.integers(1_767_225_600, 1_798_761_600), st.sampled_from([0.0, 1800.0, 90_000.0]))
def test_nothing_changes_before_the_next_change_and_something_does_at_it(
    hours: WeeklyHours, now: int, ahead: float
) -> None:
    """For any hours, at any time of a year with both changes of the clock."""
    change = next_change(hours, now, ahead)
    state = within(hours, now, ahead)
    end = min(change, now + 7 * 86400)
    steps = [now + (end - now) * part / 20 for part in range(20)]
    assert all(within(hours, step, ahead) == state for step in steps)
    if change != math.inf:
        assert within(hours, change, ahead) != state
        assert now < change
