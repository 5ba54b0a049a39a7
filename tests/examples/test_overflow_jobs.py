"""The spare platform's queue and its plan for workers, without a process or a socket."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.overflow.jobs import (
    NOTHING,
    RESULT_KEPT,
    SYNC_RESULT_KEPT,
    Job,
    JobPolicy,
    JobQueue,
    QueueFull,
    State,
)
from examples.overflow.workers import START_LIMIT, Plan, Scale, WorkerView, plan

INPUT = msgspec.Raw(b"{}")
OUTPUT = msgspec.Raw(b"1")


def submit(
    queue: JobQueue,
    now: float = 0.0,
    *,
    sync: bool = False,
    ttl: float = 1e9,
    execution_timeout: float = 1e9,
) -> Job:
    limits = JobPolicy(ttl=ttl, execution_timeout=execution_timeout)
    return queue.submit(INPUT, limits, sync=sync, now=now)


def is_now(job: Job, state: State) -> bool:
    return job.state is state


def finish(queue: JobQueue, job: Job, worker: str = "w", now: float = 2.0) -> None:
    queue.finish(job, worker, output=OUTPUT, error=NOTHING, now=now)


def test_a_job_waits_runs_and_is_completed() -> None:
    queue = JobQueue()
    job = submit(queue, 0.0)
    assert (job.state, queue.waiting) == (State.IN_QUEUE, 1)
    assert queue.take("w", most=4, now=1.0) == [job]
    assert (job.state, queue.waiting, queue.running) == (State.IN_PROGRESS, 0, 1)
    finish(queue, job, now=3.0)
    assert (job.state, job.output, job.taken, job.ended) == (State.COMPLETED, OUTPUT, 1.0, 3.0)
    assert queue.totals[State.COMPLETED] == 1


def test_jobs_are_taken_in_their_order_and_no_more_than_asked_for() -> None:
    queue = JobQueue()
    jobs = [submit(queue) for _ in range(5)]
    assert queue.take("a", most=2, now=0.0) == jobs[:2]
    assert queue.take("b", most=9, now=0.0) == jobs[2:]


def test_a_full_queue_takes_no_more() -> None:
    queue = JobQueue(limit=2)
    submit(queue)
    submit(queue)
    with pytest.raises(QueueFull):
        submit(queue)


def test_output_is_drained_once() -> None:
    queue = JobQueue()
    job = submit(queue)
    queue.take("w", most=1, now=0.0)
    queue.put_out(job, "w", OUTPUT)
    assert queue.drain(job) == [OUTPUT]
    assert queue.drain(job) == []


def test_a_cancelled_job_is_stopped_at_its_worker_which_is_told_once() -> None:
    queue = JobQueue()
    job = submit(queue)
    queue.take("w", most=1, now=0.0)
    queue.cancel(job, 1.0)
    assert queue.stops_for("w") == [job.id]
    assert queue.stops_for("w") == []
    finish(queue, job)
    assert (job.state, job.output) == (State.CANCELLED, NOTHING)


def test_a_worker_that_was_given_up_cannot_finish_anothers_job() -> None:
    queue = JobQueue()
    job = submit(queue)
    queue.take("a", most=1, now=0.0)
    queue.worker_gone("a", "it ended", 1.0)
    assert queue.retry(job, 2.0)
    queue.take("b", most=1, now=3.0)
    finish(queue, job, "a")
    assert is_now(job, State.IN_PROGRESS)
    finish(queue, job, "b")
    assert is_now(job, State.COMPLETED)


def test_a_worker_that_ends_takes_its_jobs_with_it_and_no_others() -> None:
    queue = JobQueue()
    jobs = [submit(queue), submit(queue)]
    queue.take("a", most=1, now=0.0)
    queue.take("b", most=1, now=0.0)
    queue.worker_gone("a", "it ended", 1.0)
    assert [job.state for job in jobs] == [State.FAILED, State.IN_PROGRESS]
    assert bytes(jobs[0].error) == b'"it ended"'


def test_only_a_failed_job_is_retried_and_its_old_output_is_dropped() -> None:
    queue = JobQueue()
    job = submit(queue)
    assert not queue.retry(job, 1.0)
    queue.take("w", most=1, now=1.0)
    queue.put_out(job, "w", OUTPUT)
    queue.finish(job, "w", output=NOTHING, error=OUTPUT, now=2.0)
    assert queue.retry(job, 3.0)
    assert (job.state, job.error, list(job.parts)) == (State.IN_QUEUE, NOTHING, [])


def test_a_purge_cancels_what_waits_and_leaves_what_runs() -> None:
    queue = JobQueue()
    running, waiting = submit(queue), submit(queue)
    queue.take("w", most=1, now=0.0)
    assert queue.purge(1.0) == 1
    assert (running.state, waiting.state) == (State.IN_PROGRESS, State.CANCELLED)


def test_a_job_that_runs_too_long_is_timed_out_and_its_worker_told() -> None:
    queue = JobQueue()
    job = submit(queue, execution_timeout=5000)
    queue.take("w", most=1, now=0.0)
    queue.sweep(5.0)
    assert is_now(job, State.IN_PROGRESS)
    queue.sweep(5.1)
    assert is_now(job, State.TIMED_OUT)
    assert queue.stops_for("w") == [job.id]


def test_a_job_past_its_time_to_live_is_gone_even_while_it_runs() -> None:
    queue = JobQueue()
    waiting, running = submit(queue, ttl=10_000), submit(queue, ttl=10_000)
    queue.cancel(waiting, 1.0)
    queue.take("w", most=1, now=1.0)
    queue.sweep(10.1)
    assert queue.get(running.id) is None
    assert queue.running == 0
    assert queue.stops_for("w") == [running.id]


@pytest.mark.parametrize(("sync", "kept"), [(True, SYNC_RESULT_KEPT), (False, RESULT_KEPT)])
def test_a_result_is_kept_for_its_time(sync: bool, kept: float) -> None:
    queue = JobQueue()
    job = submit(queue, sync=sync)
    queue.take("w", most=1, now=0.0)
    finish(queue, job, now=1.0)
    queue.sweep(1.0 + kept)
    assert queue.get(job.id) is job
    queue.sweep(1.1 + kept)
    assert queue.get(job.id) is None


STEPS = st.sampled_from(["submit", "take", "finish", "cancel", "retry", "gone", "sweep", "purge"])


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 5), st.sampled_from("ab")), max_size=40))
def test_any_sequence_of_steps_keeps_the_books(steps: list[tuple[str, int, str]]) -> None:
    """Whatever happens in whatever order, each job is counted where it stands."""
    queue = JobQueue(limit=4)
    jobs: list[Job] = []
    for now, (step, index, worker) in enumerate(steps):
        take_step(queue, jobs, step, index, worker, float(now))
        alive = [job for job in jobs if queue.get(job.id) is job]
        assert queue.waiting == sum(job.state is State.IN_QUEUE for job in alive)
        assert queue.running == sum(job.state is State.IN_PROGRESS for job in alive)
        assert all((job.ended is None) is not job.final for job in alive)


def take_step(
    queue: JobQueue, jobs: list[Job], step: str, index: int, worker: str, now: float
) -> None:
    known = [job for job in jobs if queue.get(job.id) is job]
    job = known[index % len(known)] if known else None
    if step == "submit" and queue.waiting < 4:
        jobs.append(submit(queue, now, ttl=15_000.0, execution_timeout=6000.0))
    elif step == "take":
        queue.take(worker, most=2, now=now)
    elif step == "gone":
        queue.worker_gone(worker, "gone", now)
    elif step == "sweep":
        queue.sweep(now)
    elif step == "purge":
        queue.purge(now)
    elif job is not None:
        act_on(queue, job, step, worker, now)


def act_on(queue: JobQueue, job: Job, step: str, worker: str, now: float) -> None:
    if step == "finish":
        finish(queue, job, worker, now)
    elif step == "cancel":
        queue.cancel(job, now)
    else:
        queue.retry(job, now)


# --- workers ------------------------------------------------------------------------------------

SCALE = Scale(max_workers=2, idle_timeout=30.0)


def worker(
    name: str = "a", *, ready: bool = True, busy: int = 0, used: float = 0.0, leaving: bool = False
) -> WorkerView:
    return WorkerView(id=name, started=0.0, ready=ready, busy=busy, used=used, leaving=leaving)


@pytest.mark.parametrize(
    ("workers", "waiting", "now", "expected"),
    [
        ([], 0, 0.0, Plan(0, ())),
        ([], 1, 0.0, Plan(1, ())),
        ([], 9, 0.0, Plan(2, ())),
        ([worker(ready=False)], 1, 0.0, Plan(0, ())),
        ([worker(busy=1)], 1, 0.0, Plan(1, ())),
        ([worker(busy=1), worker("b", busy=1)], 9, 0.0, Plan(0, ())),
        ([worker()], 1, 99.0, Plan(0, ())),
        ([worker()], 0, 30.0, Plan(0, ())),
        ([worker()], 0, 30.1, Plan(0, ("a",))),
        ([worker(busy=1)], 0, 99.0, Plan(0, ())),
        ([worker(leaving=True)], 1, 99.0, Plan(1, ())),
        ([worker(ready=False)], 1, START_LIMIT + 1, Plan(0, ("a",))),
    ],
    ids=[
        "rests",
        "a first job starts one",
        "never more than the most",
        "one that starts will take it",
        "a busy one will not",
        "all are busy",
        "an idle one takes it",
        "idle and not for long",
        "idle for long",
        "busy is not idle",
        "one that leaves counts for nothing",
        "one that never came up",
    ],
)
def test_the_plan_for_workers(
    workers: list[WorkerView], waiting: int, now: float, expected: Plan
) -> None:
    assert plan(workers, waiting=waiting, scale=SCALE, now=now, may_start=True) == expected


def test_the_least_number_of_workers_is_kept_though_idle() -> None:
    scale = Scale(min_workers=1, max_workers=2, idle_timeout=1.0)
    both = [worker("a", used=5.0), worker("b", used=0.0)]
    assert plan([], waiting=0, scale=scale, now=0.0, may_start=True).start == 1
    assert plan(both, waiting=0, scale=scale, now=99.0, may_start=True) == Plan(0, ("b",))


def test_nothing_is_started_while_it_may_not_be() -> None:
    assert plan([], waiting=5, scale=SCALE, now=0.0, may_start=False) == Plan(0, ())
