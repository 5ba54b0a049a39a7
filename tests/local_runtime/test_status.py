"""The four figures of a worker's status, from what happened to its calls."""

from __future__ import annotations

from local_runtime.status import Status


def test_a_worker_that_is_not_ready_has_no_room() -> None:
    """Loading is not being available, and not being idle either."""
    status = Status()
    assert not status.gpu_available
    assert status.idle_time(99.0) == 0.0


def test_idle_time_counts_from_ready_and_from_the_end_of_the_last_call() -> None:
    """While a call runs nothing is idle."""
    status = Status().update("ready", 10.0, slots=1)
    assert status.idle_time(13.0) == 3.0
    status = status.update("begun", 13.0)
    assert status.idle_time(14.0) == 0.0
    assert status.update("ended", 15.0, at=13.0).idle_time(16.0) == 1.0


def test_inference_time_is_that_of_the_oldest_running_call() -> None:
    """A short call that ends does not hide a long one."""
    status = Status().update("ready", 0.0, slots=2).update("begun", 1.0).update("begun", 3.0)
    assert status.inference_time(5.0) == 4.0
    assert status.update("ended", 5.0, at=1.0).inference_time(5.0) == 2.0
    assert status.update("ended", 5.0, at=3.0).inference_time(5.0) == 4.0


def test_it_is_available_while_fewer_calls_run_than_it_has_slots() -> None:
    """Two slots: free after one call, not after two."""
    status = Status().update("ready", 0.0, slots=2).update("begun", 1.0)
    assert status.gpu_available
    assert not status.update("begun", 1.0).gpu_available


def test_the_sequence_number_counts_calls_begun_and_never_goes_back() -> None:
    """The end of a call does not change it."""
    status = Status().update("ready", 0.0, slots=2).update("begun", 1.0).update("begun", 1.5)
    assert status.sequence_number == 2
    assert status.update("ended", 2.0, at=1.0).sequence_number == 2


def test_a_status_never_changes_under_its_holder() -> None:
    """An update gives a new one."""
    before = Status().update("ready", 0.0, slots=1)
    before.update("begun", 1.0)
    assert before.running == ()
