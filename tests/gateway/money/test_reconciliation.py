"""A bill beside the ledger: which period, which difference, and what it is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Bill, BillLine
from gateway.money.reconciliation import (
    DAY,
    HOUR,
    Comparison,
    LedgerTotals,
    Period,
    as_json,
    as_text,
    period_of,
    totals_of,
)
from gateway.policy.price import Price
from gateway.storage.queries import UsageRow

NOON = 1_795_305_600.0 + 12 * HOUR
"""2026-11-22T12:00:00Z."""
FLEX = Price(per_second=1_000_000, bills=("start", "run", "idle"))


def compared(
    *,
    cost: int = 1_250_000_000,
    seconds: float | None = 1000.0,
    parts: dict[str, int] | None = None,
    price: Price | None = FLEX,
    totals: int = 900_000_000,
    ran: float = 800.0,
) -> Comparison:
    line = BillLine(start=NOON - HOUR, end=NOON, cost_nano=cost, seconds=seconds, parts=parts or {})
    return Comparison(
        backend="burst",
        kind="runpod",
        period=Period(NOON - HOUR, NOON),
        bill=Bill(start=NOON - HOUR, end=NOON, lines=(line,)),
        totals=LedgerTotals(calls=3, cost_nano=totals, by_kind={"call": totals}, seconds=ran),
        price=price,
    )


# --- the period ---------------------------------------------------------------------------------


def test_the_last_day_is_compared_in_hours_that_have_ended() -> None:
    assert period_of(None, None, NOON + 100.0) == Period(NOON - DAY, NOON)


def test_a_long_period_is_compared_in_days() -> None:
    assert period_of(NOON - 10 * DAY, None, NOON) == Period(
        NOON - 10 * DAY - DAY / 2, NOON - DAY / 2
    )


def test_what_has_not_been_yet_is_not_compared() -> None:
    assert period_of(NOON - HOUR, NOON + DAY, NOON + 1.0) == Period(NOON - HOUR, NOON)


@pytest.mark.parametrize(
    ("since", "until"),
    [(NOON + 1.0, None), (NOON, NOON), (NOON, NOON + HOUR), (NOON + HOUR, NOON + 2 * HOUR)],
)
def test_a_period_without_a_whole_hour_is_refused(since: float, until: float | None) -> None:
    with pytest.raises(ValueError, match="no hour that has ended"):
        period_of(since, until, NOON + 100.0)


def test_a_bill_by_the_day_is_compared_with_the_whole_days_that_it_covers() -> None:
    day = BillLine(start=NOON - DAY / 2, end=NOON + DAY / 2, cost_nano=1)
    period = Period(NOON - HOUR, NOON)
    assert period.around(Bill(start=0, end=1, lines=(day,))) == Period(day.start, day.end)
    assert period.around(Bill(start=0, end=1)) == period


# --- the difference -----------------------------------------------------------------------------


def test_seconds_that_no_call_knows_of_are_named_with_what_they_cost() -> None:
    found = compared(parts={"gpu": 1_000_000_000, "fee": 100_000_000, "disk": 0})
    assert found.difference == 350_000_000
    assert found.percent == 28.0
    assert (found.unseen_s, found.unseen) == (200.0, 200_000_000)
    assert found.untimed == {"fee": 100_000_000}
    assert found.rest == 50_000_000


def test_what_was_charged_and_not_billed_is_a_difference_below_zero() -> None:
    found = compared(cost=0, seconds=0.0, ran=10.0)
    assert (found.difference, found.percent) == (-900_000_000, None)
    assert found.unseen == -10_000_000


@pytest.mark.parametrize("price", [None, Price(per_million_input=5)])
def test_without_a_price_of_time_nobody_says_what_unseen_seconds_cost(price: Price | None) -> None:
    found = compared(price=price)
    assert (found.unseen_s, found.unseen, found.rest) == (200.0, None, found.difference)
    assert "the policy has no price for them" in as_text(found)


def test_a_bill_without_seconds_is_not_taken_apart() -> None:
    found = compared(seconds=None)
    assert (found.unseen_s, found.unseen, found.rest) == (None, None, found.difference)
    assert "which this bill does not tell apart" in as_text(found)


@given(
    cost=st.integers(0, 10**15),
    fee=st.integers(0, 10**12),
    seconds=st.none() | st.floats(0, 1e7),
    totals=st.integers(0, 10**15),
    ran=st.floats(0, 1e7),
)
def test_the_parts_of_a_difference_add_up_to_it(
    cost: int, fee: int, seconds: float | None, totals: int, ran: float
) -> None:
    found = compared(cost=cost, seconds=seconds, parts={"fee": fee}, totals=totals, ran=ran)
    explained = (found.unseen or 0) + sum(found.untimed.values())
    assert explained + found.rest == found.bill.cost_nano - found.totals.cost_nano


# --- shown --------------------------------------------------------------------------------------


def test_both_sides_and_each_part_have_a_line() -> None:
    text = as_text(compared(parts={"gpu": 1_150_000_000, "fee": 100_000_000}))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:4] == [
        "burst (runpod), 2026-11-22T11:00Z to 2026-11-22T12:00Z",
        "bill $1.25 1,000.0 s of workers (gpu $1.15, fee $0.1)",
        "ledger $0.9 3 calls, 800.0 s of workers (calls $0.9)",
        "difference $0.35 28.0 % of the bill",
    ]
    assert [line.split()[2] for line in lines[4:]] == ["$0.2", "$0.1", "$0.05"]


def test_where_nothing_was_billed_and_nothing_charged_there_is_nothing_to_explain() -> None:
    text = as_text(compared(cost=0, seconds=None, totals=0, ran=0.0))
    assert "difference" in text
    assert "of it" not in text


def test_json_has_exact_amounts() -> None:
    told = as_json(compared())
    assert told["difference"] == {"usd": "0.35", "percent_of_bill": 28.0}
    assert told["unknown_to_the_ledger"] == {
        "seconds": 200.0,
        "seconds_usd": "0.2",
        "parts": {},
        "rest_usd": "0.15",
    }


def test_books_are_what_calls_attempts_and_pings_sum_to() -> None:
    def row(kind: str, calls: int, cost_nano: int) -> UsageRow:
        return UsageRow(
            group={"kind": kind}, calls=calls, errors=0, cold_starts=0, input_tokens=0,
            output_tokens=0, queue_us=9, cold_us=500_000, exec_us=7, gpu_us=1_000_000,
            cost_nano=cost_nano,
        )  # fmt: skip

    totals = totals_of([row("call", 4, 10), row("attempt", 0, 2), row("ping", 0, 1)])
    assert totals == LedgerTotals(
        calls=4, cost_nano=13, by_kind={"call": 10, "attempt": 2, "ping": 1}, seconds=4.5
    )
