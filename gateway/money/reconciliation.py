"""A platform's bill beside what the ledger has for the same backend and time. Pure.

The difference is taken apart into what the ledger cannot know (seconds of workers that ran no
call, fees) and what is left, which a person should look at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from adapters.types import Bill
from gateway.money.pricing import second_rate
from gateway.money.text import iso, usd
from gateway.policy.price import Price
from gateway.storage.queries import UsageRow
from gateway.types import MICRO

HOUR, DAY = 3600, 86_400
_BY_THE_HOUR = 4 * DAY
"""A longer period is compared by the day."""
_UNTIMED = ("disk", "fee")
"""Parts of a bill that are no worker's time."""
_KINDS = {"call": "calls", "attempt": "attempts", "ping": "pings"}


class Period(msgspec.Struct, frozen=True):
    """Whole hours or days, in seconds since 1970-01-01 UTC; ``end`` is not in it."""

    start: float
    end: float

    def around(self, bill: Bill) -> Period:
        """Widened to what the lines of a bill cover, which may be whole days."""
        starts = [self.start, *(line.start for line in bill.lines)]
        return Period(min(starts), max([self.end, *(line.end for line in bill.lines)]))

    def __str__(self) -> str:
        return f"{iso(self.start, 'minutes')} to {iso(self.end, 'minutes')}"


def period_of(since: float | None, until: float | None, now_at: float) -> Period:
    """Rounded down to whole hours, or days where it is long: a bill knows nothing smaller. Left
    out: the last day. Raises ValueError where no whole hour is left."""
    end = now_at if until is None else min(until, now_at)
    start = end - DAY if since is None else since
    step = HOUR if end - start <= _BY_THE_HOUR else DAY
    period = Period(math.floor(start / step) * step, math.floor(end / step) * step)
    if period.start >= period.end:
        raise ValueError("a bill is by the hour: no hour that has ended lies between the two")
    return period


class LedgerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger has. Nano-dollars; seconds of device and of starts that calls waited for."""

    calls: int
    cost_nano: int
    by_kind: Mapping[str, int]
    seconds: float


def totals_of(rows: Sequence[UsageRow]) -> LedgerTotals:
    """Of rows that are grouped by ``kind``."""
    return LedgerTotals(
        calls=sum(row.calls for row in rows),
        cost_nano=sum(row.cost_nano for row in rows),
        by_kind={row.group["kind"]: row.cost_nano for row in rows},
        seconds=sum(row.gpu_us + row.cold_us for row in rows) / MICRO,
    )


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A backend's bill beside the ledger's sums for the same time; money in nano-dollars."""

    backend: str
    kind: str
    period: Period
    bill: Bill
    totals: LedgerTotals
    price: Price | None = None

    @property
    def difference(self) -> int:
        """Nano-dollars that are on the bill and not in the ledger."""
        return self.bill.cost_nano - self.totals.cost_nano

    @property
    def percent(self) -> float | None:
        """Of the bill."""
        return 100 * self.difference / self.bill.cost_nano if self.bill.cost_nano else None

    @property
    def unseen_s(self) -> float | None:
        """Seconds of workers that were billed and that no call knows of; below zero where calls
        shared a worker. None where the bill states no seconds."""
        return None if self.bill.seconds is None else self.bill.seconds - self.totals.seconds

    @property
    def unseen(self) -> int | None:
        """What they cost by the policy's price; None where nobody can say."""
        rate = 0 if self.price is None else second_rate(self.price)
        return None if self.unseen_s is None or not rate else round(self.unseen_s * rate)

    @property
    def untimed(self) -> dict[str, int]:
        """What is on the bill for other things than time."""
        return {name: nano for name, nano in self.bill.parts.items() if name in _UNTIMED and nano}

    @property
    def rest(self) -> int:
        """Of the difference, what none of these explains."""
        return self.difference - (self.unseen or 0) - sum(self.untimed.values())


# --- shown ----------------------------------------------------------------------------------------


def as_json(found: Comparison) -> dict[str, Any]:
    """Amounts are exact decimals of US dollars, as text."""
    bill, totals = found.bill, found.totals
    return {
        "backend": found.backend,
        "kind": found.kind,
        "from": iso(found.period.start, "minutes"),
        "to": iso(found.period.end, "minutes"),
        "bill": {
            "usd": usd(bill.cost_nano),
            "seconds": bill.seconds,
            "lines": len(bill.lines),
            "parts": {name: usd(nano) for name, nano in bill.parts.items()},
        },
        "ledger": {
            "usd": usd(totals.cost_nano),
            "seconds": totals.seconds,
            "calls": totals.calls,
            "by_kind": {name: usd(nano) for name, nano in totals.by_kind.items()},
        },
        "difference": {
            "usd": usd(found.difference),
            "percent_of_bill": None if found.percent is None else round(found.percent, 2),
        },
        "unknown_to_the_ledger": {
            "seconds": found.unseen_s,
            "seconds_usd": None if found.unseen is None else usd(found.unseen),
            "parts": {name: usd(nano) for name, nano in found.untimed.items()},
            "rest_usd": usd(found.rest),
        },
    }


def as_text(found: Comparison) -> str:
    """A paragraph for a terminal, amounts below one another."""
    return "\n".join(_lines(found))


def _lines(found: Comparison) -> Iterator[str]:
    bill, totals = found.bill, found.totals
    yield f"{found.backend} ({found.kind}), {found.period}"
    yield _line("bill", bill.cost_nano, f"{_seconds(bill.seconds)}{_parts(bill.parts)}")
    kinds = {_KINDS.get(name, name): nano for name, nano in totals.by_kind.items()}
    told = f"{totals.calls} calls, {_seconds(totals.seconds)}{_parts(kinds)}"
    yield _line("ledger", totals.cost_nano, told)
    share = "" if found.percent is None else f"{found.percent:.1f} % of the bill"
    yield _line("difference", found.difference, share)
    yield from _unknown(found)


def _unknown(found: Comparison) -> Iterator[str]:
    if found.unseen_s is not None:
        what = f"{_seconds(found.unseen_s)} that no call knows of: idle tails, starts, lost work"
        if found.unseen is None:
            yield f"  {'of it':<10} {'?':>15}  {what}; the policy has no price for them"
        else:
            yield _line("of it", found.unseen, what)
    for name, nano in found.untimed.items():
        yield _line("of it", nano, f"{name}: on the bill, and no worker's time")
    if found.rest:
        yield _line("of it", found.rest, _REST if found.unseen_s is not None else _REST_UNTIMED)


_REST = "neither: another price, calls past the gateway, or a bill that is late"
_REST_UNTIMED = (
    "idle tails, starts and fees, which this bill does not tell apart; another price, calls past "
    "the gateway, or a bill that is late"
)


def _line(name: str, nano: int, text: str) -> str:
    return f"  {name:<10} {_dollars(nano):>15}  {text}".rstrip()


def _dollars(nano: int) -> str:
    return f"-${usd(-nano)}" if nano < 0 else f"${usd(nano)}"


def _seconds(seconds: float | None) -> str:
    return "no seconds told" if seconds is None else f"{seconds:,.1f} s of workers"


def _parts(parts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{name} {_dollars(nano)}" for name, nano in parts.items())
    return f" ({listed})" if listed else ""
