"""What makes a difference between a bill and the ledger. Pure, in integer nano-dollars.

What is told of both sides: a bill's dollars and, with some platforms, the seconds of workers or of
runs that they are for; the ledger's dollars, and the seconds of its runs, starts and idle tails.
With the policy's price of a second the difference falls into parts, which add up to it exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from adapters.types import Bill
from gateway.money.pricing import second_rate
from gateway.policy.sections.price import Price
from gateway.types import MICRO

CauseName = Literal["fees", "price", "starts", "idle", "not_ours", "rest"]
UNTIMED = ("disk", "fee")
"""Parts of a bill that are no worker's time."""

MEANINGS: Mapping[CauseName, str] = {
    "fees": "disk and fees: on the bill, and no worker's time",
    "price": "another price a second than the policy's",
    "starts": "starts that calls waited for, which the policy's price does not bill",
    "idle": (
        "workers' time that no row knows of: idle tails, starts for nobody, calls past the gateway"
    ),
    "not_ours": "runs that no row knows of: calls past the gateway",
    "rest": "none of these: calls charged by an estimate or not by time, or a bill that is late",
}


class Cause(msgspec.Struct, frozen=True):
    """One part of a difference. Below zero: the ledger has more than the bill."""

    name: CauseName
    nano: int
    seconds: float | None = None
    """Of device, where it is made of time."""


class LedgerTotals(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger has of a period, corrections apart. Nano-dollars and microseconds."""

    calls: int = 0
    by_kind: Mapping[str, int] = {}
    """Nano-dollars by kind of row."""
    gpu_us: Mapping[str, int] = {}
    """Device time by kind of row."""
    cold_us: int = 0
    """Starts that calls waited for."""

    @property
    def cost_nano(self) -> int:
        """Of all rows."""
        return sum(self.by_kind.values())

    def seconds_of(self, bill: Bill) -> float:
        """Of what the bill's seconds are of: workers' whole time, or what ran alone."""
        gpu_us = sum(us for kind, us in self.gpu_us.items() if kind != "idle" or not bill.of_runs)
        return (gpu_us + (0 if bill.of_runs else self.cold_us)) / MICRO


def causes_of(bill: Bill, totals: LedgerTotals, price: Price | None) -> tuple[Cause, ...]:
    """What makes ``bill.cost_nano - totals.cost_nano``; the parts add up to it, and none is 0."""
    difference = bill.cost_nano - totals.cost_nano
    fees = sum(nano for name, nano in bill.parts.items() if name in UNTIMED)
    causes = [Cause("fees", fees)]
    rate = 0 if price is None else second_rate(price)
    if bill.seconds is not None and rate:
        assert price is not None
        causes += _timed(bill, bill.seconds, fees, totals, price, rate)
    explained = sum(cause.nano for cause in causes)
    causes.append(Cause("rest", difference - explained))
    return tuple(cause for cause in causes if cause.nano)


def _timed(
    bill: Bill, billed_s: float, fees: int, totals: LedgerTotals, price: Price, rate: int
) -> list[Cause]:
    at_our_price = round(billed_s * rate)
    uncharged_s = 0.0 if bill.of_runs or "start" in price.bills else totals.cold_us / MICRO
    unseen_s = billed_s - totals.seconds_of(bill)
    return [
        Cause("price", bill.cost_nano - fees - at_our_price),
        Cause("starts", round(uncharged_s * rate), uncharged_s),
        Cause("not_ours" if bill.of_runs else "idle", round(unseen_s * rate), unseen_s),
    ]
