"""When a backend is silent rather than slow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.answer_times import (
    ANOTHERS_SHARE,
    BARELY,
    DOUBTED_S,
    ENOUGH,
    GENEROUS,
    SHORTEST_S,
    UNKNOWN_S,
    AnswerTimes,
    Slowest,
    longest_silence,
)

LONG_S = 100_000.0
"""A deadline that bounds nothing."""
ANSWERS = st.tuples(st.floats(0, 600), st.integers(1, 5000), st.integers(1, 10**6))
SLOWEST = st.builds(Slowest, st.floats(0, 600), st.floats(0, 6000), st.booleans())


def seen(seconds: float, output: int = 100, body: int = 10_000, times: int = ENOUGH) -> AnswerTimes:
    answers = AnswerTimes()
    for _ in range(times):
        answers.observe(seconds, output, body)
    return answers


def silence_s(answers: AnswerTimes, output: int = 100, body: int = 10_000) -> float:
    return longest_silence(answers.slowest(output, body), LONG_S, in_doubt=False)


def test_of_too_few_answers_a_minute_of_silence_says_nothing() -> None:
    assert silence_s(AnswerTimes()) == UNKNOWN_S
    assert silence_s(seen(1.0, times=ENOUGH - 1)) == UNKNOWN_S
    assert silence_s(seen(100.0, times=1)) == pytest.approx(GENEROUS * 100.0)


def test_a_call_that_may_produce_tokens_has_time_where_nobody_counted_any() -> None:
    answers = seen(1.0, output=0)
    assert silence_s(answers) == UNKNOWN_S
    assert silence_s(answers, output=0) == SHORTEST_S


@pytest.mark.parametrize(
    ("output", "body", "silent_s"),
    [
        (100, 10_000, GENEROUS * 10.0),
        (1000, 10_000, BARELY * 100.0),
        (100, 500_000, BARELY * 500.0),
        (10, 10, GENEROUS * 10.0),
    ],
)
def test_more_is_waited_for_a_call_that_asks_for_more(
    output: int, body: int, silent_s: float
) -> None:
    assert silence_s(seen(10.0), output, body) == pytest.approx(silent_s)


def test_one_word_for_a_short_request_says_nothing_of_a_long_answer() -> None:
    assert silence_s(seen(0.5, output=1, body=100), output=1000, body=50_000) == SHORTEST_S


@given(st.lists(ANSWERS))
def test_no_answer_that_was_seen_lately_would_have_been_cut(
    answers: list[tuple[float, int, int]],
) -> None:
    times = seen(0.1)
    for answer in answers:
        times.observe(*answer)
    for seconds, output, body in answers[-100:]:
        assert silence_s(times, output, body) > seconds


@given(SLOWEST, st.floats(1.0, 1200.0), st.booleans())
def test_another_has_its_share_of_the_time_unless_answers_take_as_long(
    slowest: Slowest, left_s: float, in_doubt: bool
) -> None:
    silent_s = longest_silence(slowest, left_s, in_doubt=in_doubt)
    assert silent_s <= max(left_s * ANOTHERS_SHARE, BARELY * slowest.took_s)


@given(SLOWEST, st.floats(1.0, 1200.0))
def test_one_that_was_silent_before_is_believed_no_longer_than_one_that_was_not(
    slowest: Slowest, left_s: float
) -> None:
    doubted = longest_silence(slowest, left_s, in_doubt=True)
    assert doubted <= longest_silence(slowest, left_s, in_doubt=False)
    assert doubted >= min(max(DOUBTED_S, BARELY * slowest.took_s), left_s * ANOTHERS_SHARE)
