"""Workers that a platform was told to keep: when they count as up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.held_workers import HeldWorkers

START_S = 10.0


def test_a_worker_that_was_told_to_start_is_up_after_a_start() -> None:
    held = HeldWorkers()
    held.tell(2, 0.0)
    assert (held.up(9.0, START_S), held.starting_for_s(9.0, START_S)) == (0, 9.0)
    assert (held.up(10.0, START_S), held.starting_for_s(10.0, START_S)) == (2, None)


def test_the_platforms_own_word_beats_the_clock() -> None:
    """Sooner or later than starts use to take."""
    held = HeldWorkers()
    held.tell(2, 0.0)
    held.hear(1)
    assert held.up(1.0, START_S) == 1
    assert held.up(50.0, START_S) == 1
    assert held.starting_for_s(50.0, START_S) is not None
    held.hear(5)
    assert held.up(50.0, START_S) == 2, "no more than it was told: the others may go at any time"


def test_what_starts_is_given_up_before_what_is_up() -> None:
    held = HeldWorkers()
    held.tell(1, 0.0)
    held.tell(4, 20.0)
    held.tell(2, 21.0)
    assert held.up(21.0, START_S) == 1
    assert held.up(30.0, START_S) == 2
    held.tell(0, 31.0)
    assert (held.up(60.0, START_S), held.starting_for_s(60.0, START_S)) == (0, None)


def test_a_call_that_waited_for_a_start_says_that_none_was_up() -> None:
    held = HeldWorkers()
    held.tell(3, 0.0)
    assert held.up(20.0, START_S) == 3
    held.doubt(20.0)
    assert (held.up(21.0, START_S), held.starting_for_s(21.0, START_S)) == (0, 1.0)
    assert held.up(30.0, START_S) == 3


_steps = st.lists(st.tuples(st.integers(0, 6), st.floats(0, 15)), max_size=30)


@given(_steps)
def test_no_more_are_up_than_the_platform_was_told(steps: list[tuple[int, float]]) -> None:
    """And after a start, without another word, all of them are."""
    held, now = HeldWorkers(), 0.0
    for workers, passed in steps:
        now += passed
        held.tell(workers, now)
        assert 0 <= held.up(now, START_S) <= held.count == workers
        assert (held.starting_for_s(now, START_S) is None) == (held.up(now, START_S) == workers)
    assert held.up(now + START_S + 1e-6, START_S) == held.count
