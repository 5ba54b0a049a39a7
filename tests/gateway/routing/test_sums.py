"""Quotes taken apart: their parts are the whole, and their delay lies within its spread."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Capabilities
from gateway.policy.model import Route
from gateway.policy.sections.price import Price
from gateway.routing.forecast import BackendLoad, RunTime
from gateway.routing.router import Candidate, Quote, RoutingRequest, decide
from gateway.routing.sums import PriceParts, delay_spread, price_parts, soonest_s

QUESTION = RoutingRequest("chat", False, 400, 100)
ALL_BILLED = Price(per_second=1_000_000, per_call=5_000, bills=("start", "run", "idle"))


def quote_of(load: BackendLoad, run: RunTime, price: Price, cold: bool) -> Quote:
    candidate = Candidate(
        "burst", price, Capabilities(), None, load, run, 9.0 if cold else None, 600.0,
        cold_p50=5.0 if cold else None,
    )  # fmt: skip
    decision = decide(QUESTION, [candidate], Route(name="all", use=()), 1e9, float)
    return decision.quotes[0]


def test_a_cold_start_is_told_apart_from_the_run_and_the_wait_after_it() -> None:
    load = BackendLoad(0, None, 0, None, tail_s=4.0)
    quote = quote_of(load, RunTime(2.0, 0.5, 9), ALL_BILLED, cold=True)
    assert price_parts(quote) == PriceParts(2_000_000, 9_000_000, 4_000_000, 5_000)


def test_what_is_reserved_adds_nothing() -> None:
    load = BackendLoad(0, 1, 0, None)
    quote = quote_of(load, RunTime(2.0, 0.5, 9), Price(per_hour=3_600_000_000), cold=False)
    assert price_parts(quote).total == 0


_loads = st.builds(
    BackendLoad,
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(0, 10)),
    st.integers(0, 3),
    st.one_of(st.none(), st.floats(0, 20)),
    st.sampled_from((0.0, 3.0)),
    st.sampled_from((0.0, 7.0)),
    st.sampled_from((0.0, 4.0)),
)
_runs = st.builds(RunTime, st.floats(0.001, 60), st.floats(0, 30), st.just(9))


@given(_loads, _runs, st.booleans())
def test_a_person_can_do_the_sum_again(load: BackendLoad, run: RunTime, cold: bool) -> None:
    """From what was seen alone."""
    quote = quote_of(load, run, ALL_BILLED, cold)
    assert price_parts(quote).total == quote.estimate.marginal
    seen = quote.seen
    assert seen is not None
    spread = delay_spread(seen.load, seen.run, seen.cold_p50, seen.cold_p95)
    assert spread.low <= quote.delay.seconds + 1e-9
    assert quote.delay.seconds <= spread.high + 1e-9
    exact = delay_spread(seen.load, msgspec.structs.replace(run, deviation=0.0), seen.cold_p95, 9.0)
    if cold:
        assert exact.low == pytest.approx(quote.delay.seconds)


AT_WORK = BackendLoad(4, 4, 0, None)
"""Every slot is taken, and nobody waits."""
LINE = BackendLoad(12, 4, 0, None)
"""Eight wait."""


@pytest.mark.parametrize(
    ("load", "run", "cold", "soonest"),
    [
        pytest.param(AT_WORK, RunTime(60.0, 0.0, 9), False, 0.0, id="any may end now"),
        pytest.param(LINE, RunTime(60.0, 0.0, 9), False, 120.0, id="two rounds are before it"),
        pytest.param(LINE, RunTime.prior(60.0), False, 0.0, id="nothing is known of runs"),
        pytest.param(BackendLoad(0, 4, 0, None), RunTime(60.0, 0.0, 9), True, 25 / 9, id="a start"),
        pytest.param(
            BackendLoad(0, 1, 0, None, 3.0), RunTime(60.0, 0.0, 9), False, 3.0, id="a start of ours"
        ),
        pytest.param(
            BackendLoad(0, 0, 0, None, 3.0, start_is_guess=True),
            RunTime(60.0, 0.0, 9),
            False,
            0.0,
            id="a start of ours that nobody has seen",
        ),
        pytest.param(
            BackendLoad(0, 4, 0, None, round_trip_s=5.0),
            RunTime(60.0, 0.0, 9),
            False,
            0.0,
            id="the way is no wait",
        ),
        pytest.param(
            BackendLoad(0, 1, 0, None, load_s=7.0), RunTime(1.0, 0.0, 9), False, 7.0, id="a load"
        ),
    ],
)
def test_a_call_waits_at_the_least_for_what_is_sure(
    load: BackendLoad, run: RunTime, cold: bool, soonest: float
) -> None:
    seen = quote_of(load, run, ALL_BILLED, cold).seen
    assert seen is not None
    assert soonest_s(seen) == pytest.approx(soonest)


@given(_loads, _runs, st.booleans())
def test_what_is_sure_is_never_more_than_what_is_probable(
    load: BackendLoad, run: RunTime, cold: bool
) -> None:
    quote = quote_of(load, run, ALL_BILLED, cold)
    assert quote.seen is not None
    assert 0.0 <= soonest_s(quote.seen) <= quote.delay.seconds + 1e-9
