"""The caller's end of one worker's socket: calls out, answers in, nothing per call but a future
and a row in a dictionary. The gateway and the app's own HTTP server both stand here."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from local_runtime.client.residency import LoadTimes, Residency
from local_runtime.client.start_times import stages_of, waited_for
from local_runtime.protocol.events import (
    PROTOCOL,
    Ahead,
    Cancel,
    Credit,
    Done,
    FromWorker,
    Head,
    Memory,
    Output,
    Ping,
    Ready,
    Run,
    Slots,
    Stock,
)
from local_runtime.protocol.wire import (
    STREAM_WINDOW,
    BrokenProtocol,
    FramedConnection,
    FrameTooLarge,
    decode_from_worker,
)


class Unanswered(msgspec.Struct, frozen=True):
    """Why a call has an end though its worker gave no answer. ``message`` is fit for the caller,
    ``detail`` for the operator."""

    kind: Literal["died", "timeout", "cancelled"]
    message: str
    detail: str = ""


CANCELLED = Unanswered("cancelled", "the call was cancelled")
LATE = Unanswered("timeout", "the call was not answered within its deadline")

Answer = Done | Unanswered


class Waits(Protocol):
    """Where a caller wants to read until when its call was seen to wait."""

    queued_until: float
    """On the monotonic scale of the link's clock."""


class PendingCall:
    """A call that a worker has and has not answered."""

    __slots__ = (
        "answer",
        "call_id",
        "cold_s",
        "course",
        "deadline",
        "head",
        "id",
        "left",
        "link",
        "model",
        "outputs",
        "settled",
        "settling",
        "unpaid",
        "waiter",
    )

    def __init__(
        self, link: WorkerConnection, id: int, call_id: str, deadline: float, stream: bool
    ) -> None:
        self.link = link
        self.id = id
        self.call_id = call_id
        self.deadline = deadline
        self.outputs: deque[Output] | None = deque() if stream else None
        self.head: Head | None = None
        """What comes before the bytes of a raw answer."""
        self.unpaid = 0
        self.waiter: asyncio.Future[None] | None = None
        self.answer: Answer | None = None
        self.model = ""
        """The one of its worker's models that it uses or waits for; "" once it has ended there."""
        self.course: Waits | None = None
        """Told while it waits for its model."""
        self.cold_s = 0.0
        """Seconds that it waited for a worker before it was sent."""
        self.left = False
        """Its caller has gone; it is kept a little while for its usage."""
        self.settled: Done | None = None
        """What the worker said after that."""
        self.settling: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until there is an output or the answer; leaves nothing behind when cancelled."""
        if self.answer is None and not self.outputs:
            self.waiter = self.link.loop.create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None

    @property
    def lost(self) -> bool:
        """Its worker died before it had said anything of it."""
        answer = self.answer
        return isinstance(answer, Unanswered) and answer.kind == "died" and not self.outputs

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def leave(self, keep_until: float) -> None:
        """Nobody waits for the answer any more: the worker is told, unless it has answered."""
        if not self.left and self.answer is None:
            self.link.send(Cancel(self.id))
            self.deadline = keep_until
        self.left = True

    def take(self) -> Output:
        """The next output, of which there must be one; the worker gets credit for it."""
        assert self.outputs is not None
        output = self.outputs.popleft()
        self.unpaid += len(output.data)
        if self.unpaid >= STREAM_WINDOW // 2:
            self.link.send(Credit(self.id, self.unpaid))
            self.unpaid = 0
        return output

    def give_up(self, reason: Unanswered, keep_until: float) -> None:
        """Ends the call without waiting for the worker."""
        self.leave(keep_until)
        self.answer = reason
        self.wake()

    async def last_word(self) -> Done | None:
        """What the worker says of a call that was left: what it used; None when it does not."""
        if self.settled is None and self.id in self.link.entries:
            self.settling = self.settling or self.link.loop.create_future()
            await asyncio.shield(self.settling)
        return self.settled

    def settle(self, done: Done | None) -> None:
        self.settled = done or self.settled
        if self.settling is not None and not self.settling.done():
            self.settling.set_result(None)


class WorkerConnection:
    """One connection to one worker. ``changed`` is called when it becomes ready, changes its
    slots, or is gone; ``times`` are those of all the app's workers."""

    def __init__(
        self,
        name: str,
        changed: Callable[[WorkerConnection], None],
        limit: int,
        now: Callable[[], float] = time.monotonic,
        times: LoadTimes | None = None,
    ) -> None:
        self.name = name
        self.loop = asyncio.get_running_loop()
        self.routes: frozenset[str] = frozenset()
        self.background: frozenset[str] = frozenset()
        self.models: dict[str, tuple[str, ...]] = {}
        """Of its background routes that take models: the names."""
        self.plain: dict[bytes, str] = {}
        """Routes whose calls are answered on their connection, as a request line spells them."""
        self.start_stages: dict[str, float] = {}
        """Seconds that each stage of its worker's start took: see ``starts``."""
        self.ahead: Ahead = "none"
        """What of that was done while the worker was a spare."""
        self.first_s: float | None = None
        """Seconds that its first call ran: what warm-up did not warm."""
        self.memory: Memory | None = None
        """What its worker occupies, as it last said."""
        self.stock: Stock | None = None
        """The models of its app, as its worker last said; None for an app that declares none."""
        self.holdings: Residency | None = None
        """The same, with what was sent there since."""
        self._now = now
        self._times = LoadTimes() if times is None else times
        self.slots = 0
        self.others = 0
        """Calls of other callers that its worker has, as it last said."""
        self.max_frame = limit
        """Bytes of the largest frame, as its worker says."""
        self.ready = False
        """Its worker has said what it serves."""
        self.gone = False
        self.why = ""
        """Why it is gone."""
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.dismissed = False
        """Its worker is to go, and gets no new calls."""
        self.entries: dict[int, PendingCall] = {}
        self._next_id = 0
        self._changed = changed
        self.connection: FramedConnection[FromWorker] = FramedConnection(
            decode=decode_from_worker, receive=self._greet, lost=self._lost, limit=limit
        )
        self.send = self.connection.send

    @property
    def start_s(self) -> float:
        """Seconds of its start that a caller would have waited for."""
        return waited_for(self.start_stages, self.ahead)

    def run(
        self, call_id: str, route: str, body: bytes, stream: bool, deadline: float, model: str = ""
    ) -> PendingCall:
        """Sends one call. Raises FrameTooLarge, and then nothing was sent."""
        self._next_id = id = self._next_id + 1
        self.send(Run(id, route, body, call_id, stream, model=model))
        entry = self.entries[id] = PendingCall(self, id, call_id, deadline, stream)
        if self.holdings is not None and model:
            entry.model = model
            self.holdings.lend(model, self._now())
        return entry

    def number(self) -> int:
        """The next call's, for whoever sends it and enters it himself."""
        self._next_id = id = self._next_id + 1
        return id

    def ask(self, event: Run | Ping, deadline: float) -> PendingCall:
        """Sends an event under the next number, ready for outputs. Raises FrameTooLarge."""
        id = self.number()
        self.send(msgspec.structs.replace(event, id=id))
        name = event.request if isinstance(event, Run) else ""
        entry = self.entries[id] = PendingCall(self, id, name, deadline, isinstance(event, Run))
        return entry

    def dismiss(self) -> None:
        """Offers no slots any more, whatever its worker says."""
        if not self.dismissed:
            self.dismissed, self.slots = True, 0
            self._changed(self)

    def sweep(self, now: float, keep_s: float) -> None:
        """Fails the calls that are past their deadline, forgets those that were left, and says of
        those whose models are still to come that they wait."""
        late = [entry for entry in self.entries.values() if entry.deadline <= now]
        for entry in late:
            if entry.left:
                del self.entries[entry.id]
                self._ended(entry, None)
                entry.settle(None)
            else:
                entry.give_up(LATE, now + keep_s)
        if self.holdings is not None:
            self._note_waiting(self.holdings, now)

    def _note_waiting(self, holdings: Residency, now: float) -> None:
        for entry in self.entries.values():
            if entry.course is not None and holdings.is_awaited(entry.model):
                entry.course.queued_until = now

    def _greet(self, event: FromWorker) -> None:
        """The first event says who is there, and whether what follows can be understood."""
        if not isinstance(event, Ready):
            raise BrokenProtocol("it does not say first what it serves, as a worker does")
        if event.protocol != PROTOCOL:
            raise BrokenProtocol(
                f"it speaks protocol {event.protocol} and this end {PROTOCOL}: they are of "
                "different versions, and one must be brought to that of the other"
            )
        if event.max_frame:
            self.max_frame = event.max_frame
            self.connection.set_limit(event.max_frame)
        self.ready = True
        self.connection.receive = self._receive
        self._receive(event)

    def _receive(self, event: FromWorker) -> None:
        kind = type(event)
        if kind is Done:
            self._finish(event)  # type: ignore[arg-type]
        elif isinstance(event, Output):
            entry = self.entries.get(event.id)
            if entry is not None and entry.outputs is not None and not entry.left:
                entry.outputs.append(event)
                entry.wake()
        elif isinstance(event, Ready):
            self.routes = frozenset(event.routes)
            self.background = frozenset(event.background)
            self.models = event.models
            self.plain = {route.encode(): route for route in self.routes - self.background}
            self.slots = 0 if self.dismissed else event.slots
            self.start_stages, self.ahead = stages_of(event), event.ahead
            self._changed(self)
        elif isinstance(event, Slots):
            self.slots, self.others = 0 if self.dismissed else event.slots, event.others
            self._changed(self)
        elif isinstance(event, Memory):
            self.memory = event
        elif isinstance(event, Stock):
            self._take_stock(event)
        elif isinstance(event, Head) and (entry := self.entries.get(event.id)) is not None:
            entry.head = event
            entry.wake()

    def _take_stock(self, stock: Stock) -> None:
        self.stock = stock
        if self.holdings is None:
            self.holdings = Residency(self._times)
        self.holdings.take(stock, self._now())

    def _ended(self, entry: PendingCall, run_s: float | None) -> None:
        """The worker is done with the call, and with its model; ``run_s`` where it went well."""
        if entry.model and self.holdings is not None:
            self.holdings.give_back(entry.model, run_s)
            entry.model = ""

    def _finish(self, done: Done) -> None:
        entry = self.entries.get(done.id)
        if self.first_s is None and done.exec_s:
            self.first_s = done.exec_s
        if entry is None:
            return
        if entry.model:
            self._ended(entry, done.exec_s if done.ok else None)
        if entry.left:
            entry.settle(done)
        else:
            del self.entries[done.id]
            entry.answer = done
            entry.wake()

    def _lost(self, error: Exception | None) -> None:
        self.gone, self.slots, self.why = True, 0, self._words(error)
        entries, self.entries = self.entries, {}
        for entry in entries.values():
            if entry.answer is None:
                detail = f"{self.name}: {self.why}"
                entry.answer = Unanswered("died", "the worker that ran the call has died", detail)
            entry.wake()
            entry.settle(None)
        self._changed(self)
        self.ended.set_result(None)

    def _words(self, error: Exception | None) -> str:
        if not self.ready and isinstance(error, FrameTooLarge | msgspec.DecodeError):
            return f"what listens there does not speak as this version's workers do: {error}"
        return str(error or "its connection ended")
