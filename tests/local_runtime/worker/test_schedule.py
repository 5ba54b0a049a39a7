"""Which work starts when, without a clock or a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from local_runtime.app.runtime import Batch, Handler
from local_runtime.protocol.events import Done, Piece, Run
from local_runtime.worker.jobs import Job
from local_runtime.worker.schedule import MAX_QUEUED, Schedule


def sync(context: Any, request: Any) -> Any: ...


async def asynchronous(context: Any, request: Any) -> Any: ...


async def streaming(context: Any, request: Any) -> AsyncIterator[Any]:
    yield 1


def ignore(event: Piece | Done) -> None: ...


SYNC = Handler(route="/sync", function=sync, timeout_s=10)
OTHER = Handler(route="/other", function=sync)
ASYNC = Handler(route="/async", function=asynchronous, concurrency=2)
BATCH = Handler(route="/batch", function=sync, batch=Batch(max_size=2, max_wait_s=0.5))


def job(handler: Handler, now: float = 0.0) -> Job:
    return Job(Run(1, handler.route, b"null"), handler, now, ignore)


def stepper(context: Any) -> Any: ...


CHAT = Handler(route="/chat", function=stepper, stepper=True, concurrency=2)
PLAIN = Handler(route="/plain", function=stepper, stepper=True, concurrency=2)


def schedule(*handlers: Handler) -> Schedule:
    return Schedule(handlers)


def test_two_synchronous_handlers_never_run_at_once() -> None:
    """They share one thread: the second starts when the first has ended."""
    queues, first, second = schedule(SYNC, OTHER), job(SYNC), job(OTHER)
    queues.submit(first, 0.0)
    queues.submit(second, 0.1)
    work = queues.take(0.1)
    assert work is not None
    assert work.jobs == [first]
    assert queues.take(0.1) is None
    queues.finish(work, 0.2)
    following = queues.take(0.2)
    assert following is not None
    assert following.jobs == [second]


def test_asynchronous_handlers_run_side_by_side_up_to_their_concurrency() -> None:
    """And beside a synchronous one."""
    queues = schedule(SYNC, ASYNC)
    for _ in range(3):
        queues.submit(job(ASYNC), 0.0)
    queues.submit(job(SYNC), 0.0)
    started = [queues.take(0.0) for _ in range(4)]
    routes = sorted(work.handler.route for work in started if work)
    assert routes == ["/async", "/async", "/sync"]
    assert queues.queued == 1


def test_who_waited_longest_goes_first() -> None:
    """No route starves another."""
    queues = schedule(SYNC, OTHER)
    queues.submit(job(OTHER), 1.0)
    queues.submit(job(SYNC), 0.5)
    work = queues.take(2.0)
    assert work is not None
    assert work.handler is SYNC


def test_a_batch_that_waited_for_the_device_leaves_when_it_is_free() -> None:
    """The time behind another handler's work counts as waiting."""
    queues = schedule(SYNC, BATCH)
    queues.submit(job(SYNC), 0.0)
    work = queues.take(0.0)
    assert work is not None
    queues.submit(job(BATCH), 0.1)
    assert queues.due_at(1.0) == 10.0
    queues.finish(work, 0.2)
    batch = queues.take(0.2)
    assert batch is not None
    assert batch.handler is BATCH


def test_the_next_instant_is_when_a_waiting_batch_may_leave() -> None:
    """One timer is enough."""
    queues = schedule(BATCH)
    queues.submit(job(BATCH), 1.0)
    assert queues.due_at(1.0) == 1.5
    assert schedule(BATCH).due_at(1.0) is None


def test_a_full_queue_takes_no_more() -> None:
    """Everything is bounded."""
    queues = schedule(SYNC, OTHER)
    assert all(queues.submit(job(SYNC), 0.0) for _ in range(MAX_QUEUED))
    assert not queues.submit(job(OTHER), 0.0)
    assert queues.queued == MAX_QUEUED


def test_a_job_is_taken_back_only_before_it_starts() -> None:
    """And then the schedule is as if it had never come."""
    queues, waiting = schedule(SYNC), job(SYNC)
    queues.submit(waiting, 0.0)
    assert queues.withdraw(waiting)
    assert queues.idle
    queues.submit(waiting, 0.0)
    queues.take(0.0)
    assert not queues.withdraw(waiting)
    assert not queues.idle


def test_a_work_past_its_time_out_is_told_once_and_is_stuck_after_the_grace() -> None:
    """First its callers are answered, then the worker is given up."""
    queues = schedule(SYNC)
    queues.submit(job(SYNC), 0.0)
    work = queues.take(0.0)
    assert work is not None
    assert queues.overdue(9.9) == []
    assert queues.stuck(99.0, 5.0) is None
    assert queues.overdue(10.0) == [work]
    assert queues.overdue(10.1) == []
    assert queues.due_at(5.0) == 15.0
    assert queues.stuck(14.9, 5.0) is None
    assert queues.stuck(15.0, 5.0) is work


def test_a_generator_that_is_asynchronous_does_not_hold_the_device() -> None:
    """Only what blocks the thread is exclusive."""
    assert not Handler(route="/", function=streaming).exclusive
    assert Handler(route="/", function=sync).exclusive


def test_the_routes_of_one_stepper_share_its_places_and_its_line() -> None:
    """First come, first admitted, whichever route it came by; a synchronous handler goes beside."""
    queues = schedule(CHAT, PLAIN, SYNC)
    for at, handler in enumerate((PLAIN, CHAT, PLAIN, CHAT, SYNC)):
        queues.submit(job(handler), float(at))
    started = [queues.take(9.0) for _ in range(4)]
    assert [work and work.handler for work in started] == [PLAIN, CHAT, SYNC, None]
    first = started[0]
    assert first is not None
    queues.finish(first, 9.0)
    following = queues.take(9.0)
    assert following is not None
    assert following.handler is PLAIN
    assert queues.queued == 1


def test_a_handler_is_blocked_while_nothing_of_it_could_start() -> None:
    """A call that comes then only joins its queue: there is nothing to look for."""
    queues = schedule(SYNC, OTHER, ASYNC)
    assert not any(map(queues.blocked, map(job, (SYNC, OTHER, ASYNC))))
    queues.submit(job(SYNC), 0.0)
    device = queues.take(0.0)
    assert device is not None
    assert queues.blocked(job(SYNC))
    assert queues.blocked(job(OTHER))  # they share the device
    assert not queues.blocked(job(ASYNC))
    for _ in range(2):
        queues.submit(job(ASYNC), 0.0)
        assert queues.take(0.0) is not None
    assert queues.blocked(job(ASYNC))  # as many as its concurrency
    queues.finish(device, 1.0)
    assert not queues.blocked(job(OTHER))


def test_a_stepper_has_its_places_for_each_model() -> None:
    """A line before one model holds up no sequence of another; one that ends frees its own place,
    whichever route it came by."""
    by, other = (
        Handler(route=route, function=stepper, stepper=True, concurrency=1, models=("*",))
        for route in ("/a", "/b")
    )
    queues = schedule(by, other)
    jobs = [job(by), job(other), job(by)]
    for one, model in zip(jobs, ("a", "a", "b"), strict=True):
        one.model = model
        queues.submit(one, 0.0)
    works = [queues.take(0.0), queues.take(0.0), queues.take(0.0)]
    assert [work and work.jobs for work in works] == [[jobs[0]], [jobs[2]], None]
    assert works[1] is not None
    queues.finish(works[1], 1.0)
    assert queues.take(1.0) is None
    assert works[0] is not None
    queues.finish(works[0], 1.0)
    following = queues.take(1.0)
    assert following is not None
    assert following.jobs == [jobs[1]]
    assert queues.withdraw(jobs[1]) is False
