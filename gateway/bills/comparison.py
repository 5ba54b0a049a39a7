"""A platform's bill beside what the ledger has for the same backend and time. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from adapters.types import Bill
from gateway.bills.causes import Cause, CauseName, LedgerTotals, causes_of
from gateway.bills.periods import Period, days_of
from gateway.policy.sections.price import Price
from gateway.storage.queries import UsageRow

CORRECTION: Final[Literal["correction"]] = "correction"
"""The kind of the rows that are booked of a comparison."""


class Corrected(msgspec.Struct, frozen=True):
    """What is booked of a cause already: nano-dollars, and microseconds of device."""

    nano: int = 0
    gpu_us: int = 0


class Books(msgspec.Struct, frozen=True):
    """The ledger's side: its own rows, and what was corrected of them by cause."""

    totals: LedgerTotals
    corrected: Mapping[str, Corrected] = {}


def books_of(rows: Sequence[UsageRow]) -> Books:
    """Of rows that are grouped by ``kind`` and ``reason``, among others."""
    by_kind: defaultdict[str, int] = defaultdict(int)
    gpu_us: defaultdict[str, int] = defaultdict(int)
    corrected: dict[str, Corrected] = {}
    for row in rows:
        kind, reason = row.group["kind"], row.group["reason"]
        if kind == CORRECTION:
            known = corrected.get(reason, Corrected())
            corrected[reason] = Corrected(known.nano + row.cost_nano, known.gpu_us + row.gpu_us)
        else:
            by_kind[kind] += row.cost_nano
            gpu_us[kind] += row.gpu_us
    ours = [row for row in rows if row.group["kind"] != CORRECTION]
    totals = LedgerTotals(
        calls=sum(row.calls for row in ours),
        by_kind=dict(by_kind),
        gpu_us=dict(gpu_us),
        cold_us=sum(row.cold_us for row in ours),
    )
    return Books(totals, corrected)


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A bill beside the ledger's sums for one day, part of one, or days that the bill does not
    tell apart. Money in nano-dollars."""

    period: Period
    bill: Bill
    books: Books
    price: Price | None = None

    @property
    def difference(self) -> int:
        """What is on the bill and not in the ledger, corrections that are booked apart."""
        return self.bill.cost_nano - self.books.totals.cost_nano

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What makes it; they add up to it."""
        return causes_of(self.bill, self.books.totals, self.price)

    @property
    def corrected(self) -> int:
        """What is booked of it."""
        return sum(one.nano for one in self.books.corrected.values())


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A backend's bill beside the ledger, by the day."""

    backend: str
    kind: str
    period: Period
    days: tuple[Day, ...]
    priced_here: bool = False
    """The platform states seconds alone; what they cost is the policy's price."""

    @property
    def billed(self) -> int:
        """Nano-dollars on the bill."""
        return sum(day.bill.cost_nano for day in self.days)

    @property
    def in_ledger(self) -> int:
        """Nano-dollars of the ledger's rows, corrections apart."""
        return sum(day.books.totals.cost_nano for day in self.days)

    @property
    def difference(self) -> int:
        """Nano-dollars on the bill and not in the ledger's rows, corrections apart."""
        return sum(day.difference for day in self.days)

    @property
    def corrected(self) -> int:
        """Nano-dollars of it that are booked."""
        return sum(day.corrected for day in self.days)

    @property
    def open(self) -> int:
        """Nano-dollars of it that are not booked."""
        return self.difference - self.corrected

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Of all days together, the largest first."""
        nano: defaultdict[CauseName, int] = defaultdict(int)
        seconds: dict[CauseName, float] = {}
        for cause in (cause for day in self.days for cause in day.causes):
            nano[cause.name] += cause.nano
            if cause.seconds is not None:
                seconds[cause.name] = seconds.get(cause.name, 0.0) + cause.seconds
        parts = (Cause(name, amount, seconds.get(name)) for name, amount in nano.items())
        return tuple(sorted(parts, key=lambda cause: (-abs(cause.nano), cause.name)))

    def exceeds(self, share: float) -> bool:
        """Whether more than this share of the bill, 0 to 1, is in no row: also where something was
        charged and nothing billed."""
        return abs(self.open) > share * self.billed


def split_by_day(period: Period, bill: Bill) -> list[tuple[Period, Bill]]:
    """The bill's lines by the day that they are of."""
    return [
        (
            day,
            msgspec.structs.replace(
                bill,
                start=day.start,
                end=day.end,
                lines=tuple(line for line in bill.lines if day.holds(line.start)),
            ),
        )
        for day in days_of(period, bill.lines)
    ]
