"""A bill beside the ledger: which period, which difference, and what it is made of."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Bill, BillLine
from gateway.bills.causes import LedgerTotals
from gateway.bills.comparison import Books, Comparison, Corrected, Day, books_of
from gateway.bills.periods import DAY, HOUR, Period, days_of, period_of
from gateway.bills.texts import as_json, as_text
from gateway.policy.sections.price import Price
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
    ran_s: int = 800,
    cold_s: int = 0,
    of_runs: bool = False,
    corrected: int = 0,
) -> Comparison:
    line = BillLine(start=NOON - HOUR, end=NOON, cost_nano=cost, seconds=seconds, parts=parts or {})
    period = Period(NOON - HOUR, NOON)
    day = Day(
        period=period,
        bill=Bill(start=NOON - HOUR, end=NOON, lines=(line,), of_runs=of_runs),
        books=Books(
            LedgerTotals(
                calls=3,
                by_kind={"call": totals},
                gpu_us={"call": ran_s * 10**6},
                cold_us=cold_s * 10**6,
            ),
            {"idle": Corrected(corrected, 0)} if corrected else {},
        ),
        price=price,
    )
    return Comparison(backend="burst", kind="runpod", period=period, days=(day,))


def parts_of(found: Comparison) -> dict[str, tuple[int, float | None]]:
    return {cause.name: (cause.nano, cause.seconds) for cause in found.causes}


# --- the period ---------------------------------------------------------------------------------


def test_the_last_day_is_compared_in_hours_that_have_ended() -> None:
    assert period_of(None, None, NOON + 100.0) == Period(NOON - DAY, NOON)


def test_a_long_period_is_compared_in_days() -> None:
    days = Period(NOON - 10 * DAY - DAY / 2, NOON - DAY / 2)
    assert period_of(NOON - 10 * DAY, None, NOON) == days
    assert days.is_days


def test_whole_days_are_compared_where_they_are_asked_for() -> None:
    midnight = NOON - DAY / 2
    assert period_of(NOON - DAY, None, NOON, days=True) == Period(midnight - DAY, midnight)
    with pytest.raises(ValueError, match="no day that has ended"):
        period_of(midnight, None, NOON, days=True)


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
    assert period.around([day]) == Period(day.start, day.end)
    assert period.around([]) == period


def test_days_that_a_line_reaches_across_are_one() -> None:
    midnight = NOON - DAY / 2
    whole = Period(midnight, midnight + 4 * DAY)
    across = BillLine(start=midnight + DAY, end=midnight + 3 * DAY, cost_nano=1)
    edges = [(day.start - midnight) / DAY for day in days_of(whole, [across])]
    assert edges == [0, 1, 3]
    assert len(days_of(whole, [])) == 4


@given(
    hours=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60)), max_size=8),
    start=st.integers(0, 50),
    length=st.integers(1, 200),
)
def test_days_cover_the_period_and_cut_no_line(
    hours: list[tuple[int, int]], start: int, length: int
) -> None:
    lines = [
        BillLine(start=at * HOUR, end=(at + long) * HOUR, cost_nano=1)
        for at, long in hours
        if start <= at and at + long <= start + length
    ]
    days = days_of(Period(start * HOUR, (start + length) * HOUR), lines)
    assert days[0].start == start * HOUR
    assert days[-1].end == (start + length) * HOUR
    assert all(one.end == other.start for one, other in itertools.pairwise(days))
    for line in lines:
        assert sum(day.start < line.end and line.start < day.end for day in days) == 1


# --- the difference -----------------------------------------------------------------------------


def test_seconds_that_no_row_knows_of_are_named_with_what_they_cost() -> None:
    found = compared(parts={"gpu": 1_000_000_000, "fee": 100_000_000, "disk": 0})
    assert found.difference == 350_000_000
    assert parts_of(found) == {
        "idle": (200_000_000, 200.0),
        "price": (150_000_000, None),
        "fees": (100_000_000, None),
        "rest": (-100_000_000, None),
    }


def test_starts_that_the_policys_price_does_not_bill_are_a_cause_of_their_own() -> None:
    run_only = msgspec.structs.replace(FLEX, bills=("run",))
    found = compared(
        cost=10**9, price=run_only, totals=800_000_000, ran_s=800, cold_s=150, seconds=1000.0
    )
    assert parts_of(found) == {"starts": (150_000_000, 150.0), "idle": (50_000_000, 50.0)}


def test_of_a_bill_of_runs_what_is_unknown_was_run_by_others() -> None:
    found = compared(cost=10**9, totals=800_000_000, of_runs=True, cold_s=500)
    assert parts_of(found) == {"not_ours": (200_000_000, 200.0)}
    assert "runs that no row knows of" in as_text(found)


def test_what_was_charged_and_not_billed_is_a_difference_below_zero() -> None:
    found = compared(cost=0, seconds=0.0, ran_s=10)
    assert (found.difference, parts_of(found)["idle"]) == (-900_000_000, (-10_000_000, -10.0))
    assert found.exceeds(0.05)


@pytest.mark.parametrize("price", [None, Price(per_million_input=5)], ids=["none", "by tokens"])
def test_without_a_price_of_time_nobody_says_what_seconds_cost(price: Price | None) -> None:
    found = compared(price=price)
    assert parts_of(found) == {"rest": (350_000_000, None)}


def test_a_bill_without_seconds_is_not_taken_apart() -> None:
    found = compared(seconds=None)
    assert parts_of(found) == {"rest": (350_000_000, None)}
    assert "which this bill does not tell apart" in as_text(found)


@given(
    cost=st.integers(0, 10**15),
    fee=st.integers(0, 10**12),
    seconds=st.none() | st.floats(0, 1e7),
    totals=st.integers(0, 10**15),
    ran_s=st.integers(0, 10**7),
    cold_s=st.integers(0, 10**6),
    bills=st.sampled_from([("run",), ("start", "run"), ("start", "run", "idle")]),
    of_runs=st.booleans(),
)
def test_the_causes_of_a_difference_add_up_to_it(
    cost: int,
    fee: int,
    seconds: float | None,
    totals: int,
    ran_s: int,
    cold_s: int,
    bills: tuple[str, ...],
    of_runs: bool,
) -> None:
    found = compared(
        cost=cost,
        seconds=seconds,
        parts={"fee": fee},
        totals=totals,
        ran_s=ran_s,
        cold_s=cold_s,
        price=Price(per_second=1_000_000, bills=bills),  # type: ignore[arg-type]
        of_runs=of_runs,
    )
    assert sum(cause.nano for cause in found.causes) == cost - totals


@pytest.mark.parametrize(("share", "past"), [(0.27, True), (0.28, False), (1.0, False)])
def test_a_difference_is_held_against_a_share_of_the_bill(share: float, past: bool) -> None:
    assert compared().exceeds(share) is past


def test_what_is_corrected_is_open_no_more() -> None:
    found = compared(corrected=350_000_000)
    assert (found.difference, found.open) == (350_000_000, 0)
    assert not found.exceeds(0.0)


# --- shown --------------------------------------------------------------------------------------


def test_both_sides_and_each_cause_have_a_line() -> None:
    text = as_text(compared(parts={"gpu": 1_150_000_000, "fee": 100_000_000}, corrected=10**8))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:4] == [
        "burst (runpod), 2026-11-22T11:00Z to 2026-11-22T12:00Z",
        "bill $1.25 1,000.0 s of workers (gpu $1.15, fee $0.1)",
        "ledger $0.9 3 calls, 800.0 s of device (calls $0.9)",
        "difference $0.35 28.0 % of the bill",
    ]
    assert [line.split()[2] for line in lines[4:8]] == ["$0.2", "$0.15", "$0.1", "-$0.1"]
    assert lines[8] == "booked $0.1 of the difference, as corrections"


def test_more_days_than_one_have_a_line_each() -> None:
    one = compared().days[0]
    before = msgspec.structs.replace(one, period=Period(NOON - DAY, NOON - HOUR))
    found = msgspec.structs.replace(compared(), days=(before, one))
    text = as_text(found)
    assert "2026-11-21           $1.25  ledger $0.9, difference $0.35" in text
    assert as_json(found)["bill_usd"] == "2.5"
    assert as_json(found)["difference"]["percent_of_bill"] == 28.0


def test_where_nothing_was_billed_and_nothing_charged_there_is_nothing_to_explain() -> None:
    text = as_text(compared(cost=0, seconds=None, totals=0, ran_s=0))
    assert "difference" in text
    assert "of it" not in text


def test_books_are_rows_by_kind_and_corrections_by_cause() -> None:
    def row(kind: str, reason: str, calls: int, cost_nano: int) -> UsageRow:
        return UsageRow(
            group={"kind": kind, "reason": reason}, calls=calls, errors=0, cold_starts=0,
            input_tokens=0, output_tokens=0, queue_us=9, cold_us=500_000, exec_us=7,
            gpu_us=1_000_000, cost_nano=cost_nano,
        )  # fmt: skip

    books = books_of(
        [
            row("call", "cheapest", 4, 10),
            row("call", "fastest", 1, 3),
            row("ping", "", 0, 1),
            row("correction", "idle", 0, 5),
            row("correction", "idle", 0, -2),
        ]
    )
    assert books.totals == LedgerTotals(
        calls=5,
        by_kind={"call": 13, "ping": 1},
        gpu_us={"call": 2_000_000, "ping": 1_000_000},
        cold_us=1_500_000,
    )
    assert books.corrected == {"idle": Corrected(3, 2_000_000)}
