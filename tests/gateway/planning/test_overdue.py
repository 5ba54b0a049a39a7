"""Calls past their promise, counted one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.overdue import Overdue

steps = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from(["arrive", "end", "count"]), st.integers(0, 20)),
    max_size=60,
)


@given(steps=steps)
def test_the_count_is_that_of_the_calls_that_are_old_enough(
    steps: list[tuple[float, str, int]],
) -> None:
    overdue, now = Overdue(2.0), 0.0
    came: dict[int, float] = {}
    for number, (passes, what, which) in enumerate(steps):
        now += passes
        if what == "arrive":
            overdue.arrive(number, now)
            came[number] = now
        elif what == "end" and came:
            call = sorted(came)[which % len(came)]
            overdue.end(call)
            del came[call]
        old = sum(now - at >= 2.0 for at in came.values())
        assert overdue.count(now) == old
        assert overdue.in_system == len(came)
