"""What a platform is told to keep, and that there is a reason for each of its workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.minimum import Minimum, PlanBounds, minimum_of, together
from gateway.planning.planner import Capacity, Seen
from gateway.planning.worth import Worth


def capacity(hold: int, starting: int = 0) -> Capacity:
    return Capacity(hold, starting, 0, Worth(60.0, 1))


@pytest.mark.parametrize(
    ("hold", "starting", "ready", "at_home", "waiting", "told"),
    [
        pytest.param(0, 0, 4, 2, 0, Minimum(0, "none", 0), id="nothing is needed"),
        pytest.param(5, 0, 4, 2, 0, Minimum(2, "needed_soon", 2), id="those that are up stay"),
        pytest.param(3, 0, 4, 2, 0, Minimum(1, "needed_soon", 1), id="the reserved ones are there"),
        pytest.param(3, 2, 4, 2, 0, Minimum(4, "start_ahead", 1), id="more beside those there"),
        pytest.param(3, 2, 4, 2, 3, Minimum(4, "call_waits", 1), id="more for calls that wait"),
        pytest.param(2, 0, 4, 4, 0, Minimum(0, "none", 0), id="all of it is reserved"),
    ],
)
def test_a_platform_is_told_what_the_reserved_capacity_lacks(
    hold: int, starting: int, ready: int, at_home: int, waiting: int, told: Minimum
) -> None:
    seen = Seen(4, 0, waiting, ready)
    assert minimum_of(capacity(hold, starting), seen, at_home) == told


def test_the_policy_bounds_what_is_kept() -> None:
    few, many = Minimum(1, "call_waits", 0), Minimum(4, "needed_soon", 4)
    bounds = PlanBounds(2, 5)
    assert together([few], bounds) == Minimum(2, "floor", 0)
    assert together([many], bounds) == many
    assert together([few, many], bounds) == Minimum(5, "needed_soon", 4)
    assert together([many, many], bounds) == Minimum(5, "ceiling", 8)
    assert together([], PlanBounds(0, 5)) == Minimum(0, "none", 0)


def test_a_worker_that_runs_several_calls_counts_for_as_many() -> None:
    told = minimum_of(capacity(5, 3), Seen(8, 0, 3, 4), 0, per_worker=4)
    assert told.workers == 2


def test_a_worker_that_was_held_a_moment_ago_lingers() -> None:
    """As many as are still up."""
    seen = Seen(0, 0, 0, 3)
    assert minimum_of(capacity(0), seen, 1, lingering=5) == Minimum(2, "lingers", 0)


@given(
    hold=st.integers(0, 30),
    starting=st.integers(0, 30),
    ready=st.integers(0, 30),
    at_home=st.integers(0, 30),
    waiting=st.integers(0, 30),
    lingering=st.integers(0, 30),
    floor=st.integers(0, 5),
    more=st.integers(0, 20),
    per_worker=st.integers(1, 8),
)
def test_a_held_worker_always_has_a_reason(
    hold: int,
    starting: int,
    ready: int,
    at_home: int,
    waiting: int,
    lingering: int,
    floor: int,
    more: int,
    per_worker: int,
) -> None:
    """And none is kept beyond what the policy allows; what is said to be needed, was."""
    bounds = PlanBounds(floor, floor + more)
    seen = Seen(waiting, 0, waiting, at_home + ready)
    found = minimum_of(
        capacity(hold, starting), seen, at_home, per_worker=per_worker, lingering=lingering
    )
    told = together([found], bounds)
    assert bounds.floor <= told.workers <= bounds.ceiling
    assert told.workers == 0 or told.because != "none"
    if told.because in ("call_waits", "start_ahead"):
        assert starting > 0
        assert (told.workers - 2) * per_worker < ready + starting
    if told.because == "needed_soon":
        assert hold - at_home > (told.workers - 1) * per_worker
    if told.because == "call_waits":
        assert waiting > 0
    if told.because == "lingers":
        assert told.workers <= lingering
