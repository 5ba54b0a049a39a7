"""What Vercel's AI Gateway bills an account, read out of its custom report. Pure.

The report is of the whole account, whoever called, by the day (UTC); the platform charges for
each question (5 US dollars a thousand), and asks for a plan that has it.

Assumed, for nothing here was run against the live platform: without ``group_by`` a result names
its ``day``; both dates are included.

Source: https://vercel.com/docs/ai-gateway/capabilities/custom-reporting, as of 2026-05.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from adapters.bills import DAY_S, UNREADABLE_BILL, nano_of
from adapters.shapes.json_texts import read
from adapters.types import Bill, BillLine

_LABEL = "the whole account"


class _Result(msgspec.Struct, frozen=True):
    total_cost: Decimal
    day: date | None = None


class _Report(msgspec.Struct, frozen=True):
    results: tuple[_Result, ...]


def query_for(start: float, end: float) -> str:
    """The report's path, for the days that the period touches."""
    asked = {"start_date": _day(start), "end_date": _day(max(start, end - 1.0))}
    return f"/report?{urlencode(asked)}"


def bill_of(body: bytes, start: float, end: float) -> Bill:
    """A result that does not name its day is laid over the whole period. Raises FAILED."""
    results = read(body, _Report, UNREADABLE_BILL).results
    lines = tuple(_line(result, start, end) for result in results)
    return Bill(start=start, end=end, lines=lines)


def _line(result: _Result, start: float, end: float) -> BillLine:
    day = result.day
    if day is not None:
        start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        end = start + DAY_S
    cost_nano = nano_of(result.total_cost)
    return BillLine(start=start, end=end, cost_nano=cost_nano, label=_LABEL)


def _day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d")
