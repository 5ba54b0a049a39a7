"""Every instant lies in one window of each kind, wherever its clocks are set forward or back."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import MICRO
from gateway.windows import LONGEST_US, STEPS, bounds, edges, oldest_step, read_window

DAY = 86_400 * MICRO
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # was set forward at midnight
    "America/Havana",  # is set back to midnight
    "Africa/Cairo",  # is set forward at midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kolkata",
    "Pacific/Apia",  # left out the 30th of December 2011
    "Pacific/Kiritimati",
    "UTC",
)
INSTANTS = st.integers(min_value=0, max_value=4_000_000_000 * MICRO)
PERIODS = st.one_of(
    st.just("day"),
    st.just("week"),
    st.builds("week from {}".format, st.sampled_from(["mon", "thu", "sun"])),
    st.just("month"),
    st.builds("month from {}".format, st.integers(min_value=1, max_value=31)),
)
CALENDARS = st.builds("{} {}".format, PERIODS, st.sampled_from(ZONES))
LENGTHS = st.builds("{}{}".format, st.integers(min_value=1, max_value=31), st.sampled_from("smhd"))


def us(text: str, zone: str = "UTC") -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return round(moment.timestamp() * MICRO)


def local(instant: int, window: str) -> datetime.datetime:
    zone = zoneinfo.ZoneInfo(read_window(window).zone)
    return datetime.datetime.fromtimestamp(instant / MICRO, zone)


# --- the calendar -----------------------------------------------------------------------------


@given(CALENDARS, INSTANTS)
def test_the_windows_of_a_calendar_follow_each_other_without_a_gap(window: str, now: int) -> None:
    start, end = bounds(window, now)
    assert start <= now < end
    assert bounds(window, start) == bounds(window, end - 1) == (start, end)
    assert bounds(window, end)[0] == end
    assert bounds(window, start - 1)[1] == start


@given(CALENDARS, INSTANTS)
def test_a_window_begins_at_midnight_of_its_day(window: str, now: int) -> None:
    """Unless clocks are set over midnight: then at the instant at which they are."""
    start, read = bounds(window, now)[0], read_window(window)
    begun, before = local(start, window), local(start - MICRO, window)
    if begun.time() != datetime.time():
        assert begun.utcoffset() != before.utcoffset()
    elif read.period == "week":
        assert begun.weekday() == read.first
    elif read.period == "month":
        is_last = (begun.date() + datetime.timedelta(days=1)).day == 1
        assert begun.day == read.first or (is_last and begun.day < read.first)


@given(CALENDARS, INSTANTS)
def test_a_gateway_tells_a_server_the_windows_on_both_sides_of_now(window: str, now: int) -> None:
    """So that a server whose clock is another finds its own time among them."""
    known = edges(read_window(window), now)
    start, end = bounds(window, now)
    assert list(known) == sorted(set(known))
    assert known[0] < start < end < known[-1]


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        ("month from 15", "2026-02-14T23:59", "2026-01-15", "2026-02-15"),
        ("month from 15", "2026-02-15T00:00", "2026-02-15", "2026-03-15"),
        ("month from 31", "2026-02-27T12:00", "2026-01-31", "2026-02-28"),
        ("month from 31", "2026-02-28T00:00", "2026-02-28", "2026-03-31"),
        ("month from 30", "2028-02-29T12:00", "2028-02-29", "2028-03-30"),
        ("month from 29", "2026-03-01T00:00", "2026-02-28", "2026-03-29"),
        ("month from 31", "2026-04-30T00:00", "2026-04-30", "2026-05-31"),
        ("month from 31", "2026-12-31T00:00", "2026-12-31", "2027-01-31"),
        ("week from sun", "2026-11-28T12:00", "2026-11-22", "2026-11-29"),
    ],
)  # fmt: skip
def test_a_month_without_its_first_day_begins_on_its_last(
    window: str, now: str, start: str, end: str
) -> None:
    assert bounds(window, us(now)) == (us(start), us(end))


@pytest.mark.parametrize(
    ("window", "now", "hours"),
    [
        ("day Europe/Berlin", "2026-03-29T12:00", 23),
        ("day Europe/Berlin", "2026-10-25T12:00", 25),
        ("day Africa/Cairo", "2026-04-24T12:00", 23),
        ("day America/Havana", "2026-11-01T12:00", 25),
        ("day Australia/Lord_Howe", "2026-10-04T12:00", 23.5),
        ("month Europe/Berlin", "2026-03-10T12:00", 31 * 24 - 1),
    ],
)
def test_the_day_on_which_clocks_change_is_shorter_or_longer(
    window: str, now: str, hours: float
) -> None:
    start, end = bounds(window, us(now, read_window(window).zone))
    assert (end - start) / (3600 * MICRO) == hours


def test_a_day_that_a_zone_leaves_out_is_no_window() -> None:
    """Samoa went from Thursday, the 29th of December 2011, to Saturday."""
    thursday = us("2011-12-29T12:00", "Pacific/Apia")
    start, end = bounds("day Pacific/Apia", thursday)
    assert end - start == DAY
    assert bounds("day Pacific/Apia", end) == (end, end + DAY)
    assert local(end, "day Pacific/Apia").date() == datetime.date(2011, 12, 31)


# --- rolling ----------------------------------------------------------------------------------


@given(LENGTHS, INSTANTS, st.integers(min_value=0, max_value=2 * LONGEST_US))
def test_what_was_used_counts_for_the_length_and_at_most_one_step_longer(
    text: str, used_at: int, later: int
) -> None:
    """Never for less: a cap is not passed because time is counted in steps."""
    window = read_window(text)
    counts = used_at // window.step_us >= oldest_step(window, used_at + later)
    if later < window.length_us:
        assert counts
    if later >= window.length_us + window.step_us:
        assert not counts


@given(LENGTHS)
def test_a_step_is_a_sixtieth_of_the_window(text: str) -> None:
    window = read_window(text)
    assert 0 <= window.step_us * STEPS - window.length_us < STEPS


# --- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("month", "month"),
        ("month  from 15   Europe/Berlin", "month from 15 Europe/Berlin"),
        ("week from Sunday", "week from sun"),
        ("day UTC", "day UTC"),
        ("24h", "24h"),
    ],
)
def test_a_window_has_one_spelling(text: str, canonical: str) -> None:
    window = read_window(text)
    assert window.text == canonical
    assert read_window(canonical) == window


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fortnight", "is no window; windows are such as month,"),
        ("hour Europe/Berlin", "hour is the same in every time zone: write it alone"),
        ("day from 3", "a day begins at midnight; only a month and a week begin from a day"),
        ("month from 32", "a month begins from a day from 1 to 31; found '32'"),
        ("month from 0", "a month begins from a day from 1 to 31; found '0'"),
        ("month from mon", "a month begins from a day from 1 to 31; found 'mon'"),
        ("week from 3", "a week begins from one of mon, tue, wed, thu, fri, sat, sun; found '3'"),
        ("day Europe/Berln", "'Europe/Berln' is not a time zone that this machine knows"),
        ("day ../etc/passwd", "is no window"),
        ("32d", "a rolling window is at most 31d; found 32d"),
        ("0s", "is no window"),
        ("", "is no window"),
    ],
)
def test_a_text_that_is_no_window_is_told_why(text: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        read_window(text)
    assert said in str(error.value)
