"""The loop around a stepper: sequences come and go between two of its steps. Runs in the model's
thread, which other handlers have between two steps."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from local_runtime.protocol.events import Done, Piece
from local_runtime.worker.continuous_batch import ContinuousBatch, Member, heard
from local_runtime.worker.jobs import Job
from local_runtime.worker.results import cancelled


class Outlet(Protocol):
    """Where the items of streams go. Called in the model's thread."""

    def output(self, job: Job, event: Piece) -> None: ...


class LoopCall:
    """A call in the loop: waiting, then a member of the company."""

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

    A slow reader of a stream leaves its sequence out of the steps, and keeps its seat. Newcomers
    are admitted between two steps, one at least, and more for no longer than the last step took:
    those under way are never held up for longer than that and one admission.
    """

    def __init__(self, company: ContinuousBatch, outlet: Outlet, *, size: int, limit: int) -> None:
        self._company = company
        self._outlet = outlet
        self._size = size
        self._limit = limit
        self._waiting: deque[LoopCall] = deque()
        self._seats: list[LoopCall] = []
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def run(self, job: Job) -> Done:
        """The call's end. Cancelling this takes its sequence out before the next step."""
        loop = asyncio.get_running_loop()
        seat = LoopCall(job, loop.create_future())
        self._waiting.append(seat)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._loop())
        self._changed.set()
        try:
            return await seat.ending
        finally:
            self._changed.set()

    async def _loop(self) -> None:
        while self._waiting or self._seats:
            self._changed.clear()
            self._drop()
            self._admit()
            ready = [seat for seat in self._seats if self._is_ready(seat)]
            if ready:
                self._step(ready)
                await asyncio.sleep(0)
            elif self._seats:
                await self._changed.wait()

    def _is_ready(self, seat: LoopCall) -> bool:
        if seat.pause is not None and seat.pause.done():
            self._mind_the_window(seat)
        return seat.pause is None

    def _mind_the_window(self, seat: LoopCall) -> None:
        """Pauses the sequence until its reader gives credit; or not, where there is room."""
        seat.pause = seat.job.window.closed()
        if seat.pause is not None:
            seat.pause.add_done_callback(lambda _: self._changed.set())

    def _drop(self) -> None:
        """Nobody is stepped for a caller who has left."""
        for seat in [seat for seat in self._seats if seat.left]:
            self._end(seat, cancelled(seat.job.run.id))

    def _admit(self) -> None:
        begun = self._company.now
        while self._waiting and len(self._seats) < self._size:
            self._seat(self._waiting.popleft())
            if self._company.now - begun >= self._company.last_step_s:
                return

    def _seat(self, seat: LoopCall) -> None:
        if seat.left:
            _tell(seat, cancelled(seat.job.run.id))
            return
        admitted = self._company.admit(seat.job)
        if isinstance(admitted, Done):
            _tell(seat, admitted)
        else:
            seat.member = admitted
            self._seats.append(seat)

    def _step(self, seats: list[LoopCall]) -> None:
        members = [seat.member for seat in seats if seat.member is not None]
        outcomes = self._company.step(members)
        for seat, member, outcome in zip(seats, members, outcomes, strict=True):
            outputs, done = heard(member, outcome, self._limit)
            for output in outputs:
                self._outlet.output(seat.job, output)
            if outputs and not seat.job.window.spend(sum(len(one.data) for one in outputs)):
                self._mind_the_window(seat)
            if done is not None:
                self._end(seat, done)

    def _end(self, seat: LoopCall, done: Done) -> None:
        assert seat.member is not None
        self._seats.remove(seat)
        _tell(seat, self._company.end(seat.member, done))


def _tell(seat: LoopCall, done: Done) -> None:
    if not seat.ending.done():
        seat.ending.set_result(done)
