"""A bill as CSV: what is read, and which line is told when it cannot be."""

from __future__ import annotations

import pytest

from gateway.bills.bill_files import BillFileError, bill_from_csv

MIDNIGHT = 1_795_305_600.0
"""2026-11-22T00:00:00Z."""
DAY = 86_400.0


def test_a_line_is_a_day_with_its_amount_and_parts() -> None:
    text = "Day,USD,Seconds,Calls,Label,fee_usd,Region\n2026-11-22,$1.25,100.5,7,gpu pod,0.25,eu\n"
    bill = bill_from_csv(text, "bill.csv")
    [line] = bill.lines
    assert (line.start, line.end) == (MIDNIGHT, MIDNIGHT + DAY)
    assert (line.cost_nano, line.seconds, line.calls) == (1_250_000_000, 100.5, 7)
    assert (line.label, line.parts) == ("gpu pod", {"fee": 250_000_000})
    assert (bill.start, bill.end, bill.of_runs) == (line.start, line.end, False)


def test_a_line_may_be_any_time_and_state_seconds_alone() -> None:
    text = "\ufeffstart,end,seconds\n2026-11-22T01:00Z,2026-11-22T03:00+01:00,60\n"
    [line] = bill_from_csv(text, "bill.csv", of_runs=True).lines
    assert (line.start - MIDNIGHT, line.end - MIDNIGHT) == (3600, 7200)
    assert (line.cost_nano, line.seconds) == (None, 60.0)


def test_a_currency_that_is_said_is_the_ledgers() -> None:
    for said in ("USD", "usd", ""):
        bill = bill_from_csv(f"day,usd,currency\n2026-11-22,1,{said}\n", "bill.csv")
        assert bill.cost_nano == 10**9


def test_a_credit_is_an_amount_below_zero() -> None:
    [line] = bill_from_csv("day,usd\n2026-11-22,-3\n", "bill.csv").lines
    assert line.cost_nano == -3_000_000_000


BROKEN = {
    "": "bill.csv line 1: needs a column day, or start and end; it is empty",
    "day,amount\n": "bill.csv line 1: needs a column usd, or seconds; it has day, amount",
    "start,usd\n": "bill.csv line 1: needs a column day, or start and end",
    "day,usd,USD\n": "bill.csv line 1: the column 'usd' is there twice",
    "day,usd\n": "bill.csv has no line but its heads",
    "day,usd\n2026-11-22,1\n2026-11-23,1.2.3\n": "bill.csv line 3: usd '1.2.3' is no number",
    "day,usd\n2026-11-22,1e99\n": "bill.csv line 2: usd '1e99' is no number",
    "day,usd\n2026-11-22,NaN\n": "bill.csv line 2: usd 'NaN' is no number",
    "day,usd\n22.11.2026,1\n": "bill.csv line 2: day '22.11.2026' is no day such as 2026-11-01",
    "day,usd\n2026-11-22T08:00Z,1\n": "line 2: day '2026-11-22T08:00Z' is no day",
    "day,usd\n2026-11-22\n": "bill.csv line 2: has another number of cells",
    "day,usd\n2026-11-22,1,2\n": "bill.csv line 2: has another number of cells",
    "day,usd,seconds\n2026-11-22,,\n": "bill.csv line 2: has neither usd nor seconds",
    "day,usd,currency\n2026-11-22,1,USD\n2026-11-23,1,EUR\n": (
        "bill.csv line 3: currency 'EUR' is not USD: convert the amounts"
    ),
    "day,usd,BillingCurrency\n2026-11-22,1,GBP\n": "line 2: billingcurrency 'GBP' is not USD",
    "day,seconds\n2026-11-22,-1\n": "bill.csv line 2: seconds '-1' is below zero",
    "day,usd,calls\n2026-11-22,1,1.5\n": "bill.csv line 2: calls '1.5' is no whole number",
    "start,end,usd\n2026-11-22,2026-11-22,1\n": "line 2: end '2026-11-22' is not after start",
    'day,usd\n2026-11-22,"1\n': "bill.csv line 2: ",
}


@pytest.mark.parametrize("text", BROKEN, ids=repr)
def test_what_cannot_be_read_is_told_with_its_line(text: str) -> None:
    with pytest.raises(BillFileError) as caught:
        bill_from_csv(text, "bill.csv")
    assert BROKEN[text] in str(caught.value)
