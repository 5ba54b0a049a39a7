"""A bill that a person has as CSV: of platforms that no program can ask. Pure.

Columns: ``day``, or ``start`` and ``end``; ``usd``, or ``seconds``, or both; and where there are
any ``calls``, ``label``, and ``<part>_usd`` for what the amount is made of, such as ``fee_usd``.
Where there is a ``currency``, it is USD. Others are left alone. A line that cannot be read is an
error that names it; nothing of the file is used then.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from adapters.bills import DAY_S, nano_of
from adapters.types import Bill, BillLine
from gateway.policy.syntax.scalars import parse_instant

_PART: Final = "_usd"
_MOST_LINES = 1_000_000
_CURRENCIES = ("currency", "billingcurrency", "billing_currency")
"""Columns that say in what a platform's file counts."""


class BillFileError(Exception):
    """Why a file is no bill: its name, the line, the column, what is wrong and what to do."""


def bill_from_csv(text: str, name: str, *, of_runs: bool = False) -> Bill:
    """The bill in a file that is called ``name``. Raises BillFileError."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        heads = [head.strip().lower() for head in rows.fieldnames or ()]
        _check_heads(heads, name)
        rows.fieldnames = heads
        lines = tuple(_lines(rows, name))
    except csv.Error as error:
        raise BillFileError(f"{name} line {rows.line_num + 1}: {error}") from None
    if not lines:
        raise BillFileError(f"{name} has no line but its heads")
    start, end = min(line.start for line in lines), max(line.end for line in lines)
    return Bill(start=start, end=end, lines=lines, of_runs=of_runs)


def _check_heads(heads: list[str], name: str) -> None:
    twice = sorted({head for head in heads if heads.count(head) > 1})
    if twice:
        raise BillFileError(f"{name} line 1: the column {twice[0]!r} is there twice")
    if "day" not in heads and not {"start", "end"} <= set(heads):
        raise BillFileError(f"{name} line 1: needs a column day, or start and end; {_had(heads)}")
    if "usd" not in heads and "seconds" not in heads:
        raise BillFileError(f"{name} line 1: needs a column usd, or seconds; {_had(heads)}")


def _had(heads: list[str]) -> str:
    return f"it has {', '.join(heads)}" if any(heads) else "it is empty"


def _lines(rows: csv.DictReader[str], name: str) -> Iterator[BillLine]:
    for number, row in enumerate(rows):
        place = f"{name} line {rows.line_num}"
        if number >= _MOST_LINES:
            raise BillFileError(f"{place}: a bill has at most {_MOST_LINES} lines; sum it by day")
        if None in row or any(value is None for value in row.values()):
            raise BillFileError(f"{place}: has another number of cells than line 1 has columns")
        try:
            yield _line({head: text.strip() for head, text in row.items()})
        except ValueError as error:
            raise BillFileError(f"{place}: {error}") from None


def _line(row: Mapping[str, str]) -> BillLine:
    start, end = _span(row)
    _check_currency(row)
    cost = _amount(row, "usd")
    seconds = _amount(row, "seconds")
    if cost is None and seconds is None:
        raise ValueError("has neither usd nor seconds")
    if seconds is not None and seconds < 0:
        raise ValueError(f"seconds {row['seconds']!r} is below zero")
    parts = {head.removesuffix(_PART): _amount(row, head) for head in row if head.endswith(_PART)}
    calls = row.get("calls", "")
    if calls and not (calls.isascii() and calls.isdigit()):
        raise ValueError(f"calls {calls!r} is no whole number")
    return BillLine(
        start=start,
        end=end,
        cost_nano=None if cost is None else nano_of(cost),
        seconds=None if seconds is None else float(seconds),
        calls=int(calls) if calls else None,
        label=row.get("label", ""),
        parts={part: nano_of(amount) for part, amount in parts.items() if amount is not None},
    )


def _check_currency(row: Mapping[str, str]) -> None:
    for head in _CURRENCIES:
        if row.get(head, "USD").upper() not in ("USD", ""):
            raise ValueError(
                f"{head} {row[head]!r} is not USD: convert the amounts, for the ledger has US "
                "dollars alone"
            )


def _span(row: Mapping[str, str]) -> tuple[float, float]:
    if row.get("day"):
        start = float(_instant(row, "day"))
        if start % DAY_S:
            raise ValueError(f"day {row['day']!r} is no day such as 2026-11-01")
        return start, start + DAY_S
    start, end = _instant(row, "start"), _instant(row, "end")
    if end <= start:
        raise ValueError(f"end {row['end']!r} is not after start {row['start']!r}")
    return float(start), float(end)


def _instant(row: Mapping[str, str], head: str) -> int:
    text = row.get(head, "")
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(
            f"{head} {text!r} is no day such as 2026-11-01 and no instant such as 2026-11-01T08:00Z"
        ) from None


def _amount(row: Mapping[str, str], head: str) -> Decimal | None:
    text = row.get(head, "").removeprefix("$")
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or abs(amount) >= 10**9 or not math.isfinite(float(amount)):
        raise ValueError(f"{head} {row[head]!r} is no number such as 1234.56")
    return amount
