"""The socket's side of a worker: takes calls, keeps the schedule, answers. Runs in the thread of
the socket, which no handler can hold up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from local_runtime.app.runtime import Handler, Runtime
from local_runtime.protocol.events import (
    Cancel,
    Credit,
    Done,
    FailureKind,
    Heartbeat,
    Memory,
    Piece,
    Ping,
    Ready,
    Respond,
    Run,
    Slots,
    Stock,
    ToWorker,
)
from local_runtime.protocol.wire import MAX_FRAME, FramedConnection
from local_runtime.status import Status
from local_runtime.webhooks import Webhooks
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.models.admission import ModelAdmission
from local_runtime.worker.models.cache import Step
from local_runtime.worker.peer import Peer
from local_runtime.worker.results import encode, noted, prepared
from local_runtime.worker.shared_schedule import LockedSchedule


class Runner(Protocol):
    """What runs works in another thread, and reports to ``output`` and ``finished``."""

    def begin(self, work: Work) -> None: ...

    def cancel(self, work: Work) -> None: ...


class WorkerModels(msgspec.Struct, frozen=True):
    """The models of an app that declares some."""

    lending: ModelAdmission
    begin: Callable[[Sequence[Step]], None]
    """Carries out steps in another thread, which reports to ``loaded`` and ``load_failed``."""


class WorkerCalls:
    """The calls of a worker that is ready: queued, running, answered.

    ``give_up`` is called with a reason when a handler never came back: the process must end.
    """

    def __init__(
        self,
        *,
        app: Runtime,
        ready: Ready,
        runner: Runner,
        webhooks: Webhooks,
        give_up: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        limit: int = MAX_FRAME,
        grace_s: float,
        models: WorkerModels | None = None,
    ) -> None:
        self._models = models
        self._stock: Stock | None = models.lending.stock() if models else None
        self._handlers = app.handlers
        self._ready = ready
        self._runner = runner
        self._webhooks = webhooks
        self._give_up = give_up
        self._clock = clock
        self._limit = limit
        self._grace_s = grace_s
        self._turns = LockedSchedule(app.handlers.values())
        self._status = Status().update("ready", clock(), slots=ready.slots)
        self._slots = self._offered = ready.slots
        self._peers: set[Peer] = set()
        self._memory: Memory | None = None
        self._timer: tuple[float, asyncio.TimerHandle] | None = None

    @property
    def idle(self) -> bool:
        waiting = self._models is not None and not self._models.lending.idle
        unsaid = bool(self._status.running)  # a work that has ended may not be reported yet
        return self._turns.idle and not unsaid and self._webhooks.idle and not waiting

    def accept(self) -> FramedConnection[ToWorker]:
        """The protocol of a new connection."""
        return Peer(self, self._limit).connection

    def heartbeat(self) -> Heartbeat:
        status = self._status
        return Heartbeat(len(status.running), self._turns.queued, status.sequence_number)

    def occupies(self, memory: Memory) -> None:
        """Tells every peer what the process occupies, if that has changed."""
        if memory != self._memory:
            self._memory = memory
            for peer in self._peers:
                peer.connection.send(memory)

    def tell_load(self) -> None:
        """Tells every peer how much of the work here is others', where that has changed; too dear
        to be done with each call."""
        calls = sum(len(peer.jobs) for peer in self._peers)
        for peer in self._peers:
            peer.tell(self._slots, calls)

    def close(self) -> None:
        """Takes no new calls; those under way go on."""
        self._offer(0)

    # --- what peers say ------------------------------------------------------------------------

    def join(self, peer: Peer) -> None:
        self._peers.add(peer)
        peer.connection.send(msgspec.structs.replace(self._ready, slots=self._slots))
        peer.told = Slots(self._slots)
        for told in (self._memory, self._stock):
            if told is not None:
                peer.connection.send(told)

    def leave(self, peer: Peer, error: Exception | None) -> None:
        self._peers.discard(peer)
        for job in list(peer.jobs.values()):
            self._drop(job)
        peer.jobs.clear()

    def receive(self, peer: Peer, event: ToWorker) -> None:
        if isinstance(event, Run):
            self._run(peer, event)
        elif isinstance(event, Credit):
            if event.id in peer.jobs:
                peer.jobs[event.id].window.grant(event.size)
        elif isinstance(event, Cancel):
            self._cancel(peer, event.id)
        else:
            self._ping(peer, event)

    def _run(self, peer: Peer, run: Run) -> None:
        handler = self._handlers.get(run.route)
        if handler is None:
            text = f"the app has no handler for {run.route}"
            peer.answer(Done(run.id, False, kind="unsupported", message=text))
        elif handler.background and not run.direct:
            self._run_later(peer, run, handler)
        else:
            answer: Respond = peer.answer
            if handler.background:
                answer = partial(_both, peer.answer, self._webhooks.answer(run))
            peer.jobs[run.id] = job = self._submit(run, handler, answer)
            if not job.open:
                del peer.jobs[run.id]

    def _run_later(self, peer: Peer, run: Run, handler: Handler) -> None:
        """A refusal is the caller's to hear; once the job is promised, all is the webhook's."""
        job = self._submit(run, handler, peer.answer)
        if job.open:
            job.answer = self._webhooks.answer(run)
            peer.answer(Done(run.id, True, encode({"job_id": run.request})))

    def _ping(self, peer: Peer, ping: Ping) -> None:
        for handler in self._handlers.values():
            wanted = handler.route == ping.route if ping.route else not handler.background
            if wanted and handler.warmup is not None:
                run = Run(ping.id, handler.route, encode(handler.warmup))
                answer = partial(_without_data, peer.answer)
                peer.jobs[run.id] = job = self._submit(run, handler, answer)
                if not job.open:
                    del peer.jobs[run.id]
                return
        peer.answer(Done(ping.id, True))

    def _submit(self, run: Run, handler: Handler, answer: Respond) -> Job:
        """Queues the call; the job comes back closed when that could not be done."""
        now = self._clock()
        job = Job(run, handler, now, answer)
        refusal = self._models.lending.ask(job, now) if handler.models and self._models else None
        if refusal is None and handler.batch is not None:
            refusal = prepared(job)
        waits = bool(handler.models) and not job.lent
        if refusal is None and (waits or self._turns.submit(job, now)):
            if handler.models or not self._turns.blocked(job):
                self._pump(now)
        else:
            self._refuse(job, refusal or _overloaded(run.id))
        return job

    def _refuse(self, job: Job, refusal: Done) -> None:
        job.open = False
        if job.model and self._models is not None and not self._models.lending.withdraw(job):
            self._models.lending.give_back(job)
        job.answer(noted(refusal))

    def _cancel(self, peer: Peer, id: int) -> None:
        job = peer.jobs.get(id)
        if job is not None:
            self._end(job, "cancelled", "the call was cancelled")
            self._drop(job)

    def _drop(self, job: Job) -> None:
        """Nobody waits for the job: takes it back, or tells its handler."""
        job.close()
        lending = self._models.lending if job.model and self._models else None
        if lending is not None and lending.withdraw(job):
            self._pump(self._clock())
            return
        if self._turns.withdraw(job):
            if lending is not None:
                lending.give_back(job)
            return
        if job.work is None:
            return
        if not any(other.open for other in job.work.jobs):
            self._runner.cancel(job.work)

    # --- what the runner says ------------------------------------------------------------------

    def output(self, job: Job, event: Piece) -> None:
        if job.open:
            job.answer(event)

    def after(self, work: Work) -> Work | None:
        """What the model's thread, whose question this is, runs next; it must do so, and then
        report the end of ``work`` to ``finished``."""
        return self._turns.after(work, self._clock())

    def finished(self, work: Work, results: list[Done], following: Work | None) -> None:
        """``following`` is what ``after`` said."""
        now = self._clock()
        self._status = self._status.update("ended", now, at=work.started)
        if following is not None:
            self._status = self._status.update("begun", following.started)
        if work.handler.models and self._models is not None:
            for job in work.jobs:
                self._models.lending.give_back(job)
        self._pump(now)  # before the answers: a device that waits for them is idle
        for job, done in zip(work.jobs, results, strict=True):
            if job.open:
                job.open = False
                job.answer(_told_cold(done, job.cold_s) if job.cold_s else done)
        if work.expired and not self._turns.late:
            self._offer(self._ready.slots)

    # --- what comes and goes -------------------------------------------------------------------

    def loaded(self, name: str, seconds: float) -> None:
        """A model is there."""
        assert self._models is not None
        self._models.lending.loaded(name, seconds)
        self._pump(self._clock())

    def load_failed(self, name: str, message: str) -> None:
        assert self._models is not None
        now = self._clock()
        for job, done in self._models.lending.failed(name, message, now):
            job.open = False
            job.answer(done)
        self._pump(now)

    def _lend(self, models: WorkerModels, now: float) -> None:
        """Queues the calls whose models have come, and begins what brings the next."""
        self._queue(models.lending.released(now), now)  # first: what is in use is not evicted
        if steps := models.lending.steps(now):
            models.begin(steps)
        self._queue(models.lending.released(now), now)
        self._tell_slots()
        stock = models.lending.stock()
        if stock != self._stock:
            self._stock = stock
            for peer in self._peers:
                peer.connection.send(stock)

    def _queue(self, jobs: list[Job], now: float) -> None:
        for job in jobs:
            if not self._turns.submit(job, now):
                self._refuse(job, _overloaded(job.run.id))

    # --- what time says ------------------------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Starts what may start, ends what is late, and sets the timer for what comes next."""
        for work in self._turns.overdue(now):
            self._expire(work)
        if (stuck := self._turns.stuck(now, self._grace_s)) is not None:
            handler = stuck.handler
            self._give_up(f"the handler of {handler.route} did not return after its time-out")
            return
        if self._models is not None:
            if (late := self._models.lending.overdue(now)) is not None:
                self._give_up(f"the model {late} was not loaded within its time-out")
                return
            if self._models.lending.restless:
                self._lend(self._models, now)
        while (next_work := self._turns.take(now)) is not None:
            self._status = self._status.update("begun", now)
            self._runner.begin(next_work)
        self._arm(now)

    def _arm(self, now: float) -> None:
        due = self._turns.due_at(self._grace_s)
        late = self._models.lending.due_at if self._models is not None else None
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

    def wake(self) -> None:
        """The timer has rung: does what is due."""
        self._timer = None
        self._pump(self._clock())

    def _expire(self, work: Work) -> None:
        limit = work.handler.timeout_s
        for job in work.jobs:
            if job.open:
                self._end(job, "timeout", f"the handler ran longer than its {limit:g} s")
            job.close()
        self._runner.cancel(work)
        if not work.handler.stepper:  # whose other sequences go on
            self._offer(0)

    def _end(self, job: Job, kind: FailureKind, message: str) -> None:
        """Answers a job before its handler has come back."""
        now, work = self._clock(), job.work
        exec_s, gpu_s = work.share(now) if work else (0.0, 0.0)
        parked = bool(job.model) and not job.lent and work is None
        waited = (work.started if work else now) - job.arrived
        done = Done(
            job.run.id,
            False,
            kind=kind,
            message=message,
            queue_s=0.0 if parked else waited,
            cold_s=waited if parked else job.cold_s,
            exec_s=exec_s,
            gpu_s=gpu_s,
            batch=len(work.jobs) if work else 1,
        )
        job.open = False
        job.answer(job.counted(done) if job.meter is None else job.meter.on(done))

    def _offer(self, slots: int) -> None:
        self._offered = slots
        self._tell_slots()

    def _tell_slots(self) -> None:
        """A call that waits for a model occupies no slot: others may run beside it."""
        waiting = self._models.lending.waiting if self._models is not None else 0
        slots = self._offered + waiting if self._offered else 0
        if slots != self._slots:
            self._slots = slots
            self.tell_load()


def _both(first: Respond, second: Respond, event: Piece | Done) -> None:
    first(event)
    second(event)


def _told_cold(done: Done, cold_s: float) -> Done:
    return msgspec.structs.replace(done, cold_s=cold_s)


def _without_data(answer: Respond, event: Piece | Done) -> None:
    if isinstance(event, Done):
        answer(msgspec.structs.replace(event, data=b""))


def _overloaded(id: int) -> Done:
    return Done(id, False, kind="overloaded", message="the worker's queue is full")
