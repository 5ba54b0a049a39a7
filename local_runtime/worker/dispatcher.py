"""Jobs from their submission to their answer: they wait for models and for the device, run, and are
ended when they are late. Runs in the thread of the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import (
    CacheStatus,
    Done,
    FailureKind,
    Heartbeat,
    Piece,
    Respond,
    Run,
)
from local_runtime.protocol.wire import ENDS_LATER_S
from local_runtime.status import Status
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.peer import Peers
from local_runtime.worker.requests import prepare
from local_runtime.worker.results import logged
from local_runtime.worker.shared_schedule import LockedSchedule


class Runner(Protocol):
    """What runs works in another thread, and reports to ``output`` and ``finished``."""

    def begin(self, work: Work) -> None:
        """Starts the work, and returns at once."""
        ...

    def cancel(self, work: Work) -> None:
        """Nobody waits for the work any more."""
        ...


class WorkerModels(Protocol):
    """The models that calls need: ``ModelAdmission``, or ``NoModels`` where there are none."""

    @property
    def waiting(self) -> int:
        """Calls that wait for models."""
        ...

    @property
    def has_work(self) -> bool:
        """There is something to admit, to load or to report to peers."""
        ...

    @property
    def due_at(self) -> float | None:
        """When the load that goes on is too late; None while none goes on."""
        ...

    def admit(self, job: Job, now: float) -> Done | None:
        """Gives a new call its model, as ``job.has_model`` says, or lets it wait; a Done where it
        is refused."""
        ...

    def admitted(self, now: float) -> list[Job]:
        """Takes the calls that waited and have their models now, in the order of their arrival."""
        ...

    def begin_load(self, now: float) -> None:
        """Begins what brings the next model in, unless a load goes on or none is wanted."""
        ...

    def withdraw(self, job: Job) -> bool:
        """Lets a call wait no more; False when it did not wait."""
        ...

    def release(self, job: Job) -> None:
        """The call has ended: it uses its model no more, if it had one."""
        ...

    def loaded(self, name: str, seconds: float) -> None:
        """The load that went on has ended well, after so many seconds."""
        ...

    def failed(self, name: str, message: str, now: float) -> list[tuple[Job, Done]]:
        """The load that went on has ended without a model: the calls that waited for it, and their
        answers."""
        ...

    def overdue(self, now: float) -> str | None:
        """The model whose load has taken too long; None while none has."""
        ...

    def status(self) -> CacheStatus | None:
        """Which models are there, for peers; None where there are none."""
        ...


class JobDispatcher:
    """The jobs of one worker: waiting for a model, queued, running, answered. ``peers`` are sent
    how many may run at once, and which models are there.

    ``give_up`` is called with a reason when a handler or a load never came back: the process must
    end.
    """

    def __init__(
        self,
        handlers: Iterable[Handler],
        *,
        runner: Runner,
        models: WorkerModels,
        peers: Peers,
        slots: int,
        give_up: Callable[[str], None],
        clock: Callable[[], float],
        grace_s: float,
    ) -> None:
        """``slots``: jobs that may run at once. ``grace_s``: seconds that a handler may take to
        come back after its time-out."""
        self._runner = runner
        self._models = models
        self._peers = peers
        self._all_slots = self._offered = slots
        self._give_up = give_up
        self._clock = clock
        self._grace_s = grace_s
        self._schedule = LockedSchedule(handlers)
        self._status = Status().update("ready", clock(), slots=slots)
        self._timer: tuple[float, asyncio.TimerHandle] | None = None

    @property
    def idle(self) -> bool:
        """Nothing waits or runs, and all that has ended is reported."""
        return self._schedule.idle and not self._status.running and not self._models.waiting

    def heartbeat(self) -> Heartbeat:
        """How many jobs run and wait, and how many began since the start."""
        status = self._status
        return Heartbeat(len(status.running), self._schedule.queued, status.sequence_number)

    def offer(self, slots: int) -> None:
        """So many jobs may run at once from now on; with 0 callers send no more."""
        self._offered = slots
        self._send_slots()

    def submit(self, run: Run, handler: Handler, answer: Respond) -> Job:
        """Queues the call; the job comes back closed when that could not be done."""
        now = self._clock()
        job = Job(run, handler, now, answer)
        refusal = self._models.admit(job, now) if handler.models else None
        if refusal is None and handler.batch is not None:
            refusal = prepare(job)
        if refusal is None and not handler.models and self._schedule.submit_blocked(job, now):
            return job
        waits = bool(handler.models) and not job.has_model
        if refusal is None and (waits or self._schedule.submit(job, now)):
            self._pump(now)
        else:
            self._refuse(job, refusal or _overloaded(run.id))
        return job

    def cancel(self, job: Job) -> None:
        """Answers the job, and drops it."""
        self._end(job, "cancelled", "the call was cancelled")
        self.drop(job)

    def drop(self, job: Job) -> None:
        """Nobody waits for the job: takes it back, or cancels it where it runs."""
        job.close()
        if self._models.withdraw(job):
            self._pump(self._clock())
        elif self._schedule.withdraw(job):
            self._models.release(job)
        elif (work := job.work) is not None and not any(other.open for other in work.jobs):
            if not work.expired and work.ends_at - self._clock() <= 2 * ENDS_LATER_S:
                work.expired = True
                self._expire(work)  # its caller has given it up for being late
                self._arm(self._clock())
            else:
                self._runner.cancel(work)

    def _refuse(self, job: Job, refusal: Done) -> None:
        job.open = False
        if not self._models.withdraw(job):
            self._models.release(job)
        job.answer(logged(refusal))

    # --- what the runner reports ---------------------------------------------------------------

    def output(self, job: Job, event: Piece) -> None:
        """Sends an item of a stream, unless its caller has left."""
        if job.open:
            job.answer(event)

    def after(self, work: Work) -> Work | None:
        """What the model's thread, which calls this, runs next; it must do so, and then report the
        end of ``work`` to ``finished``."""
        return self._schedule.after(work, self._clock())

    def finished(self, work: Work, results: list[Done], following: Work | None) -> None:
        """Answers the jobs of the work, ``results`` in their order. ``following`` is what
        ``after`` returned."""
        now = self._clock()
        self._status = self._status.update("ended", now, at=work.started)
        if following is not None:
            self._status = self._status.update("begun", following.started)
        if work.handler.models:
            for job in work.jobs:
                self._models.release(job)
        self._pump(now)  # before the answers: a device that waits for them is idle
        for job, done in zip(work.jobs, results, strict=True):
            if job.open:
                job.open = False
                job.answer(_with_cold_s(done, job.cold_s) if job.cold_s else done)
        if work.expired and not self._schedule.late:
            self.offer(self._all_slots)

    # --- models that come and go ---------------------------------------------------------------

    def loaded(self, name: str, seconds: float) -> None:
        """A model is there, after a load of so many seconds."""
        self._models.loaded(name, seconds)
        self._pump(self._clock())

    def load_failed(self, name: str, message: str) -> None:
        """A load has ended without a model: fails the calls that waited for it."""
        now = self._clock()
        for job, done in self._models.failed(name, message, now):
            job.open = False
            job.answer(done)
        self._pump(now)

    def _admit(self, now: float) -> None:
        """Queues the calls whose models have come, and begins what brings the next."""
        self._queue(self._models.admitted(now), now)  # first: what is in use is not evicted
        self._models.begin_load(now)
        self._queue(self._models.admitted(now), now)
        self._send_slots()
        self._peers.send_cache_status(self._models.status())

    def _queue(self, jobs: list[Job], now: float) -> None:
        for job in jobs:
            if not self._schedule.submit(job, now):
                self._refuse(job, _overloaded(job.run.id))

    # --- time ----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Does what is due; the timer calls it."""
        self._timer = None
        self._pump(self._clock())

    def _pump(self, now: float) -> None:
        """Starts what may start, ends what is late, and sets the timer for what comes next."""
        for work in self._schedule.overdue(now):
            self._expire(work)
        if (stuck := self._schedule.stuck(now, self._grace_s)) is not None:
            handler = stuck.handler
            self._give_up(f"the handler of {handler.route} did not return after its time-out")
            return
        if (late := self._models.overdue(now)) is not None:
            self._give_up(f"the model {late} was not loaded within its time-out")
            return
        if self._models.has_work:
            self._admit(now)
        while (next_work := self._schedule.take(now)) is not None:
            self._status = self._status.update("begun", now)
            self._runner.begin(next_work)
        self._arm(now)

    def _arm(self, now: float) -> None:
        due, late = self._schedule.due_at(self._grace_s), self._models.due_at
        if late is not None:
            due = late if due is None else min(due, late)
        if self._timer is not None:
            if due is not None and self._timer[0] <= due:
                return
            self._timer[1].cancel()
            self._timer = None
        if due is not None:
            handle = asyncio.get_running_loop().call_later(max(0.0, due - now), self.wake)
            self._timer = (due, handle)

    def _expire(self, work: Work) -> None:
        limit = max(0.0, work.ends_at - work.started)
        for job in work.jobs:
            if job.open:
                self._end(job, "timeout", f"the handler ran longer than its {limit:g} s")
            job.close()
        self._runner.cancel(work)
        if not work.handler.stepper:  # whose other sequences go on
            self.offer(0)

    def _end(self, job: Job, kind: FailureKind, message: str) -> None:
        """Answers a job before its handler has come back."""
        now, work = self._clock(), job.work
        exec_s, gpu_s = work.share(now) if work else (0.0, 0.0)
        for_model = bool(job.model) and not job.has_model and work is None
        waited = (work.started if work else now) - job.arrived
        done = Done(
            job.run.id,
            False,
            kind=kind,
            message=message,
            queue_s=0.0 if for_model else waited,
            cold_s=waited if for_model else job.cold_s,
            exec_s=exec_s,
            gpu_s=gpu_s,
            batch=len(work.jobs) if work else 1,
        )
        job.open = False
        job.answer(job.counted(done) if job.meter is None else job.meter.on(done))

    def _send_slots(self) -> None:
        """A call that waits for a model occupies no slot: others may run beside it."""
        slots = self._offered + self._models.waiting if self._offered else 0
        self._peers.send_slots(slots)


def _with_cold_s(done: Done, cold_s: float) -> Done:
    return msgspec.structs.replace(done, cold_s=cold_s)


def _overloaded(id: int) -> Done:
    return Done(id, False, kind="overloaded", message="the worker's queue is full")
