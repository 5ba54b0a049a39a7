"""The loop around a stepper: sequences come and go between two of its steps. Runs in the model's
thread, which other handlers have between two steps."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from local_runtime.protocol.events import Done, Piece
from local_runtime.worker.continuous_batch import ContinuousBatch, Member, events_of
from local_runtime.worker.jobs import Job
from local_runtime.worker.results import cancelled


class Outlet(Protocol):
    """Where the items of streams go. Called in the model's thread."""

    def output(self, job: Job, event: Piece) -> None:
        """Sends an item of a stream."""
        ...


class LoopCall:
    """A call in the loop: waiting, then a member of the batch."""

    __slots__ = ("ending", "job", "member", "pause")

    def __init__(self, job: Job, ending: asyncio.Future[Done]) -> None:
        self.job = job
        self.ending = ending
        self.member: Member | None = None
        self.pause: asyncio.Future[None] | None = None
        """Its reader has given no credit; done when that has changed."""

    @property
    def left(self) -> bool:
        """Nobody waits for its answer."""
        return self.ending.done() or self.job.cancellation.is_set()


class StepperLoop:
    """At most ``size`` sequences under way, stepped together for as long as there are any.

    A slow reader of a stream leaves its sequence out of the steps, and keeps its place. Newcomers
    are admitted between two steps, one at least, and more for no longer than the last step took:
    those under way are never held up for longer than that and one admission.
    """

    def __init__(self, batch: ContinuousBatch, outlet: Outlet, *, size: int, limit: int) -> None:
        self._batch = batch
        self._outlet = outlet
        self._size = size
        self._limit = limit
        self._waiting: deque[LoopCall] = deque()
        self._active: list[LoopCall] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def run(self, job: Job) -> Done:
        """The call's end. Cancelling this takes its sequence out before the next step."""
        loop = asyncio.get_running_loop()
        call = LoopCall(job, loop.create_future())
        self._waiting.append(call)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._loop())
        self._changed.set()
        try:
            return await call.ending
        finally:
            self._changed.set()

    async def _loop(self) -> None:
        while self._waiting or self._active:
            self._changed.clear()
            self._drop()
            self._admit()
            ready = [call for call in self._active if self._is_ready(call)]
            if ready:
                self._step(ready)
                await asyncio.sleep(0)
            elif self._active:
                await self._changed.wait()

    def _is_ready(self, call: LoopCall) -> bool:
        if call.pause is not None and call.pause.done():
            self._check_window(call)
        return call.pause is None

    def _check_window(self, call: LoopCall) -> None:
        """Pauses the sequence until its reader gives credit; or not, where there is room."""
        call.pause = call.job.window.closed()
        if call.pause is not None:
            call.pause.add_done_callback(lambda _: self._changed.set())

    def _drop(self) -> None:
        """Nobody is stepped for a caller who has left."""
        for call in [call for call in self._active if call.left]:
            self._end(call, cancelled(call.job.run.id))

    def _admit(self) -> None:
        begun = self._batch.now
        while self._waiting and len(self._active) < self._size:
            self._start(self._waiting.popleft())
            if self._batch.now - begun >= self._batch.last_step_s:
                return

    def _start(self, call: LoopCall) -> None:
        if call.left:
            _finish(call, cancelled(call.job.run.id))
            return
        admitted = self._batch.admit(call.job)
        if isinstance(admitted, Done):
            _finish(call, admitted)
        else:
            call.member = admitted
            self._active.append(call)

    def _step(self, calls: list[LoopCall]) -> None:
        members = [call.member for call in calls if call.member is not None]
        outcomes = self._batch.step(members)
        for call, member, outcome in zip(calls, members, outcomes, strict=True):
            outputs, done = events_of(member, outcome, self._limit)
            for output in outputs:
                self._outlet.output(call.job, output)
            if outputs and not call.job.window.spend(sum(len(one.data) for one in outputs)):
                self._check_window(call)
            if done is not None:
                self._end(call, done)

    def _end(self, call: LoopCall, done: Done) -> None:
        assert call.member is not None
        self._active.remove(call)
        _finish(call, self._batch.end(call.member, done))


def _finish(call: LoopCall, done: Done) -> None:
    if not call.ending.done():
        call.ending.set_result(done)
