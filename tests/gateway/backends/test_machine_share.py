"""The parts of a shared machine add up to the time in which it was used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.machine_share import MachineShare


def test_a_call_that_is_alone_has_the_whole_machine() -> None:
    share = MachineShare()
    mark = share.advance(100.0, 1)
    assert share.since(mark, 107.0) == 7.0


def test_two_calls_share_what_they_share() -> None:
    """One from 0 to 10, one from 8 to 20: eight alone, two together, ten alone."""
    share = MachineShare()
    first = share.advance(0.0, 1)
    second = share.advance(8.0, 1)
    assert share.since(first, 10.0) == 9.0
    share.advance(10.0, -1)
    assert share.since(second, 20.0) == 11.0


def test_nobody_has_the_time_in_which_there_was_no_call() -> None:
    share = MachineShare()
    share.advance(0.0, 1)
    share.advance(1.0, -1)
    mark = share.advance(1000.0, 1)
    assert share.since(mark, 1001.0) == 1.0


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60)), min_size=1, max_size=40))
def test_the_parts_are_the_time_in_which_there_was_any_call(calls: list[tuple[int, int]]) -> None:
    share, marks, total = MachineShare(), {}, 0.0
    events = sorted(
        [(begin, 1, index) for index, (begin, _) in enumerate(calls)]
        + [(begin + lasts, 0, index) for index, (begin, lasts) in enumerate(calls)]
    )
    for now, begins, index in events:
        if begins:
            marks[index] = share.advance(now, 1)
        else:
            total += share.since(marks[index], now)
            share.advance(now, -1)
    busy = {second for begin, lasts in calls for second in range(begin, begin + lasts)}
    assert total == pytest.approx(len(busy))
