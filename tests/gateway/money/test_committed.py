"""The bill of committed capacity, and who is charged for what no call used of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money.committed import HOUR_S, IDLE, bill, hours_of, idle_by_user, split
from gateway.policy.sections.commitments import Commitment
from gateway.policy.syntax.scalars import parse_instant

START = parse_instant("2026-11-01")


def committed(**fields: Any) -> Commitment:
    values: dict[str, Any] = {"backend": "home", "per_hour": 2_690_000_000, "start": START}
    return Commitment(**(values | fields))


def test_an_hour_costs_its_price_and_half_of_it_the_half() -> None:
    ours = [committed()]
    assert bill(ours, START, START + HOUR_S) == 2_690_000_000
    assert bill(ours, START - HOUR_S, START + HOUR_S // 2) == 1_345_000_000
    assert bill(ours, START - HOUR_S, START) == 0


def test_units_by_the_minute_are_sixty_an_hour_each() -> None:
    ours = [committed(per_hour=None, per_minute=7, count=3)]
    assert bill(ours, START, START + HOUR_S) == 7 * 60 * 3


def test_nothing_is_paid_for_after_the_end() -> None:
    ours = [committed(end=START + HOUR_S + 1800)]
    assert bill(ours, START + HOUR_S, START + 9 * HOUR_S) == 1_345_000_000
    assert list(hours_of(ours, START - HOUR_S, START + 9 * HOUR_S)) == [START, START + HOUR_S]


@given(
    st.integers(1, 10**12),
    st.lists(st.integers(0, 100_000), min_size=1, max_size=20),
    st.integers(0, 5000),
)
def test_bills_that_follow_each_other_add_up(price: int, lengths: list[int], begin: int) -> None:
    ours = [committed(per_hour=price, start=begin, end=begin + 200_000)]
    at, total = 0, 0
    for length in lengths:
        total += bill(ours, at, at + length)
        at += length
    assert total == bill(ours, 0, at)


@given(
    st.integers(-(10**15), 10**15),
    st.dictionaries(st.text(max_size=3), st.fractions(min_value="1/1000000"), min_size=1),
)
def test_parts_by_weight_add_up_to_the_whole(nano: int, weights: dict[str, Any]) -> None:
    parts = split(nano, weights)
    assert sum(parts.values()) == nano
    whole = sum(weights.values())
    for user, part in parts.items():
        assert abs(part - nano * weights[user] / whole) < 1


@pytest.mark.parametrize(
    ("rule", "charged", "expected"),
    [
        ({}, {"alice": 30}, {IDLE: 100}),
        ({"idle": "by_use"}, {"alice": 30, "bob": 10}, {"alice": 75, "bob": 25}),
        ({"idle": "by_use"}, {}, {IDLE: 100}),
        ({"idle": "by_use"}, {"alice": 0}, {IDLE: 100}),
        (
            {"idle": "by_reservation", "shares": {"alice": 2, "team": 1}},
            {"bob": 5},
            {"alice": 67, "team": 33},
        ),
    ],
)
def test_what_no_call_used_is_charged_by_the_rule(
    rule: dict[str, Any], charged: dict[str, int], expected: dict[str, int]
) -> None:
    assert idle_by_user(committed(**rule), 100, charged) == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"per_hour": None}, "one of per_hour and per_minute"),
        ({"per_minute": 1}, "one of per_hour and per_minute"),
        ({"end": START}, "not after start"),
        ({"shares": {"alice": 1}}, "go together"),
        ({"idle": "by_reservation"}, "go together"),
    ],
)
def test_a_commitment_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        committed(**fields)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T01:00Z", 3600),
        ("1970-01-01 01:00:05+01:00", 5),
    ],
)
def test_an_instant_is_a_day_or_a_time_with_a_zone(text: str, seconds: int) -> None:
    assert parse_instant(text) == seconds


@pytest.mark.parametrize(
    "text", ["soon", "2026-13-01", "2026-11-01T08:00", "2026-11-01T08:00:00.5Z"]
)
def test_another_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)
