"""Asks a platform for its bill and the ledger for its rows, and puts them side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from adapters.base import Billed
from adapters.types import Bill, BillLine
from gateway.bills.comparison import Books, Comparison, Day, books_of, split_by_day
from gateway.bills.kept_bills import KeptBill, joined
from gateway.bills.periods import DAY, Period
from gateway.money.pricing import second_rate
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.sections.price import Price
from gateway.storage.base import Ledger
from gateway.storage.queries import UsageQuery, UsageRow

_GROUPS = ("day", "kind", "reason")


class Unpriced(Exception):
    """A bill of seconds alone, where the policy has no price of a second."""


async def asked(backend: Billed, period: Period) -> Bill:
    """The platform's bill, without what lies outside of the period. Raises BackendError."""
    return within(await backend.bill(period.start, period.end), period)


def within(bill: Bill, period: Period) -> Bill:
    """The lines that touch the period."""
    lines = (one for one in bill.lines if one.start < period.end and one.end > period.start)
    return msgspec.structs.replace(bill, lines=tuple(lines))


async def compare(
    policy: Policy, spec: BackendSpec, bill: Bill, period: Period, ledger: Ledger
) -> Comparison:
    """The bill beside the ledger, by the day. Raises Unpriced, and StorageUnavailable."""
    covered = period.around(bill.lines)
    unpriced = any(line.cost_nano is None for line in bill.lines)
    bill = msgspec.structs.replace(
        bill, lines=tuple(_priced(line, _price(policy, spec, line.start)) for line in bill.lines)
    )
    query = UsageQuery(
        since=covered.start,
        until=covered.end,
        group_by=_GROUPS,
        where={"backend": spec.name},
    )
    rows = (await ledger.usage(query)).rows
    days = tuple(
        Day(
            period=day,
            bill=part,
            books=_books(rows, day),
            price=_price(policy, spec, day.start),
        )
        for day, part in split_by_day(covered, bill)
    )
    return Comparison(
        backend=spec.name, kind=spec.kind, period=covered, days=days, priced_here=unpriced
    )


async def compare_kept(
    policy: Policy, spec: BackendSpec, kept: Iterable[KeptBill], period: Period, ledger: Ledger
) -> Comparison | None:
    """As ``compare``, for those days of the period that bills are kept of; None without any. Raises
    Unpriced, and StorageUnavailable."""
    found = []
    for bill in joined(kept):
        part = Period(max(bill.start, period.start), min(bill.end, period.end))
        if part.start < part.end:
            found.append(await compare(policy, spec, within(bill, part), part, ledger))
    if not found:
        return None
    return Comparison(
        backend=spec.name,
        kind=spec.kind,
        period=Period(found[0].period.start, found[-1].period.end),
        days=tuple(itertools.chain.from_iterable(one.days for one in found)),
        priced_here=any(one.priced_here for one in found),
    )


def _price(policy: Policy, spec: BackendSpec, at: float) -> Price | None:
    name = spec.common.price
    return policy.prices[name].at(at) if name else None


def _priced(line: BillLine, price: Price | None) -> BillLine:
    if line.cost_nano is not None:
        return line
    rate = 0 if price is None else second_rate(price)
    if not rate:
        raise Unpriced(
            "the bill states seconds alone, and the backend's price in the policy has no "
            "per_second to say what they cost"
        )
    return msgspec.structs.replace(line, cost_nano=round((line.seconds or 0.0) * rate))


def _books(rows: tuple[UsageRow, ...] | list[UsageRow], day: Period) -> Books:
    ours = (row for row in rows if _began(row) < day.end and _began(row) + DAY > day.start)
    return books_of(list(ours))


def _began(row: UsageRow) -> float:
    return datetime.fromisoformat(row.group["day"]).replace(tzinfo=UTC).timestamp()
