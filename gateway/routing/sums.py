"""A quote taken apart, so that a person can do the sum again: how far off its delay may be, and
what its price is made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.money.pricing import idle_charge, microseconds
from gateway.routing.forecast import BackendLoad, RunTime, cold_delay, warm_delay
from gateway.routing.router import Candidate, Quote
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
    more = load.load_s + load.round_trip_s
    return Spread(low + more, high + more)


def may_begin_within(quotes: Sequence[Quote], seconds: float) -> bool:
    """Whether one of the backends may run the call so soon, with luck."""
    return any(quote.seen is None or soonest_s(quote.seen) <= seconds for quote in quotes)


def soonest_s(seen: Candidate) -> float:
    """Seconds that a call waits there at the least: those at work may end at any instant, those
    before it run as long as runs were seen to, and a start is as quick as one in twenty; one of
    which only a guess is known may be over at any instant. The way to the backend is no wait."""
    load, run = seen.load, seen.run
    run_s = run.mean if run.seen else 0.0
    if seen.cold_p95 is None:
        delay = warm_delay(load, run_s)
    else:
        delay = cold_delay(load, run_s, _quick_start_s(seen.cold_p50, seen.cold_p95))
    at_work = min(load.in_flight, load.slots or load.in_flight)
    ends_s = run_s / at_work if at_work and not delay.cold else 0.0
    guessed_s = load.ready_in_s if load.start_is_guess else 0.0
    return load.load_s + max(0.0, delay.seconds - guessed_s - ends_s)


def _quick_start_s(median: float | None, p95: float) -> float:
    """The 5th percentile of starts. Of a log-normal it lies as far below the median as the 95th
    above, by their ratio."""
    if median is None:
        return p95
    return median * median / p95 if p95 > 0 else 0.0


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
