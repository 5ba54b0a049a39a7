"""When a backend is silent rather than slow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.answer_times import ENOUGH, GENEROUS, SHORTEST_S, AnswerTimes


def seen(seconds: float, output: int = 100, body: int = 1000, times: int = ENOUGH) -> AnswerTimes:
    answers = AnswerTimes()
    for _ in range(times):
        answers.observe(seconds, output, body)
    return answers


def test_too_few_answers_say_nothing() -> None:
    assert seen(1.0, times=ENOUGH - 1).silent_after(100, 1000) is None


def test_a_call_that_may_produce_tokens_is_left_alone_where_nobody_counted_any() -> None:
    answers = seen(1.0, output=0)
    assert answers.silent_after(100, 1000) is None
    assert answers.silent_after(0, 1000) == SHORTEST_S


@pytest.mark.parametrize(
    ("output", "body", "plausible_s"),
    [(100, 1000, 10.0), (1000, 1000, 100.0), (100, 50_000, 500.0), (10, 10, 10.0)],
)
def test_more_is_waited_for_a_call_that_asks_for_more(
    output: int, body: int, plausible_s: float
) -> None:
    assert seen(10.0).silent_after(output, body) == pytest.approx(GENEROUS * plausible_s)


@given(st.lists(st.tuples(st.floats(0, 600), st.integers(1, 5000), st.integers(1, 10**6))))
def test_no_answer_that_was_seen_lately_would_have_been_cut(
    answers: list[tuple[float, int, int]],
) -> None:
    times = seen(0.1)
    for answer in answers:
        times.observe(*answer)
    for seconds, output, body in answers[-100:]:
        silent_s = times.silent_after(output, body)
        assert silent_s is not None
        assert silent_s > seconds
