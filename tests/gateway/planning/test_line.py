"""The line: no call is lost, doubled or passed over for ever, and late ones make no others late."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.line import Line


def test_calls_leave_in_the_order_in_which_they_came() -> None:
    line: Line[str] = Line(2.0)
    for at, call in enumerate("abc"):
        line.add(call, at / 10)
    assert [line.take(1.0) for _ in range(3)] == ["a", "b", "c"]


def test_who_is_late_anyhow_waits_for_those_who_are_not() -> None:
    line: Line[str] = Line(2.0)
    line.add("late", 0.0)
    line.add("young", 3.0)
    assert [line.take(3.5), line.take(3.5)] == ["young", "late"]


def test_who_has_waited_five_times_too_long_is_next() -> None:
    line: Line[str] = Line(2.0)
    line.add("late", 0.0)
    for number in range(3):
        line.add(f"young {number}", 9.0)
    assert [line.take(9.5), line.take(10.5)] == ["young 0", "late"]


def test_an_empty_line_has_no_next() -> None:
    with pytest.raises(IndexError):
        Line(2.0).take(0.0)


@given(
    steps=st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=80),
)
def test_each_call_leaves_once(steps: list[tuple[float, bool]]) -> None:
    line: Line[int] = Line(1.0)
    now, waiting, left = 0.0, set[int](), list[int]()
    for number, (passes, comes) in enumerate(steps):
        now += passes
        if comes:
            line.add(number, now)
            waiting.add(number)
        elif line:
            call = line.take(now)
            waiting.remove(call)
            left.append(call)
        assert len(line) == len(waiting)
    assert len(left) == len(set(left))
