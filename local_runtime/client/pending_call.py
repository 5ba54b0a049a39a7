"""A call that a worker has, as its caller waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, Protocol

import msgspec

from local_runtime.protocol.events import Cancel, Credit, Done, Head, Output
from local_runtime.protocol.wire import STREAM_WINDOW


class Unanswered(msgspec.Struct, frozen=True):
    """Why a call has an end though its worker gave no answer. ``message`` is fit for the caller,
    ``detail`` for the operator."""

    kind: Literal["died", "timeout", "cancelled"]
    message: str
    detail: str = ""


CANCELLED = Unanswered("cancelled", "the call was cancelled")
LATE = Unanswered("timeout", "the call was not answered within its deadline")

Answer = Done | Unanswered


class WaitProgress(Protocol):
    """Where a caller reads until when its call was seen to wait."""

    queued_until: float
    """On the monotonic scale of the connection's clock."""


class CallConnection(Protocol):
    """What a call asks of the connection by which it went: ``connection.WorkerConnection``."""

    name: str
    loop: asyncio.AbstractEventLoop
    calls: dict[int, PendingCall]

    def send(self, event: Cancel | Credit, /) -> None:
        """Sends the message to the worker; nothing where it is dead."""
        ...


class PendingCall:
    """A call that a worker has and has not answered."""

    __slots__ = (
        "_late_waiter",
        "answer",
        "call_id",
        "cold_s",
        "connection",
        "deadline",
        "head",
        "id",
        "late_answer",
        "left",
        "model",
        "outputs",
        "progress",
        "uncredited",
        "waiter",
    )

    def __init__(
        self, connection: CallConnection, id: int, call_id: str, deadline: float, stream: bool
    ) -> None:
        """``id`` numbers it within the connection, ``call_id`` is its caller's own; ``deadline``
        is an instant of the connection's clock; ``stream``: it is ready for outputs."""
        self.connection = connection
        self.id = id
        self.call_id = call_id
        self.deadline = deadline
        self.outputs: deque[Output] | None = deque() if stream else None
        self.head: Head | None = None
        """What comes before the bytes of a raw answer."""
        self.uncredited = 0
        """Bytes that were taken since the worker last got credit."""
        self.waiter: asyncio.Future[None] | None = None
        self.answer: Answer | None = None
        self.model = ""
        """The one of its worker's models that it uses or waits for; "" once it has ended there."""
        self.progress: WaitProgress | None = None
        """Written while it waits for its model."""
        self.cold_s = 0.0
        """Seconds that it waited for a worker before it was sent."""
        self.left = False
        """Its caller has gone; it is kept a little while for its usage."""
        self.late_answer: Done | None = None
        """What the worker said after that."""
        self._late_waiter: asyncio.Future[None] | None = None

    @property
    def lost(self) -> bool:
        """Its worker died before it had said anything of it."""
        answer = self.answer
        return type(answer) is Unanswered and answer.kind == "died" and not self.outputs

    async def wait(self) -> None:
        """Waits until there is an output or the answer; leaves nothing behind when cancelled."""
        if self.answer is None and not self.outputs:
            self.waiter = self.connection.loop.create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None

    def wake(self) -> None:
        """Lets ``wait`` return: there is something new."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def take(self) -> Output:
        """Takes the next output, of which there must be one; gives the worker credit for it."""
        assert self.outputs is not None
        output = self.outputs.popleft()
        self.uncredited += len(output.data)
        if self.uncredited >= STREAM_WINDOW // 2:
            self.connection.send(Credit(self.id, self.uncredited))
            self.uncredited = 0
        return output

    def leave(self, keep_until: float) -> None:
        """Tells the worker, unless it has answered, that nobody waits for the answer any more; what
        it used may still be said until ``keep_until``."""
        if not self.left and self.answer is None:
            self.connection.send(Cancel(self.id))
            self.deadline = keep_until
        self.left = True

    def give_up(self, reason: Unanswered, keep_until: float) -> None:
        """Ends the call without waiting for the worker."""
        self.leave(keep_until)
        self.answer = reason
        self.wake()

    async def wait_late(self) -> Done | None:
        """Waits for what the worker says of a call that was left: what it used. None when it says
        nothing in time."""
        if self.late_answer is None and self.id in self.connection.calls:
            self._late_waiter = self._late_waiter or self.connection.loop.create_future()
            await asyncio.shield(self._late_waiter)
        return self.late_answer

    def answer_late(self, done: Done | None) -> None:
        """Keeps what the worker said of a call that was left; None: it says no more."""
        self.late_answer = done or self.late_answer
        if self._late_waiter is not None and not self._late_waiter.done():
            self._late_waiter.set_result(None)
