"""As many of what comes, and of the jobs that wait, run at once as must."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.planning.coming import ComingCalls, JobsInLine, seen_coming, seen_jobs

COMING = [
    pytest.param(1, None, 5.0, 1, id="a job"),
    pytest.param(1000, 3600.0, 1.0, 1, id="a batch with time enough"),
    pytest.param(1000, 100.0, 1.0, 10, id="a batch with less"),
    pytest.param(3, 1.0, 60.0, 3, id="never more than there are"),
    pytest.param(50, 60.0, 0.0, 1, id="and at least one"),
]


@pytest.mark.parametrize(("calls", "within_s", "run_s", "at_once"), COMING)
def test_as_many_run_at_once_as_end_in_time(
    calls: int, within_s: float | None, run_s: float, at_once: int
) -> None:
    what = ComingCalls(schedule="nightly", model="m", at=0.0, calls=calls, within_s=within_s)
    assert seen_coming(what, run_s).at_once == at_once


RUN_S, START_S = 10.0, 5.0
JOBS = [
    pytest.param([(1, 3600.0)], 1, 3600.0, id="one with time enough"),
    pytest.param([(100, 3600.0)], 1, 3600.0, id="many that one worker ends in time"),
    pytest.param([(100, 130.0)], 10, 130.0, id="many with less: ten each in eight tenths of it"),
    pytest.param([(100, 16.0)], 100, 16.0, id="those that can just end run all at once"),
    pytest.param([(100, 14.0)], 0, 14.0, id="nobody starts a worker for those that cannot"),
    pytest.param([(100, 14.0), (3, 18.0)], 3, 18.0, id="nor for them beside others"),
    pytest.param([(10, 130.0), (1000, 86_400.0)], 1, 130.0, id="the later ones have time"),
    pytest.param([(10, 130.0), (90, 255.0)], 5, 130.0, id="or have not, behind the first"),
]


@pytest.mark.parametrize(("line", "at_once", "first"), JOBS)
def test_as_many_jobs_run_at_once_as_end_by_their_deadlines(
    line: list[tuple[int, float]], at_once: int, first: float
) -> None:
    waiting = [JobsInLine("m", jobs, deadline) for jobs, deadline in reversed(line)]
    look = seen_jobs("m", [*waiting, JobsInLine("other", 9, 50.0)], RUN_S, START_S, 0.0)
    assert look is not None
    assert (look.at_once, look.deadline) == (at_once, first)
    assert look.jobs == sum(jobs for jobs, _ in line)
    assert seen_jobs("none", waiting, RUN_S, START_S, 0.0) is None


@given(
    st.lists(st.floats(16.0, 60.0), min_size=1, max_size=60),
    st.lists(st.floats(0.1, 14.0), max_size=5),
)
def test_jobs_that_come_too_late_hide_none_that_are_counted_with_them(
    deadlines: list[float], too_late: list[float]
) -> None:
    both = [*deadlines, *too_late]
    group = JobsInLine("m", len(both), min(both), max(both))
    look = seen_jobs("m", [group], RUN_S, START_S, 0.0)
    alone = seen_jobs("m", [JobsInLine("m", len(deadlines), max(deadlines))], RUN_S, START_S, 0.0)
    assert look is not None
    assert alone is not None
    assert look.at_once >= alone.at_once >= 1
