"""A quote taken apart, so that a person can do the sum again: how far off its delay may be, and
what its price is made of. Pure."""

from __future__ import annotations

import msgspec

from gateway.money.pricing import idle_charge, microseconds
from gateway.routing.forecast import BackendLoad, RunTime, cold_delay, warm_delay
from gateway.routing.router import Quote
from gateway.types import MICRO


class Spread(msgspec.Struct, frozen=True):
    """Seconds of delay between which most calls should be."""

    low: float
    high: float


def delay_spread(
    load: BackendLoad, run: RunTime, cold_p50: float | None, cold_p95: float | None
) -> Spread:
    """With calls that run as short as is usual and starts as half of them are; and with calls as
    few exceed, and starts as one in twenty does."""
    short = max(0.0, run.mean - run.deviation)
    if cold_p50 is None or cold_p95 is None:
        return _spread(warm_delay(load, short).seconds, warm_delay(load, run.high).seconds, load)
    low, high = cold_delay(load, short, cold_p50), cold_delay(load, run.high, cold_p95)
    return _spread(low.seconds, high.seconds, load)


def _spread(low: float, high: float, load: BackendLoad) -> Spread:
    return Spread(low + load.load_s, high + load.load_s)


class PriceParts(msgspec.Struct, frozen=True):
    """What choosing a backend adds to the bill, in nano-dollars; rounding is in the last."""

    run: int
    start: int
    wait_after: int
    """Of its worker, for calls that may come."""
    rest: int
    """Fees, tokens, images, sound, and the step to which time is rounded up."""

    @property
    def total(self) -> int:
        return self.run + self.start + self.wait_after + self.rest


def price_parts(quote: Quote) -> PriceParts:
    """All nothing for a reserved backend, and where nobody charges."""
    marginal, seen = quote.estimate.marginal, quote.seen
    price = None if seen is None else seen.price
    if seen is None or price is None or price.reserved:
        return PriceParts(0, 0, 0, marginal)
    rate = price.per_second or 0
    run = round(rate * microseconds(seen.run.mean) / MICRO)
    billed = quote.delay.cold_s if "start" in price.bills else 0.0
    start = round(rate * microseconds(billed) / MICRO)
    wait = idle_charge(price, microseconds(seen.load.tail_s))
    return PriceParts(run, start, wait, marginal - run - start - wait)
