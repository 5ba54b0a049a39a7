"""The socket's side of a worker: takes what its callers say, and answers. Runs in the thread of the
socket, which no handler can hold up."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec

from local_runtime.app.runtime import Handler, Runtime
from local_runtime.protocol.events import (
    Cancel,
    Credit,
    Done,
    Head,
    Heartbeat,
    Mapped,
    Piece,
    Ping,
    Ready,
    Respond,
    Run,
    SharedRun,
    ToWorker,
)
from local_runtime.protocol.wire import MAX_FRAME, FramedConnection
from local_runtime.webhooks import Webhooks
from local_runtime.worker.dispatcher import JobDispatcher, Runner, WorkerModels
from local_runtime.worker.no_models import NO_MODELS
from local_runtime.worker.peer import Peer, Peers
from local_runtime.worker.results import encode


class WorkerCalls:
    """The calls of a worker that is ready: each becomes a job of ``jobs``, which runs and answers
    it. ``peers`` are who sends them.

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
        models: WorkerModels = NO_MODELS,
    ) -> None:
        """``limit`` bounds a frame, in bytes; ``grace_s`` is how many seconds a handler may take
        to come back after its time-out; ``models`` are those of an app that declares some."""
        self.peers = Peers(ready, models.status())
        self.jobs = JobDispatcher(
            app.handlers.values(),
            runner=runner,
            models=models,
            peers=self.peers,
            slots=ready.slots,
            give_up=give_up,
            clock=clock,
            grace_s=grace_s,
        )
        self._handlers = app.handlers
        self._says_started = ready.says_started
        self._webhooks = webhooks
        self._limit = limit

    @property
    def idle(self) -> bool:
        """No call is under way, and no webhook is still to be called."""
        return self.jobs.idle and self._webhooks.idle

    def accept(self) -> FramedConnection[ToWorker]:
        """The protocol of a new connection."""
        return Peer(
            opened=self.peers.add, receive=self._receive, lost=self._lost, limit=self._limit
        ).connection

    def heartbeat(self) -> Heartbeat:
        """The sign of life for the supervisor, with how much there is to do."""
        return self.jobs.heartbeat()

    def close(self) -> None:
        """Takes no new calls; those under way go on."""
        self.jobs.offer(0)

    def _lost(self, peer: Peer, error: Exception | None) -> None:
        self.peers.remove(peer)
        for job in list(peer.jobs.values()):
            if job.run.follows and job.handler.background:
                job.answer = self._webhooks.answer(job.run)  # it was promised: it goes on
            else:
                self.jobs.drop(job)
        peer.jobs.clear()

    def _receive(self, peer: Peer, event: ToWorker) -> None:
        if isinstance(event, Run):
            self._run(peer, event)
        elif isinstance(event, Credit):
            if event.id in peer.jobs:
                peer.jobs[event.id].window.grant(event.size)
        elif isinstance(event, Cancel):
            if event.id in peer.jobs:
                self.jobs.cancel(peer.jobs[event.id])
        elif isinstance(event, SharedRun):
            self._run(peer, peer.run_of(event))
        elif isinstance(event, Mapped):
            peer.connection.memory.agreed()
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
            self._submit(peer, run, handler, answer)

    def _run_later(self, peer: Peer, run: Run, handler: Handler) -> None:
        """A refusal goes to the caller; once the job is promised, all is the webhook's, and the
        end, without the result, also the caller's where it waits for that."""
        job = self.jobs.submit(msgspec.structs.replace(run, stream=False), handler, peer.answer)
        if not job.open:
            return
        job.answer = self._webhooks.answer(run)
        if not run.follows:
            peer.answer(Done(run.id, True, encode({"job_id": run.request})))
            return
        peer.jobs[run.id] = job
        job.answer = partial(_both, partial(_without_data, peer.answer), job.answer)
        peer.answer(Head(run.id, 200 if self._says_started else 202))

    def _ping(self, peer: Peer, ping: Ping) -> None:
        for handler in self._handlers.values():
            wanted = handler.route == ping.route if ping.route else not handler.background
            if wanted and handler.warmup is not None:
                run = Run(ping.id, handler.route, encode(handler.warmup))
                self._submit(peer, run, handler, partial(_without_data, peer.answer))
                return
        peer.answer(Done(ping.id, True))

    def _submit(self, peer: Peer, run: Run, handler: Handler, answer: Respond) -> None:
        peer.jobs[run.id] = job = self.jobs.submit(run, handler, answer)
        if not job.open:
            del peer.jobs[run.id]


def _both(first: Respond, second: Respond, event: Piece | Done) -> None:
    first(event)
    second(event)


def _without_data(answer: Respond, event: Piece | Done) -> None:
    if isinstance(event, Done):
        answer(msgspec.structs.replace(event, data=b""))
