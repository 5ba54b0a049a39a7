"""The schedule under both of its threads: each job runs once, or was taken back."""

from __future__ import annotations

import queue
import random
import threading
from typing import Any

from local_runtime.app.runtime import Batch, Handler
from local_runtime.protocol.events import Done, Piece, Run
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.shared_schedule import LockedSchedule
from tests.waiting import WITHIN_S


def batched(context: Any, requests: Any) -> Any: ...


def alone(context: Any, request: Any) -> Any: ...


BATCH = Handler(route="/batch", function=batched, batch=Batch(max_size=4, max_wait_s=0.0))
ALONE = Handler(route="/alone", function=alone)


def ignore(event: Piece | Done) -> None: ...


def job(id: int, handler: Handler) -> Job:
    return Job(Run(id, handler.route, b"null"), handler, 0.0, ignore)


def test_what_waits_goes_on_at_once_when_a_work_ends() -> None:
    schedule, first, second = LockedSchedule([ALONE]), job(1, ALONE), job(2, ALONE)
    for one in (first, second):
        assert schedule.submit(one, 0.0)
    work = schedule.take(0.0)
    assert work is not None
    following = schedule.after(work, 1.0)
    assert following is not None
    assert (work.jobs, following.jobs) == ([first], [second])
    assert schedule.after(following, 2.0) is None
    assert schedule.idle


class Device:
    """Stands for the model's thread: ends each work at once, and goes on with what comes next."""

    def __init__(self, schedule: LockedSchedule) -> None:
        self.schedule = schedule
        self.ran: list[int] = []
        self.orders: queue.Queue[Work | None] = queue.Queue()
        self.thread = threading.Thread(target=self._live)
        self.thread.start()

    def _live(self) -> None:
        while (work := self.orders.get(timeout=WITHIN_S)) is not None:
            following: Work | None = work
            while following is not None:
                self.ran += [job.run.id for job in following.jobs]
                following = self.schedule.after(following, 1e9)


def test_each_job_runs_once_or_was_taken_back_whatever_the_threads_do() -> None:
    """Two threads at the same schedule, thousands of times; a seed makes a failure tell more."""
    chance = random.Random(7)
    schedule = LockedSchedule([BATCH, ALONE])
    device = Device(schedule)
    jobs = [job(id, chance.choice((BATCH, ALONE))) for id in range(5000)]
    withdrawn: set[int] = set()
    waiting = list[Job]()
    for one in jobs:
        if not schedule.submit_blocked(one, 0.0):
            while not schedule.submit(one, 0.0):
                _begin(schedule, device)
            _begin(schedule, device)
        waiting.append(one)
        if chance.random() < 0.2:
            unwanted = waiting.pop(chance.randrange(len(waiting)))
            if schedule.withdraw(unwanted):
                withdrawn.add(unwanted.run.id)
    while not schedule.idle:
        _begin(schedule, device)
    device.orders.put(None)
    device.thread.join(WITHIN_S)
    assert sorted([*device.ran, *withdrawn]) == [one.run.id for one in jobs]


def _begin(schedule: LockedSchedule, device: Device) -> None:
    if (work := schedule.take(1e9)) is not None:
        device.orders.put(work)
