"""The decision: filters with reasons, quotes, and an order that a person can recompute."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.types import Capabilities
from gateway.policy.model import Route
from gateway.policy.sections.price import Price
from gateway.routing.forecast import BackendLoad, RunTime
from gateway.routing.router import Candidate, Decision, RoutingRequest, decide, reason_for

QUESTION = RoutingRequest("chat", False, 400, 100)
RESERVED = Price(per_hour=2_690_000_000)
FLEX = Price(per_second=1_160_000, bills=("start", "run"))
ROUTE = Route(name="default", use=())


def candidate(name: str, **changes: Any) -> Candidate:
    base = Candidate(
        name=name,
        price=RESERVED if name == "home" else FLEX,
        capabilities=Capabilities(),
        max_request=None,
        load=BackendLoad(0, 2, 0, None) if name == "home" else BackendLoad(0, None, 1, None),
        run=RunTime(1.0, 0.1, 9),
        cold_p95=None if name == "home" else 9.0,
        max_run=600.0,
    )
    return msgspec.structs.replace(base, **changes)


def ask(*candidates: Candidate, route: Route = ROUTE, slo: float = 2.0, draw: float = 0.0) -> Any:
    decision = decide(QUESTION, candidates, route, slo, lambda: draw)
    return decision.reason, [quote.backend for quote in decision.quotes]


def test_a_free_slot_of_the_baseline_wins() -> None:
    """It is paid for already."""
    assert ask(candidate("burst"), candidate("home")) == ("RES_FREE", ["home", "burst"])


def test_the_baseline_keeps_a_call_that_waits_within_the_slo() -> None:
    """One second of waiting is within 80 % of two."""
    gateway = candidate("home", load=BackendLoad(2, 2, 0, None))
    assert ask(gateway, candidate("burst")) == ("RES_WAIT_OK", ["home", "burst"])


def test_a_call_spills_when_the_baseline_would_break_the_slo() -> None:
    """Two and a half seconds are too long; a warm worker elsewhere is not."""
    gateway = candidate("home", load=BackendLoad(6, 2, 0, None))
    assert ask(gateway, candidate("burst")) == ("SPILL_WARM", ["burst", "home"])


def test_a_call_spills_to_a_cold_worker_when_even_its_start_is_within_the_slo() -> None:
    """Nine seconds of start are within twelve; a minute in the queue is not."""
    gateway = candidate("home", load=BackendLoad(120, 2, 0, None))
    burst = candidate("burst", load=BackendLoad(0, None, 0, None))
    assert ask(gateway, burst, slo=12.0) == ("SPILL_COLD", ["burst", "home"])


def test_when_nothing_meets_the_slo_the_shortest_delay_is_taken() -> None:
    """A cold start of nine seconds against three seconds in the queue."""
    gateway = candidate("home", load=BackendLoad(6, 2, 0, None))
    burst = candidate("burst", load=BackendLoad(0, None, 0, None))
    assert ask(gateway, burst) == ("LEAST_DELAY", ["home", "burst"])


def loading(seconds: float, **changes: Any) -> Candidate:
    """The baseline, whose memory has not the model."""
    changes.setdefault("load", BackendLoad(0, 2, 0, None, load_s=seconds))
    return candidate("home", **changes)


def test_the_baseline_keeps_a_call_whose_model_it_loads_within_the_slo() -> None:
    """It is paid for already; that it loads is said."""
    decision = decide(QUESTION, [loading(5.0), candidate("burst")], ROUTE, 10.0, lambda: 0.0)
    assert (decision.reason, decision.quotes[0].backend) == ("RES_LOAD", "home")
    delay = decision.quotes[0].delay
    assert (delay.seconds, delay.load_s, delay.cold) == (5.0, 5.0, True)


def test_a_call_spills_when_the_load_of_its_model_would_break_the_slo() -> None:
    assert ask(loading(5.0), candidate("burst")) == ("SPILL_WARM", ["burst", "home"])


def test_a_load_is_weighed_against_a_cold_start_where_both_are_too_long() -> None:
    cold = candidate("burst", load=BackendLoad(0, None, 0, None))
    assert ask(loading(5.0), cold) == ("LEAST_DELAY", ["home", "burst"])
    assert ask(loading(12.0), cold) == ("LEAST_DELAY", ["burst", "home"])


def test_a_baseline_that_has_the_model_goes_before_one_that_must_load_it() -> None:
    other = candidate("other", price=RESERVED, load=BackendLoad(0, 2, 0, None), cold_p95=None)
    assert ask(loading(1.0), other) == ("RES_FREE", ["other", "home"])


def test_a_load_counts_into_the_price_where_a_start_is_billed() -> None:
    """Three seconds of load and one of running; the two of waiting cost nothing."""
    line = BackendLoad(4, 2, 0, None, load_s=3.0)
    for price, seconds in ((FLEX, 4), (Price(per_second=1_160_000), 1)):
        decision = decide(QUESTION, [loading(0, price=price, load=line)], ROUTE, 9, lambda: 0.0)
        assert decision.quotes[0].delay.seconds == 4.5
        assert decision.quotes[0].estimate.charge == 1_160_000 * seconds


def test_the_wait_of_a_worker_after_a_call_is_in_the_price_where_it_is_billed() -> None:
    """And in no charge: the caller pays for his run."""
    tail = BackendLoad(0, None, 1, None, tail_s=5.0)
    billed = Price(per_second=1_160_000, bills=("run", "idle"))
    for price, seconds in ((billed, 6), (FLEX, 1), (RESERVED, 0)):
        quoted = decide(QUESTION, [candidate("burst", price=price, load=tail)], ROUTE, 9, float)
        assert quoted.quotes[0].estimate.marginal == 1_160_000 * seconds
    assert quoted.quotes[0].estimate.charge == pytest.approx(2_690_000_000 / 3600, abs=1)


def test_of_two_platforms_the_one_that_goes_to_sleep_sooner_is_taken() -> None:
    billed = Price(per_second=1_160_000, bills=("run", "idle"))
    long = candidate("long", price=billed, load=BackendLoad(0, None, 1, None, tail_s=300.0))
    short = candidate("short", price=billed, load=BackendLoad(0, None, 1, None, tail_s=5.0))
    assert ask(long, short) == ("WARM", ["short", "long"])


def test_the_line_before_a_start_costs_nothing_either() -> None:
    line = BackendLoad(2, 0, 0, None, ready_in_s=3.0)
    quoted = decide(QUESTION, [candidate("home", price=FLEX, load=line)], ROUTE, 9, lambda: 0.0)
    assert quoted.quotes[0].delay.seconds == 5.0
    assert quoted.quotes[0].estimate.charge == 1_160_000 * 4


def test_without_a_baseline_the_reason_says_warm_or_cold() -> None:
    """Nothing spills where nothing is reserved."""
    cold = candidate("burst", load=BackendLoad(0, None, 0, None))
    assert ask(candidate("burst"))[0] == "WARM"
    assert ask(cold, slo=60.0)[0] == "COLD"


def test_of_two_platforms_that_meet_the_slo_the_cheaper_is_taken() -> None:
    """Price first, then delay."""
    dear = candidate("dear", price=Price(per_second=2_000_000))
    cheap = candidate("cheap", price=Price(per_second=1_000_000))
    assert ask(dear, cheap) == ("WARM", ["cheap", "dear"])


def test_a_cold_start_counts_into_the_price_where_the_platform_bills_it() -> None:
    """A warm dear worker beats a cold cheap one whose start is billed."""
    cold = candidate("cold", price=FLEX, load=BackendLoad(0, None, 0, None))
    warm = candidate("warm", price=Price(per_second=5_000_000))
    assert ask(cold, warm, slo=60.0)[1] == ["warm", "cold"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"blocked": "drained"}, "drained"),
        ({"blocked": "not_ready"}, "not_ready"),
        ({"blocked": "cooling_down"}, "cooling_down"),
        ({"blocked": "load_failed"}, "load_failed"),
        ({"capabilities": Capabilities(tasks=frozenset(["embeddings"]))}, "task_unsupported"),
        ({"max_request": 399}, "too_large"),
        ({"load": BackendLoad(12, 2, 0, None), "max_queue": 10}, "queue_full"),
    ],
)
def test_a_backend_that_cannot_take_the_call_is_refused_with_its_reason(
    change: dict[str, Any], code: str
) -> None:
    """The reason is kept, so that a person can read why."""
    decision = decide(QUESTION, [candidate("home", **change)], ROUTE, 2.0, lambda: 0.0)
    assert decision == Decision((), (("home", code),), "NONE", "default", 2.0)  # type: ignore[arg-type]


def test_a_backend_that_cannot_stream_is_refused_only_a_stream() -> None:
    """The same backend answers a whole call."""
    whole_only = candidate("home", capabilities=Capabilities(streaming=False))
    streaming = RoutingRequest("chat", True, 10, 10)
    refused = decide(streaming, [whole_only], ROUTE, 2.0, lambda: 0.0).refused
    assert refused == (("home", "no_streaming"),)
    assert ask(whole_only)[1] == ["home"]


def test_a_price_ceiling_leaves_the_reserved_and_strikes_the_dear() -> None:
    """The baseline adds nothing to the bill, so no ceiling concerns it."""
    route = Route(name="frugal", use=(), max_price=1_000_000)
    assert ask(candidate("home"), candidate("burst"), route=route) == ("RES_FREE", ["home"])


def test_orders_are_as_the_route_says() -> None:
    """Fastest by delay, listed as written."""
    gateway = candidate("home", load=BackendLoad(2, 2, 0, None))
    burst = candidate("burst")
    fastest = Route(name="gold", use=(), order="fastest")
    listed = Route(name="plain", use=(), order="listed")
    assert ask(gateway, burst, route=fastest) == ("FASTEST", ["burst", "home"])
    assert ask(gateway, burst, route=listed) == ("LISTED", ["home", "burst"])


def test_weights_share_the_calls_out() -> None:
    """A draw of 0.7 falls into the second of 60 and 40."""
    route = Route(name="split", use=(), order="weighted", weights={"home": 60, "burst": 40})
    both = candidate("home"), candidate("burst")
    assert ask(*both, route=route, draw=0.59) == ("WEIGHTED", ["home", "burst"])
    assert ask(*both, route=route, draw=0.61) == ("WEIGHTED", ["burst", "home"])


def test_the_hold_covers_a_long_run_and_no_more_than_the_longest() -> None:
    """Mean and four deviations, cut at the longest run allowed."""
    decision = decide(QUESTION, [candidate("burst", max_run=1.2)], ROUTE, 2.0, lambda: 0.0)
    assert decision.quotes[0].hold_s == 1.2
    assert decision.quotes[0].estimate.hold == round(1_160_000 * 1.2)


loads = st.builds(
    BackendLoad,
    in_flight=st.integers(0, 50),
    slots=st.none() | st.integers(1, 8),
    warm_idle=st.integers(0, 3),
    starting_s=st.none() | st.floats(0, 30),
)


@given(gateway=loads, burst=loads, slo=st.floats(0.1, 60))
def test_a_decision_never_takes_a_late_backend_while_another_is_in_time(
    gateway: BackendLoad, burst: BackendLoad, slo: float
) -> None:
    """Whatever the loads, the first choice meets the SLO if any candidate does; none is lost."""
    candidates = [candidate("home", load=gateway), candidate("burst", load=burst)]
    decision = decide(QUESTION, candidates, ROUTE, slo, lambda: 0.0)
    in_time = [q for q in decision.quotes if q.delay.seconds <= slo * 0.8]
    assert len(decision.quotes) == 2
    if in_time:
        assert decision.quotes[0] in in_time
        assert decision.quotes[0].estimate.marginal == min(q.estimate.marginal for q in in_time)
    else:
        assert decision.reason == "LEAST_DELAY"


@given(
    each=st.lists(st.tuples(loads, st.booleans(), st.booleans()), min_size=1, max_size=4),
    slo=st.floats(0.1, 60),
    order=st.sampled_from(["cheapest", "fastest", "listed"]),
)
def test_the_reason_of_the_next_is_what_it_would_be_without_those_before_it(
    each: list[tuple[BackendLoad, bool, bool]], slo: float, order: Any
) -> None:
    """Whoever is struck off; that the reserved ones were looked at first stays true."""
    route = Route(name="all", use=(), order=order)
    candidates = [
        candidate(
            f"b{number}",
            load=load,
            price=RESERVED if reserved else FLEX,
            blocked="not_ready" if last else "",
            last_resort=last,
        )
        for number, (load, reserved, last) in enumerate(each)
    ]
    whole = decide(QUESTION, candidates, route, slo, lambda: 0.0)
    spills = {"WARM": "SPILL_WARM", "COLD": "SPILL_COLD"}
    any_reserved = any(reserved for _, reserved, _ in each)
    for place, quote in enumerate(whole.quotes):
        gone = {before.backend for before in whole.quotes[:place]}
        left = [one for one in candidates if one.name not in gone]
        alone = decide(QUESTION, left, route, slo, lambda: 0.0).reason
        expected = spills.get(alone, alone) if any_reserved else alone
        assert reason_for(whole, quote) == expected


# --- regions ----------------------------------------------------------------------------------


def at(name: str, region: str, way_s: float = 0.0, price: Price | None = FLEX) -> Candidate:
    """A warm backend in a region."""
    load = BackendLoad(0, None, 1, None, round_trip_s=way_s)
    return candidate(name, region=region, load=load, price=price)


def told(region: str, *candidates: Candidate, route: Route = ROUTE, slo: float = 2.0) -> Any:
    question = msgspec.structs.replace(QUESTION, region=region)
    decision = decide(question, candidates, route, slo, lambda: 0.0)
    return decision.reason, [quote.backend for quote in decision.quotes]


DEAR = Price(per_second=9_160_000, bills=("start", "run"))


def test_what_runs_where_the_caller_is_goes_first() -> None:
    """At whatever price, below the route's; where it went first anyhow, its reason stays."""
    far, near = at("far", "us"), at("near", "eu", price=DEAR)
    assert told("eu", far, near) == ("REGION", ["near", "far"])
    assert told("us", far, near) == ("WARM", ["far", "near"])
    assert told("", far, near) == ("WARM", ["far", "near"])
    assert told("mars", far, near) == ("WARM", ["far", "near"])


def test_a_near_one_that_breaks_the_slo_does_not_go_first() -> None:
    near = candidate("near", region="eu", load=BackendLoad(0, None, 0, None))
    assert told("eu", at("far", "us"), near) == ("WARM", ["far", "near"])


@pytest.mark.parametrize("order", ["listed", "weighted"])
def test_a_route_that_says_where_calls_go_asks_for_no_region(order: Any) -> None:
    route = Route(name="r", use=(), order=order, weights={"far": 1.0})
    assert told("eu", at("far", "us"), at("near", "eu"), route=route)[1] == ["far", "near"]


def test_the_way_there_and_back_is_part_of_the_delay_and_no_wait() -> None:
    """Of two that are alike the nearer is asked, and a free slot stays one."""
    far, near = at("far", "us", 0.14), at("near", "eu", 0.02)
    assert ask(far, near) == ("WARM", ["near", "far"])
    home = candidate("home", load=BackendLoad(0, 2, 0, None, round_trip_s=0.14))
    decision = decide(QUESTION, [home], ROUTE, 2.0, lambda: 0.0)
    assert (decision.reason, decision.quotes[0].delay.seconds) == ("RES_FREE", 0.14)


def test_a_way_that_is_too_long_breaks_the_slo() -> None:
    home = candidate("home", load=BackendLoad(0, 2, 0, None, round_trip_s=0.14))
    assert ask(home, candidate("burst"), slo=0.15) == ("SPILL_WARM", ["burst", "home"])
