"""What starts take, what a missing worker costs, and whether promises are kept."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.feedback import Feedback
from gateway.planning.starts import StartSamples
from gateway.planning.worth import worth_of_worker

UNIFORM = StartSamples([3 + 12 * (n + 0.5) / 100 for n in range(100)])
"""3 to 15 s, each as likely."""


@pytest.mark.parametrize("count", range(1, 9))
def test_the_first_of_several_starts_is_up_sooner(count: int) -> None:
    assert UNIFORM.fastest_of(count) == pytest.approx(3 + 12 / (count + 1), rel=0.01)


@given(seconds=st.lists(st.integers(1, 60), min_size=1, max_size=5), count=st.integers(1, 4))
def test_the_mean_of_the_fastest_is_that_of_all_draws(seconds: list[int], count: int) -> None:
    draws = itertools.product(seconds, repeat=count)
    mean = statistics.fmean(min(draw) for draw in draws)
    assert StartSamples(seconds).fastest_of(count) == pytest.approx(mean)


def test_a_promise_longer_than_any_start_is_never_broken() -> None:
    worth = worth_of_worker(UNIFORM, 20.0, 600.0)
    assert worth.starts == 1
    assert worth.seconds == pytest.approx(9.0)


def test_a_promise_shorter_than_any_start_is_broken_however_many_race() -> None:
    worth = worth_of_worker(UNIFORM, 2.0, 600.0)
    assert worth.starts == 1
    assert worth.seconds == pytest.approx(609.0)


def test_more_start_together_where_that_keeps_the_promise() -> None:
    worth = worth_of_worker(UNIFORM, 10.0, 600.0)
    assert worth.starts > 3
    assert (
        worth.seconds < worth_of_worker(StartSamples([9.0] * 9 + [11.0] * 9), 10.0, 600.0).seconds
    )


@given(outcomes=st.lists(st.booleans(), max_size=3000))
def test_the_factor_stays_within_its_bounds(outcomes: list[bool]) -> None:
    feedback = Feedback(0.992)
    for in_time in outcomes:
        feedback.observe(in_time)
        assert 1 / 16 <= feedback.factor <= 16


def test_the_factor_rests_where_as_many_come_in_time_as_should() -> None:
    feedback = Feedback(0.99)
    for number in range(10_000):
        feedback.observe(number % 100 != 0)
    assert feedback.factor == pytest.approx(1.0, abs=0.04)
