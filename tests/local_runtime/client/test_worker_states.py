"""What is known of workers: in words for the operator, and in seconds for the router."""

from __future__ import annotations

import pytest

from local_runtime.client.start_times import FIRST_GUESS_S
from local_runtime.client.worker_states import WorkerStates
from local_runtime.protocol.events import WorkerChanged

STAGES = {"process": 1.0, "load": 2.0, "init": 3.0, "warmup": 4.0}


def states(*events: WorkerChanged, now: float = 100.0) -> WorkerStates:
    """Those of an app whose last start took ten seconds, as of ``now``."""
    found = WorkerStates(now)
    found.start_stages = STAGES
    for event in events:
        found.change(event, now)
    return found


def dead(index: int, retry_s: float | None) -> WorkerChanged:
    return WorkerChanged(index, "defunct", detail="it was killed", retry_s=retry_s)


def test_before_any_start_was_seen_there_is_a_guess() -> None:
    assert WorkerStates(100.0).ready_in(100.0) == FIRST_GUESS_S


@pytest.mark.parametrize(
    ("event", "seconds"),
    [
        (WorkerChanged(0, "starting"), 6.0),
        (WorkerChanged(0, "starting", standby="imported"), 3.0),
        (WorkerChanged(0, "ready"), 0.0),
        (dead(0, retry_s=5.0), 11.0),
        (dead(0, retry_s=None), None),
    ],
)
def test_the_wait_for_a_worker_is_what_is_left_of_its_start(
    event: WorkerChanged, seconds: float | None
) -> None:
    assert states(event).ready_in(104.0) == seconds


def test_the_soonest_of_several_counts() -> None:
    found = states(dead(0, retry_s=None), dead(1, retry_s=30.0), WorkerChanged(2, "starting"))
    assert found.ready_in(104.0) == 6.0


def test_starts_that_came_to_nothing_are_counted_until_one_does_not() -> None:
    """Of each worker; the luckiest counts. One that died after its start is another matter."""
    starting, died = WorkerChanged(0, "starting"), dead(0, retry_s=1.0)
    found = states(starting, WorkerChanged(0, "ready"), died)
    counts = [found.failed_starts]
    for event in (starting, died, starting, died, starting):
        found.change(event, 101.0)
        counts.append(found.failed_starts)
    assert counts == [0, 0, 1, 1, 2, 2]
    found.change(WorkerChanged(1, "starting"), 102.0)
    assert found.failed_starts == 0
    found.forget(1, 102.0)
    assert found.failed_starts == 2
    found.change(WorkerChanged(0, "ready"), 103.0)
    assert found.failed_starts == 0


def test_one_that_should_be_ready_and_cannot_be_reached_is_awaited_from_then_on() -> None:
    found = states(WorkerChanged(0, "ready"))
    found.mark_unreachable(0, "it cannot be reached: no such file", 110.0)
    found.mark_unreachable(0, "its connection ended", 112.0)
    assert (found.ready_in(112.0), found.why_unreachable(0)) == (8.0, "its connection ended")
    assert found.detail == "worker 0: its connection ended"
    found.mark_reachable(0)
    assert (found.ready_in(112.0), found.detail) == (0.0, "")


def test_only_workers_that_are_never_started_again_are_beyond_hope() -> None:
    found = states(dead(0, retry_s=None), dead(1, retry_s=1.0))
    assert not found.hopeless
    found.change(dead(1, retry_s=None), 101.0)
    assert found.hopeless
    assert found.detail == "worker 0: it was killed; it is not started again"


def test_a_worker_that_starts_again_says_what_the_last_one_died_of() -> None:
    found = states(dead(0, retry_s=0.0), WorkerChanged(0, "starting"))
    assert found.detail == "1 starting; worker 0: it was killed"


def test_spares_are_counted_while_they_wait_and_are_no_workers() -> None:
    found = states(WorkerChanged(0, "waiting", spare=True), WorkerChanged(1, "new", spare=True))
    assert (found.spares, found.known, found.detail) == (1, frozenset(), "")


def test_what_is_forgotten_is_awaited_from_its_end_on() -> None:
    found = states(WorkerChanged(0, "ready"), WorkerChanged(0, "waiting", spare=True))
    found.forget_all(120.0)
    assert (found.known, found.spares, found.ready_in(124.0)) == (frozenset(), 0, 6.0)
