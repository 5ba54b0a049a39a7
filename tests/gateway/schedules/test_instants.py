"""Instants of a cron expression: daylight saving's gaps and repeats, and what is due."""

from __future__ import annotations

import datetime
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.schedules.instants import MOST_DUE, after, due, next_after
from gateway.storage.schedules.base import NEVER, Timetable

BERLIN = ZoneInfo("Europe/Berlin")

CASES = [
    # (cron, the day, how many instants, the local times with their offsets)
    pytest.param(
        "30 2 * * *", "2026-03-28", ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"],
        id="a time that spring leaves out comes right after the gap",
    ),
    pytest.param(
        "30 2 * * *", "2026-10-24", ["10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"],
        id="a time that autumn has twice comes once, first",
    ),
    pytest.param(
        "0 * * * *", "2026-03-29", ["03-29 01:00+0100", "03-29 03:00+0200", "03-29 04:00+0200"],
        id="what comes hourly goes on over the gap",
    ),
    pytest.param(
        "30 * * * *",
        "2026-10-25",
        ["10-25 00:30+0200", "10-25 01:30+0200", "10-25 02:30+0200", "10-25 02:30+0100"],
        id="what comes hourly comes in both of the hours",
    ),
    pytest.param(
        "0 0 29 2 *", "2026-01-01", ["02-29 00:00+0100"], id="a leap day is waited for"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("cron", "day", "expected"), CASES)
def test_a_clock_that_is_set_loses_and_doubles_no_instant(
    cron: str, day: str, expected: list[str]
) -> None:
    start = datetime.datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=BERLIN).timestamp()

    found = itertools.islice(after(Timetable(cron, "Europe/Berlin"), start - 1), 40)

    said = [datetime.datetime.fromtimestamp(at, BERLIN).strftime("%m-%d %H:%M%z") for at in found]
    begin = said.index(expected[0])
    assert said[begin : begin + len(expected)] == expected


CRONS = ("* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 1-3 * * sun", "0 */6 * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC).timestamp()


@given(
    cron=st.sampled_from(CRONS),
    zone=st.sampled_from(ZONES),
    place=st.integers(0, 365 * 86_400),
    ago=st.integers(0, 20 * 86_400),
)
@settings(max_examples=100, deadline=None)
def test_what_is_due_is_what_comes_between_wherever_one_begins_to_look(
    cron: str, zone: str, place: int, ago: int
) -> None:
    timetable, since = Timetable(cron, zone), BEGIN + place
    until = since + ago

    found = due(timetable, since, until)

    whole = list(itertools.takewhile(lambda at: at <= until, after(timetable, since)))
    assert found == whole[-MOST_DUE:]
    assert found == sorted(set(found))


def test_an_end_of_all_days_is_no_instant() -> None:
    assert next_after(NEVER, BEGIN) is None
    assert due(NEVER, 0.0, BEGIN) == []


def test_a_place_of_long_ago_is_looked_at_from_its_end() -> None:
    now = BEGIN + 30 * 365 * 86_400

    found = due(Timetable("* * * * *"), BEGIN, now)

    assert len(found) == MOST_DUE
    assert now - found[0] == (MOST_DUE - 1) * 60
