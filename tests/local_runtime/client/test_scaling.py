"""How many workers the calls need, and when that is believed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from local_runtime.client.scaling import Demand, ScalingBounds, Trend, plan

BOUNDS = ScalingBounds(least=1, most=8, grow_after_s=1.0, shrink_after_s=60.0)


def after(trend: Trend, *looks: tuple[float, int], slots: int = 4) -> Trend:
    """The trend after looks at so many calls, each at its instant."""
    for now, calls in looks:
        trend = plan(trend, Demand(calls=calls, slots=slots), BOUNDS, now)
    return trend


def test_more_calls_than_slots_for_long_enough_start_what_they_need_at_once() -> None:
    assert after(Trend(workers=1), (0.0, 17), (0.9, 17)).workers == 1
    assert after(Trend(workers=1), (0.0, 17), (1.0, 17)).workers == 5


def test_a_peak_that_passes_starts_nothing() -> None:
    assert after(Trend(workers=1), (0.0, 17), (0.5, 3), (1.0, 17), (1.9, 17)).workers == 1


def test_workers_are_let_go_down_to_the_most_that_was_needed_lately() -> None:
    looks = [(0.0, 1), (30.0, 11), (31.0, 0), (59.9, 0)]
    assert after(Trend(workers=6), *looks).workers == 6
    assert after(Trend(workers=6), *looks, (60.0, 0)).workers == 3
    assert after(Trend(workers=6), *looks, (60.0, 0), (61.0, 0), (121.0, 0)).workers == 1


def test_a_load_that_fits_exactly_puts_off_the_end_of_any_worker() -> None:
    assert after(Trend(workers=2), (0.0, 1), (59.0, 8), (61.0, 1), (120.0, 1)).workers == 2


def test_nothing_is_known_of_the_need_before_a_worker_has_said_what_it_can_do() -> None:
    assert after(Trend(workers=2), (0.0, 500), (100.0, 500), slots=0).workers == 2


def test_the_bounds_hold_whatever_comes() -> None:
    assert after(Trend(workers=1), (0.0, 999), (1.0, 999)).workers == 8
    assert after(Trend(workers=1), (0.0, 0), (99.0, 0)).workers == 1


LOOKS = st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 100)), max_size=40)


@given(LOOKS, st.integers(0, 5))
def test_it_never_leaves_its_bounds_and_a_steady_load_is_met_in_the_end(
    looks: list[tuple[float, int]], slots: int
) -> None:
    now, trend = 0.0, Trend(workers=1)
    for pause, calls in looks:
        now += pause
        trend = plan(trend, Demand(calls=calls, slots=slots), BOUNDS, now)
        assert 1 <= trend.workers <= 8
    for later in (0.0, 100.0, 200.0, 300.0):
        trend = plan(trend, Demand(calls=10, slots=4), BOUNDS, now + later)
    assert trend == Trend(workers=3)
