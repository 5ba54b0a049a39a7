"""What becomes of a worker process."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_runtime.supervisor.lifecycle import (
    InvalidState,
    RestartPolicy,
    WorkerRecord,
    WorkerState,
    pause,
    why_killed,
)

POLICY = RestartPolicy(start_timeout_s=300, silence_s=60, pause_s=0.25, max_pause_s=60, stable_s=60)


def ended(record: WorkerRecord, now: float, *, permanent: bool = False) -> WorkerRecord:
    return record.ended(now, POLICY, detail="died", permanent=permanent, jitter=0.0)


def test_a_new_worker_is_due_at_once() -> None:
    """There is nothing to wait for."""
    assert WorkerRecord(index=0).retry_at == 0.0


def test_a_worker_that_dies_again_and_again_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    """No restart storm, and no end to trying."""
    record, now, pauses = WorkerRecord(index=0), 0.0, []
    for _ in range(12):
        record = ended(record.started(now, 1), now)
        assert record.retry_at is not None
        pauses.append(record.retry_at - now)
        now = record.retry_at
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == 60.0


def test_a_worker_that_was_ready_for_long_starts_anew_with_the_shortest_pause() -> None:
    """An old misfortune is forgiven."""
    record = ended(ended(WorkerRecord(index=0).started(0, 1), 1).started(2, 2), 3)
    record = record.started(4, 3).became_ready(5)
    assert ended(record, 5 + 59).failures == 3
    assert ended(record, 5 + 60).failures == 1


def test_an_app_that_does_not_exist_is_never_tried_again() -> None:
    """The file will not appear by itself."""
    assert ended(WorkerRecord(index=0).started(0, 1), 1, permanent=True).retry_at is None


def test_a_worker_that_loads_too_long_is_killed_at_its_start_timeout() -> None:
    """Counted from its start; heartbeats do not exist yet."""
    record = WorkerRecord(index=0).started(10, 1)
    assert record.kill_at(POLICY) == 310
    assert why_killed(record, POLICY) == "it was not ready within 300 s"


def test_a_ready_worker_is_killed_when_it_is_silent_too_long() -> None:
    """Counted from its last heartbeat."""
    record = WorkerRecord(index=0).started(10, 1).became_ready(20).beat(30, 1)
    assert record.state is WorkerState.BUSY
    assert record.kill_at(POLICY) == 90
    assert why_killed(record, POLICY) == "it gave no sign of life for 60 s"


def test_the_heartbeat_says_whether_it_is_busy() -> None:
    """BUSY and READY follow the number of running calls."""
    record = WorkerRecord(index=0).started(0, 1).became_ready(1)
    assert record.beat(2, 3).state is WorkerState.BUSY
    assert record.beat(2, 3).beat(3, 0).state is WorkerState.READY


@given(failures=st.integers(1, 500), jitter=st.floats(0, 0.999))
def test_jitter_lengthens_a_pause_by_a_quarter_at_most(failures: int, jitter: float) -> None:
    """Workers that died together do not all start together."""
    plain = pause(POLICY, failures, 0.0)
    assert plain <= pause(POLICY, failures, jitter) < plain * 1.25


LEGAL = {
    ("new", "started"),
    ("defunct", "started"),
    ("starting", "became_ready"),
    ("starting", "ended"),
    ("ready", "beat"),
    ("busy", "beat"),
    ("ready", "ended"),
    ("busy", "ended"),
}
moves = st.lists(st.sampled_from(["started", "became_ready", "beat", "ended"]), max_size=30)


@given(moves=moves)
def test_any_sequence_of_moves_either_is_legal_or_raises(moves: list[str]) -> None:
    """The table of states is the whole truth."""
    record = WorkerRecord(index=0)
    for now, move in enumerate(moves):
        legal = (record.state.value, move) in LEGAL
        try:
            record = make(record, move, float(now))
        except InvalidState:
            assert not legal
        else:
            assert legal


def make(record: WorkerRecord, move: str, now: float) -> WorkerRecord:
    if move == "started":
        return record.started(now, 1)
    if move == "became_ready":
        return record.became_ready(now)
    return record.beat(now, 0) if move == "beat" else ended(record, now)


def test_a_worker_that_does_not_run_has_no_kill_time() -> None:
    """Asking for one is a mistake of the caller."""
    with pytest.raises(InvalidState, match="worker 0 is new"):
        WorkerRecord(index=0).kill_at(POLICY)
