"""The schedule of a worker as its two threads share it.

The socket's thread queues jobs and minds the time; the model's thread, when a work has ended, takes
the next one from here itself. To be handed it by the other thread would cost the device two changes
of threads between any two works, which is a tenth of a batch that takes a millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from local_runtime.app.runtime import Handler
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.schedule import Schedule


class LockedSchedule:
    """A Schedule behind a lock, taken for an instant; see there for what each means."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self._schedule = Schedule(handlers)
        self._lock = threading.Lock()

    @property
    def idle(self) -> bool:
        with self._lock:
            return self._schedule.idle

    @property
    def queued(self) -> int:
        with self._lock:
            return self._schedule.queued

    @property
    def late(self) -> bool:
        """A work that is past its time-out has not come back."""
        with self._lock:
            return any(work.expired for work in self._schedule.running)

    def submit(self, job: Job, now: float) -> bool:
        with self._lock:
            return self._schedule.submit(job, now)

    def submit_blocked(self, job: Job, now: float) -> bool:
        """Queues the job where none like it can start before another work ends, as nearly all of
        them do under load; False, and it is not queued, where it may start or the queue is full."""
        with self._lock:
            schedule = self._schedule
            return schedule.blocked(job) and schedule.submit(job, now)

    def withdraw(self, job: Job) -> bool:
        with self._lock:
            return self._schedule.withdraw(job)

    def take(self, now: float) -> Work | None:
        with self._lock:
            return self._schedule.take(now)

    def after(self, work: Work, now: float) -> Work | None:
        """The work has ended: what may start in its place, which counts as running from here on."""
        with self._lock:
            self._schedule.finish(work, now)
            return self._schedule.take(now)

    def due_at(self, grace_s: float) -> float | None:
        with self._lock:
            return self._schedule.due_at(grace_s)

    def overdue(self, now: float) -> list[Work]:
        with self._lock:
            return self._schedule.overdue(now)

    def stuck(self, now: float, grace_s: float) -> Work | None:
        with self._lock:
            return self._schedule.stuck(now, grace_s)
