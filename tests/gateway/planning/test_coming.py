"""As many of what comes run at once as must."""

from __future__ import annotations

import pytest

from gateway.planning.coming import ComingCalls, seen_coming

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
