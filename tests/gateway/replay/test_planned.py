"""A replay by the planner: every call runs once, seconds count once, a seed gives one result."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.replay.fleet import Fleet
from gateway.replay.planned import Parameters, planned
from gateway.replay.platforms import PLATFORMS, RESERVED_PER_HOUR, Platform
from gateway.replay.traffic import Arrival, Traffic, split

MODAL = PLATFORMS["modal"]
AT_ONCE = Platform(name="at once", per_s=0.001, starts=(1.0,), default_idle_s=5.0, idle_s=0.0)


def made_up(seed: int = 1, hours: float = 3.0) -> Traffic:
    """Quiet, with a burst now and then."""
    draw = random.Random(seed)
    arrivals, now, end = [], 0.0, hours * 3600
    while now < end:
        busy = (now // 600) % 3 == 0
        now += draw.expovariate(1.0 if busy else 0.05)
        arrivals.append(Arrival(now, 0.5 + draw.expovariate(0.3)))
    return split("made up", arrivals, slo_s=2.0)


def test_a_call_alone_pays_its_start_its_run_and_no_more() -> None:
    calls = [Arrival(10.0, 5.0)]
    alone = Traffic(name="own", arrivals=calls, slo_s=2.0, judged_from=0.0, judged_until=70.0)
    found = planned(alone, AT_ONCE, Parameters(late_s=0.001))
    assert (found.calls, found.late, found.cold, found.reserved_usd) == (1, 0, 1, 0.0)
    # The start takes a second; the worker is let go at a look after the end of its call.
    assert found.serverless_usd == pytest.approx((1.0 + 5.0 + 0.5) * 0.001, abs=0.51e-3)


def test_every_call_runs_whatever_comes() -> None:
    whole = made_up(seed=3)
    found = planned(whole, MODAL)
    assert found.calls == len(whole.judged)
    work_s = sum(one.runs_s for one in whole.judged)
    assert found.reserved_gpus + found.serverless_gpus > work_s / whole.judged_s
    assert found.slo_attainment > 0.96


def test_the_same_seed_gives_the_same_result_and_another_one_a_like_one() -> None:
    whole = made_up()
    first, again, other = (planned(whole, MODAL, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert other.usd == pytest.approx(first.usd, rel=0.1)


def test_steady_load_is_reserved() -> None:
    steady = split("steady", [Arrival(float(at), 2.9) for at in range(4 * 3600)], slo_s=2.0)
    later = msgspec.structs.replace(steady, judged_from=2 * 3600.0)
    found = planned(later, MODAL)
    # Three calls are always at work: three workers, which pay, and hardly any other.
    three = 3 * RESERVED_PER_HOUR / 3600 * later.judged_s
    assert found.reserved_usd == pytest.approx(three, rel=0.34)
    assert found.serverless_usd < 0.05 * found.reserved_usd
    assert found.late == 0


def test_a_careful_platform_costs_no_less() -> None:
    whole = made_up()
    assert planned(whole, MODAL.careful()).usd > 0.98 * planned(whole, MODAL).usd


def test_a_course_has_the_whole_cost_and_every_late_call() -> None:
    whole = msgspec.structs.replace(made_up(), judged_from=0.0)
    found = planned(whole, MODAL)
    assert found.course is not None
    assert sum(found.course.cost) == pytest.approx(found.usd, rel=1e-6)
    assert sum(found.course.late) == found.late
    assert sum(found.course.cold) == found.cold


FEW = st.lists(
    st.tuples(st.floats(0, 2000, allow_nan=False), st.floats(0.01, 90, allow_nan=False)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=50, deadline=None)
@given(FEW, st.sampled_from(sorted(PLATFORMS)), st.booleans())
def test_no_call_is_lost_and_none_has_its_worker_before_it_comes(
    calls: list[tuple[float, float]], name: str, is_careful: bool
) -> None:
    arrivals = sorted((Arrival(at, runs_s) for at, runs_s in calls), key=lambda one: one.at)
    whole = Traffic(name="own", arrivals=arrivals, slo_s=2.0, judged_from=0.0, judged_until=4000.0)
    where = PLATFORMS[name].careful() if is_careful else PLATFORMS[name]
    found = planned(whole, where)
    assert found.calls == len(calls)
    assert min(found.waits) >= 0
    assert found.late <= found.calls


def test_a_reserved_worker_is_paid_for_until_its_call_ends() -> None:
    fleet = Fleet(MODAL, seed=1)
    fleet.reserve(0.0, 2)
    assert fleet.run(7, 0.0, 30.0)
    fleet.reserve(1.0, 0)
    assert (fleet.reserved, fleet.rented, fleet.has_free) == (1, 1, False)
    assert fleet.advance(30.0) == 7
    assert (fleet.reserved, fleet.rented) == (0, 0)


def test_a_rented_machine_is_paid_for_while_it_starts() -> None:
    fleet = Fleet(MODAL.careful(), seed=1)
    fleet.reserve(0.0, 2)
    assert (fleet.rented, fleet.reserved) == (2, 0)
    fleet.reserve(60.0, 1)
    assert (fleet.rented, fleet.next_event()) == (1, 120.0)
    assert fleet.advance(120.0) is None
    assert fleet.has_free
