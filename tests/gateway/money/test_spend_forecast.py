"""A forecast knows days and weeks where there is history, and says how far it may be wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.money.spend_forecast import DAY_H, HOUR_S, SpendForecast, forecast

MONDAY = 1_767_571_200
"""2026-01-05 00:00 UTC."""
USD = 1_000_000_000
Spend = Callable[[int], int]
"""Hour since the epoch -> what is spent in it."""


def flat(hour: int) -> int:
    return USD


def office_hours(hour: int) -> int:
    """Ten dollars an hour from 9 to 17, Monday to Friday."""
    at = hour - MONDAY // HOUR_S
    return 10 * USD if at // DAY_H % 7 < 5 and 9 <= at % DAY_H < 17 else 0


def told(
    spend: Spend, *, days: float, ahead_h: int, limit: int | None = None, spent: int = 0
) -> SpendForecast:
    """After so many days of history that begin on a Monday, for so many hours."""
    now_at = MONDAY + round(days * 86_400)
    first = MONDAY // HOUR_S
    by_hour = {hour: spend(hour) for hour in range(first, int(now_at // HOUR_S))}
    return forecast(
        by_hour, now_at=now_at, ends_at=now_at + ahead_h * HOUR_S, spent=spent, limit=limit
    )


def test_even_spend_goes_on_and_there_is_no_doubt() -> None:
    found = told(flat, days=10, ahead_h=100, spent=7 * USD)
    assert (found.low, found.expected, found.high) == (107 * USD, 107 * USD, 107 * USD)
    assert (found.shape, found.history_h) == ("day", 240)


def test_a_limit_is_used_up_when_its_rest_has_come() -> None:
    found = told(flat, days=10, ahead_h=100, limit=50 * USD, spent=20 * USD)
    assert found.exhausted_at == pytest.approx(MONDAY + 10 * 86_400 + 30 * HOUR_S)
    assert found.earliest == found.exhausted_at == found.latest


def test_a_limit_that_lasts_is_not_used_up() -> None:
    found = told(flat, days=10, ahead_h=10, limit=50 * USD, spent=20 * USD)
    assert (found.exhausted_at, found.earliest, found.latest) == (None, None, None)


def test_one_that_is_used_up_is_so_now() -> None:
    found = told(flat, days=1, ahead_h=10, limit=USD, spent=2 * USD)
    assert found.exhausted_at == found.earliest == found.latest == MONDAY + 86_400


def test_the_hours_of_the_day_are_known_after_three_days_and_the_week_after_two() -> None:
    """On a Friday evening nothing comes before Monday, which a day's shape does not know."""
    friday = 14 + 4 + 18 / 24
    assert told(office_hours, days=friday, ahead_h=62).expected == 0
    whole = told(office_hours, days=21, ahead_h=168)
    assert whole.expected == pytest.approx(400 * USD, rel=1e-6)
    assert whole.shape == "week"
    overnight = told(office_hours, days=4 - 6 / 24, ahead_h=14)
    assert (overnight.expected, overnight.shape) == (0, "day")


def test_the_rest_of_an_hour_that_has_begun_counts_by_its_part() -> None:
    assert told(flat, days=2 + 1 / 48, ahead_h=1).expected == USD


def test_who_has_spent_nothing_will_spend_nothing() -> None:
    found = forecast({}, now_at=MONDAY, ends_at=MONDAY + 86_400, spent=0, limit=USD)
    assert (found.low, found.expected, found.high, found.earliest) == (0, 0, 0, None)


def test_a_short_history_is_doubted_more_than_a_long_one() -> None:
    draw = random.Random(1)
    noise = [draw.randrange(0, 2 * USD) for _ in range(10_000)]

    def noisy(hour: int) -> int:
        return noise[hour % len(noise)]

    widths = [
        (found.high - found.low) / found.expected
        for found in (told(noisy, days=days, ahead_h=240) for days in (0.25, 2, 14))
    ]
    assert widths == sorted(widths, reverse=True)


@given(
    amounts=st.lists(st.integers(0, 10**13), max_size=24 * 16),
    ahead_h=st.integers(1, 24 * 31),
    spent=st.integers(0, 10**13),
    limit=st.one_of(st.none(), st.integers(1, 10**15)),
)
def test_the_figures_are_in_order_whatever_was_spent(
    amounts: list[int], ahead_h: int, spent: int, limit: int | None
) -> None:
    now_h = MONDAY // HOUR_S + len(amounts)
    by_hour = {MONDAY // HOUR_S + at: amount for at, amount in enumerate(amounts)}
    now_at, ends_at = now_h * HOUR_S, (now_h + ahead_h) * HOUR_S
    found = forecast(by_hour, now_at=now_at, ends_at=ends_at, spent=spent, limit=limit)
    assert spent <= found.low <= found.high
    for instant in (found.earliest, found.exhausted_at, found.latest):
        assert instant is None or now_at <= instant <= ends_at
    if found.latest is not None:
        assert found.earliest is not None
        assert found.earliest <= found.latest


# --- calibration ---------------------------------------------------------------------------------


def bursty(seed: int) -> Spend:
    """Calls by the shape of a week, days that differ by a third or so, and single calls that cost
    ten times as much as others."""
    draw = random.Random(seed)
    days = [draw.lognormvariate(0, 0.35) for _ in range(80)]
    hours: dict[int, int] = {}

    def spend(hour: int) -> int:
        if hour not in hours:
            at = hour - MONDAY // HOUR_S
            week = 1.0 if at // DAY_H % 7 < 5 else 0.4
            day = 1 + 0.8 * math.sin(2 * math.pi * (at % DAY_H - 8) / DAY_H)
            calls = draw.gauss(12 * week * day * days[at // DAY_H], 3)
            costs = (USD // 10 * (10 if draw.random() < 0.03 else 1) for _ in range(round(calls)))
            hours[hour] = sum(costs)
        return hours[hour]

    return spend


def lasting(seed: int) -> Spend:
    """Even hours, on a level that wanders from day to day and keeps most of where it was."""
    draw = random.Random(seed)
    level, levels = 0.0, []
    for _ in range(80):
        level = 0.6 * level + draw.gauss(0, 0.25)
        levels.append(math.exp(level))

    def spend(hour: int) -> int:
        return round(USD * levels[(hour - MONDAY // HOUR_S) // DAY_H])

    return spend


@pytest.mark.parametrize("kind", [bursty, lasting], ids=["bursty", "lasting"])
@pytest.mark.parametrize("days", [3, 8, 20, 28])
def test_about_eight_of_ten_windows_end_within_the_range(
    kind: Callable[[int], Spend], days: int
) -> None:
    """Of two hundred, ten days ahead: no fewer than two of three, or it promises too much."""
    within = 0
    for seed in range(200):
        spend = kind(seed)
        found = told(spend, days=days, ahead_h=240)
        first = MONDAY // HOUR_S + days * DAY_H
        true = sum(spend(hour) for hour in range(first, first + 240))
        within += found.low <= true <= found.high
    assert 134 <= within <= 196
