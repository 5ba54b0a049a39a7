"""The line: no call is lost, doubled or passed over for ever, and late ones make no others late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.line import LINES, Line, Place

LOW, NORMAL, HIGH = range(3)


def all_of(line: Line[str], now: float) -> list[str]:
    return [line.take(now) for _ in range(len(line))]


def test_calls_leave_in_the_order_in_which_they_came() -> None:
    line: Line[str] = Line(2.0)
    for at, call in enumerate("abc"):
        line.add(call, at / 10)
    assert all_of(line, 1.0) == ["a", "b", "c"]


def test_who_is_late_anyhow_waits_for_those_who_are_not() -> None:
    line: Line[str] = Line(2.0)
    line.add("late", 0.0)
    line.add("young", 3.0)
    assert all_of(line, 3.5) == ["young", "late"]


def test_who_has_waited_five_times_too_long_is_next() -> None:
    line: Line[str] = Line(2.0)
    line.add("late", 0.0)
    for number in range(3):
        line.add(f"young {number}", 9.0)
    assert [line.take(9.5), line.take(10.5)] == ["young 0", "late"]


def test_the_lines_of_a_batch_come_after_everybody_late_or_not_and_have_no_turn() -> None:
    line: Line[str] = Line(2.0)
    line.add("line", 0.0, Place(2.0, rank=LINES))
    line.add("late", 1.0, Place(2.0, rank=LOW))
    line.add("line in time", 90.0, Place(900.0, rank=LINES))
    for number in range(3):
        line.add(f"young {number}", 99.0)
    assert all_of(line, 99.5)[:4] in (
        ["young 0", "late", "young 1", "young 2"],
        ["late", "young 0", "young 1", "young 2"],
    )
    assert line.oldest() is None


def test_of_lines_alone_the_oldest_is_known() -> None:
    line: Line[str] = Line(2.0)
    line.add("first", 1.0, Place(rank=LINES))
    line.add("second", 2.0, Place(rank=LINES))
    assert line.oldest() == 1.0
    with pytest.raises(IndexError):
        line.take(3.0, LOW)
    assert all_of(line, 3.0) == ["first", "second"]


def test_a_higher_priority_goes_first_among_those_who_are_in_time() -> None:
    """And among those who are late; but lateness comes before priority."""
    line: Line[str] = Line()
    for call, rank, came in (("low", 0, 5.0), ("high", 2, 6.0), ("late high", 2, 0.0)):
        line.add(call, came, Place(4.0, rank))
    line.add("late low", 0.0, Place(4.0, LOW))
    assert all_of(line, 7.0) == ["high", "low", "late high", "late low"]


def test_a_low_call_that_has_waited_too_long_gets_every_second_turn() -> None:
    """A flood of them does not shut out the others."""
    line: Line[str] = Line()
    for number in range(3):
        line.add(f"low {number}", 0.0, Place(2.0, LOW))
    for number in range(3):
        line.add(f"high {number}", 11.0, Place(2.0, HIGH))
    order = all_of(line, 11.5)
    assert order == ["low 0", "high 0", "low 1", "high 1", "low 2", "high 2"]


def test_users_take_turns_by_what_their_calls_take_of_a_worker() -> None:
    """Long calls of one against short ones of another: equal seconds, not equal calls."""
    line: Line[str] = Line()
    for number in range(4):
        line.add(f"long {number}", 0.0, Place(100.0, NORMAL, "ann", 4.0))
    for number in range(8):
        line.add(f"short {number}", 1.0, Place(100.0, NORMAL, "bob", 1.0))
    order = all_of(line, 2.0)
    assert order[:2] == ["long 0", "short 0"]
    assert order.index("long 1") == 5
    assert order.index("long 2") == 10


def test_a_flood_of_one_user_does_not_shut_out_another() -> None:
    line: Line[str] = Line()
    for number in range(500):
        line.add(f"flood {number}", 0.0, Place(2.0, NORMAL, "ann", 1.0))
    for _ in range(50):
        line.take(30.0)
    line.add("other", 30.0, Place(2.0, NORMAL, "bob", 1.0))
    assert "other" in (line.take(30.5), line.take(30.5))


def test_who_has_used_more_than_was_foreseen_waits_for_it() -> None:
    line: Line[str] = Line()
    line.add("ann 0", 0.0, Place(10.0, NORMAL, "ann", 1.0))
    line.take(0.0)
    line.used("ann", 30.0)
    line.add("ann 1", 1.0, Place(10.0, NORMAL, "ann", 1.0))
    for number in range(3):
        line.add(f"bob {number}", 2.0, Place(10.0, NORMAL, "bob", 1.0))
    assert all_of(line, 3.0)[-1] == "ann 1"


def test_the_end_of_the_line_are_the_late_ones_and_then_those_of_low_priority() -> None:
    line: Line[str] = Line()
    line.add("late", 0.0, Place(2.0, HIGH))
    for name, rank in (("low", LOW), ("high", HIGH), ("normal", NORMAL)):
        line.add(name, 10.0, Place(2.0, rank))
    line.add("gone", 10.0)
    line.remove("gone")
    assert line.take(10.0) == "high"
    assert line.last(2) == ["late", "low"]
    assert line.oldest() == 0.0


def test_an_empty_line_has_no_next() -> None:
    with pytest.raises(IndexError):
        Line(2.0).take(0.0)


_steps = st.lists(
    st.tuples(
        st.floats(0, 2),
        st.sampled_from(("add", "take", "remove")),
        st.integers(0, 2),
        st.sampled_from(("", "ann", "bob")),
        st.floats(0.5, 4),
    ),
    max_size=80,
)


@given(_steps)
def test_each_call_leaves_once(steps: list[tuple[float, str, int, str, float]]) -> None:
    line: Line[int] = Line(1.0)
    now, waiting, left = 0.0, list[int](), list[int]()
    for number, (passes, what, rank, user, slo_s) in enumerate(steps):
        now += passes
        if what == "add":
            line.add(number, now, Place(slo_s, rank, user, 1.0))
            waiting.append(number)
        elif what == "remove" and waiting:
            call = waiting.pop(len(waiting) // 2)
            assert line.remove(call)
            assert not line.remove(call)
        elif waiting:
            call = line.take(now)
            waiting.remove(call)
            left.append(call)
        assert len(line) == len(waiting)
        assert all(call in line for call in waiting)
        assert sorted(line.last(100)) == sorted(waiting)
    assert sorted(waiting) == sorted(line.take(now) for _ in range(len(line)))
    assert len(left) == len(set(left))


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 2), st.sampled_from("ab")), min_size=2, max_size=9
    )
)
def test_nobody_is_passed_over_for_ever(arrivals: list[tuple[float, int, str]]) -> None:
    """While others come, of whatever rank, one of low rank that starves is among the next two."""
    line: Line[int] = Line(1.0)
    line.add(-1, 0.0, Place(1.0, LOW, "z", 1.0))
    now, taken = 5.5, list[int]()
    for number, (passes, rank, user) in enumerate(arrivals):
        now += passes
        line.add(number, now, Place(1.0, rank, user, 1.0))
        taken.append(line.take(now))
    assert -1 in taken[:2]
