"""How long a call would wait: learned numbers and pure predictions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.forecast import (
    NO_DELAY,
    BackendLoad,
    ColdTime,
    Delay,
    RunTime,
    WarmSet,
    cold_delay,
    warm_delay,
    with_load,
)


@pytest.mark.parametrize(
    ("in_flight", "slots", "seconds"),
    [(0, 2, 0.0), (1, 2, 0.0), (2, 2, 0.75), (3, 2, 1.5), (4, 2, 2.25), (99, None, 0.0)],
)
def test_a_line_flows_off_through_all_slots_of_a_warm_backend(
    in_flight: int, slots: int | None, seconds: float
) -> None:
    """Nothing while a slot is free, then a run shared by the slots for each call ahead."""
    load = BackendLoad(in_flight, slots, 0, None)
    assert warm_delay(load, 1.5) == Delay(seconds)


def test_a_call_waits_for_the_start_of_a_worker_and_then_for_those_before_it() -> None:
    """Which counts as a cold start."""
    assert warm_delay(BackendLoad(2, 0, 0, None, 4.0), 1.5) == Delay(7.0, 4.0)


def test_a_load_adds_to_the_line_and_counts_as_cold_while_the_line_does_not() -> None:
    """Those before it now are before it when its model has come, or others are."""
    delay = with_load(warm_delay(BackendLoad(3, 2, 0, None), 1.5), 4.0)
    assert delay == Delay(5.5, 4.0, 4.0)
    assert delay.cold
    assert not warm_delay(BackendLoad(3, 2, 0, None), 1.5).cold


def test_a_load_follows_the_start_of_a_worker() -> None:
    """Both are cold seconds, and the load is told apart."""
    assert with_load(warm_delay(BackendLoad(0, 0, 0, None, 4.0), 1.5), 3.0) == Delay(7.0, 7.0, 3.0)
    assert with_load(cold_delay(BackendLoad(0, None, 0, None), 1.0, 9.0), 3.0) == Delay(
        12.0, 12.0, 3.0
    )


def test_a_warm_worker_means_no_delay() -> None:
    """However slow the cold start would be."""
    assert cold_delay(BackendLoad(3, None, 1, None), 1.0, 60.0) is NO_DELAY


def test_a_sleeping_backend_costs_a_cold_start() -> None:
    """Nothing runs there and nothing is warm."""
    assert cold_delay(BackendLoad(0, None, 0, None), 1.0, 9.0) == Delay(9.0, 9.0)


def test_a_call_rather_waits_behind_a_short_one_than_for_a_fresh_worker() -> None:
    """One second behind the running call beats nine for a start."""
    assert cold_delay(BackendLoad(1, None, 0, None), 1.0, 9.0) == Delay(1.0)


def test_a_worker_that_is_starting_is_joined() -> None:
    """Six of nine seconds have passed: three are left, then the call ahead runs."""
    assert cold_delay(BackendLoad(1, 1, 0, 6.0), 0.5, 9.0) == Delay(3.5)


def test_a_full_backend_cannot_start_another_worker() -> None:
    """All slots are taken: the call waits for those before it, however long."""
    assert cold_delay(BackendLoad(4, 2, 0, None), 10.0, 3.0) == Delay(15.0)


@given(
    load=st.builds(
        BackendLoad,
        st.integers(0, 9),
        st.none() | st.integers(0, 9),
        st.integers(0, 1),
        st.none() | st.floats(0.0, 20.0),
    ),
    run_s=st.floats(0.01, 60.0),
)
def test_the_delay_is_the_sooner_of_a_start_and_the_place_in_line(
    load: BackendLoad, run_s: float
) -> None:
    """In whatever state a backend is that scales from zero."""
    start = math.inf if load.slots is not None and load.in_flight >= load.slots else 9.0
    workers = min(load.in_flight, load.slots or load.in_flight)
    joined = 0.0 if load.starting_s is None else max(0.0, 9.0 - load.starting_s)
    line = joined + (load.in_flight - workers + 1) * run_s / workers if workers else math.inf
    expected = 0.0 if load.warm_idle else min(start, line)
    assert cold_delay(load, run_s, 9.0).seconds == pytest.approx(expected)


def test_run_time_follows_what_is_observed() -> None:
    """The first observation replaces the prior; later ones move the mean."""
    learned = RunTime.prior(1.0).observe(0.2)
    assert learned.mean == pytest.approx(0.2)
    for _ in range(60):
        learned = learned.observe(0.4)
    assert learned.mean == pytest.approx(0.4, rel=0.01)
    assert learned.high < 0.8


@given(seconds=st.lists(st.floats(0.001, 1000), min_size=1, max_size=50))
def test_a_high_run_time_is_never_below_the_mean(seconds: list[float]) -> None:
    """What is held for covers at least what is expected."""
    learned = RunTime.prior(1.0)
    for value in seconds:
        learned = learned.observe(value)
    assert learned.high >= learned.mean
    assert min(seconds) * 0.999 <= learned.mean <= max(seconds) * 1.001


def test_cold_starts_are_learned_from_the_prior_on() -> None:
    """The prior's quantiles hold at first, what is seen takes over."""
    cold = ColdTime(5.0, 15.0)
    assert (cold.p50, cold.p95) == (5.0, 15.0)
    for _ in range(60):
        cold.observe(2.0)
    assert cold.p50 == pytest.approx(2.0)
    assert cold.p95 < 12.0


def test_a_platform_that_became_slow_is_noticed() -> None:
    """Old starts are forgotten: sixty slow ones say what today is like."""
    cold = ColdTime(1.0, 2.0)
    for _ in range(100):
        cold.observe(30.0)
    assert cold.p95 == pytest.approx(30.0)


def test_workers_go_cold_one_by_one() -> None:
    """Each is warm for the idle time-out after its own last call."""
    warm = WarmSet(idle_timeout=10.0)
    warm.give(0.0)
    warm.give(4.0)
    assert [warm.idle(now) for now in (5.0, 9.9, 10.0, 13.9, 14.0)] == [2, 2, 1, 1, 0]
    assert not warm.take(14.0)


def test_a_call_adds_the_wait_of_its_worker_after_it() -> None:
    """The longest before any was seen; of a warm worker what it would not have waited anyhow."""
    warm = WarmSet(idle_timeout=10.0)
    assert warm.tail_s(0.0) == 10.0
    warm.give(0.0)
    assert warm.tail_s(4.0) == 4.0
    for start in range(100):
        warm.take(start + 1.0)
        warm.give(start + 1.0)
    assert warm.tail_s(101.0) == 0.0
    assert warm.idle(200.0) == 0
    assert warm.tail_s(200.0) == pytest.approx(1.9, abs=0.01)


def test_workers_that_are_gone_have_waited_until_then_at_the_longest() -> None:
    warm = WarmSet(idle_timeout=10.0)
    warm.give(0.0, "ada")
    warm.give(8.0, "bob")
    warm.clear(12.0)
    assert warm.idle(12.0) == 0
    assert warm.take_waits() == {"ada": 10.0, "bob": 4.0}


def test_the_warmest_worker_is_taken_first() -> None:
    """What is left goes cold soonest."""
    warm = WarmSet(idle_timeout=10.0)
    warm.give(0.0)
    warm.give(4.0)
    assert warm.take(5.0)
    assert warm.idle(10.0) == 0
