"""The caller's end of one worker's socket: calls out, answers in, nothing per call but a future
and a row in a dictionary. The gateway and the app's own HTTP server both stand here."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

import msgspec

from local_runtime.client.facts import UNKNOWN
from local_runtime.client.pending_call import LATE, PendingCall, Unanswered
from local_runtime.client.residency import LoadTimes, Residency
from local_runtime.protocol.events import (
    PROTOCOL,
    CacheStatus,
    Done,
    FromWorker,
    Head,
    Mapped,
    Memory,
    Output,
    Ping,
    Ready,
    Run,
    SharedAnswer,
    SharedRun,
    Slots,
)
from local_runtime.protocol.shared_memory import NO_MEMORY, SHARED_FROM, SharedMemory
from local_runtime.protocol.wire import (
    ENDS_LATER_S,
    BrokenProtocol,
    FramedConnection,
    FrameTooLarge,
    decode_from_worker,
)


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
        """``limit`` bounds a frame, in bytes, until the worker has said its own."""
        self.name = name
        self.loop = asyncio.get_running_loop()
        self.facts = UNKNOWN
        """What its worker last said of itself."""
        self.slots = 0
        """Calls that its worker runs at once, as it last said; 0 while it must get none."""
        self.others = 0
        """Calls of other callers that its worker has, as it last said."""
        self.residency: Residency | None = None
        """Where the models of its app are; None for an app that declares none."""
        self.first_s: float | None = None
        """Seconds that its first call ran: what warm-up did not warm."""
        self.dismissed = False
        """Its worker is to go, and gets no new calls."""
        self.gone = False
        self.ended: asyncio.Future[str] = self.loop.create_future()
        """Done when it is gone; its result says why."""
        self.calls: dict[int, PendingCall] = {}
        """Those that are not answered, by number."""
        self._next_id = 0
        self._changed = changed
        self._now = now
        self._times = LoadTimes() if times is None else times
        self.socket: FramedConnection[FromWorker] = FramedConnection(
            decode=decode_from_worker, receive=self._greet, lost=self._lost, limit=limit
        )
        self.send = self.socket.send

    @property
    def ready(self) -> bool:
        """Its worker has said what it serves."""
        return self.facts is not UNKNOWN

    def run(
        self,
        call_id: str,
        route: str,
        body: bytes,
        stream: bool,
        deadline: float,
        model: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> PendingCall:
        """Sends one call, which the worker ends at ``deadline`` too. Of a background call the first
        answer is a Head, and the end has no result. Raises FrameTooLarge, and then nothing was
        sent."""
        self._next_id = id = self._next_id + 1
        within = 0.0
        if deadline != math.inf:
            within = max(deadline - self._now(), 0.0) + ENDS_LATER_S
        follows = route in self.facts.background
        run = Run(id, route, body, call_id, stream, False, headers, model, within, follows)
        if len(body) < SHARED_FROM:
            self.send(run)
        else:
            self.send_large(run)
        call = self.calls[id] = PendingCall(self, id, call_id, deadline, stream)
        if self.gone:
            self._lose(self.calls.pop(id), self.ended.result())
        elif self.residency is not None and model:
            call.model = model
            self.residency.call_sent(model, self._now())
        return call

    def next_id(self) -> int:
        """The next call's number, for whoever sends it and enters it into ``calls`` himself."""
        self._next_id = id = self._next_id + 1
        return id

    def ask(self, event: Run | Ping, deadline: float) -> PendingCall:
        """Sends an event under the next number, ready for outputs. Raises FrameTooLarge."""
        id = self.next_id()
        event = msgspec.structs.replace(event, id=id)
        name = ""
        if isinstance(event, Run):
            name = event.request
            self.send_large(event)
        else:
            self.send(event)
        call = self.calls[id] = PendingCall(self, id, name, deadline, isinstance(event, Run))
        if self.gone:
            self._lose(self.calls.pop(id), self.ended.result())
        return call

    def send_large(self, run: Run) -> None:
        """Sends a call whose body may be large: through shared memory where there is room in it,
        else through the socket. Raises FrameTooLarge, and then nothing was sent."""
        place = self.socket.place(run.body) if len(run.body) >= SHARED_FROM else None
        if place is None:
            self.send(run)
        else:
            self.send(SharedRun(msgspec.structs.replace(run, body=b""), *place))

    def take_memory(self, descriptor: int) -> None:
        """Takes over the memory that the worker offers, unless it is none that can be shared."""
        with contextlib.suppress(OSError):
            self.socket.memory = SharedMemory.attach(descriptor)

    def dismiss(self) -> None:
        """Offers no slots any more, whatever its worker says."""
        if not self.dismissed:
            self.dismissed, self.slots = True, 0
            self._changed(self)

    def sweep(self, now: float, keep_s: float) -> None:
        """Fails the calls that are past their deadline, forgets those that were left, and marks
        those whose models are still to come as waiting."""
        late = [call for call in self.calls.values() if call.deadline <= now]
        for call in late:
            if call.left:
                del self.calls[call.id]
                self._release_model(call, None)
                call.answer_late(None)
            else:
                call.give_up(LATE, now + keep_s)
        if self.residency is not None:
            self._mark_waiting(self.residency, now)

    def _mark_waiting(self, residency: Residency, now: float) -> None:
        for call in self.calls.values():
            if call.progress is not None and residency.is_awaited(call.model):
                call.progress.queued_until = now

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
            self.socket.limit = event.max_frame
        if self.socket.memory is not NO_MEMORY:
            self.send(Mapped())
        self.socket.receive = self._receive
        self._receive(event)

    def _receive(self, event: FromWorker) -> None:
        kind = type(event)
        if kind is Done:
            self._finish(event)  # type: ignore[arg-type]
        elif isinstance(event, Output):
            call = self.calls.get(event.id)
            if call is not None and call.outputs is not None and not call.left:
                call.outputs.append(event)
                call.wake()
        elif isinstance(event, Head) and (call := self.calls.get(event.id)) is not None:
            call.head = event
            call.wake()
        else:
            self._learn(event)

    def _learn(self, event: FromWorker) -> None:
        """Takes over what the worker says of itself; and what is large."""
        if isinstance(event, SharedAnswer):
            data = self.socket.memory.take(event.start, event.size, event.end)
            self._receive(msgspec.structs.replace(event.answer, data=data))
        elif isinstance(event, Ready):
            self.facts = self.facts.served(event, self.socket.limit)
            self.slots = 0 if self.dismissed else event.slots
            self._changed(self)
        elif isinstance(event, Slots):
            self.slots, self.others = 0 if self.dismissed else event.slots, event.others
            self._changed(self)
        elif isinstance(event, Memory):
            self.facts = msgspec.structs.replace(self.facts, memory=event)
        elif isinstance(event, CacheStatus):
            self.facts = msgspec.structs.replace(self.facts, cache=event)
            if self.residency is None:
                self.residency = Residency(self._times)
            self.residency.update(event, self._now())

    def _release_model(self, call: PendingCall, run_s: float | None) -> None:
        """The worker is done with the call, and with its model; ``run_s`` where it went well."""
        if call.model and self.residency is not None:
            self.residency.call_ended(call.model, run_s)
            call.model = ""

    def _finish(self, done: Done) -> None:
        call = self.calls.get(done.id)
        if self.first_s is None and done.exec_s:
            self.first_s = done.exec_s
        if call is None:
            return
        if call.model:
            self._release_model(call, done.exec_s if done.ok else None)
        if call.left:
            call.answer_late(done)
        else:
            del self.calls[done.id]
            call.answer = done
            call.wake()

    def _lost(self, error: Exception | None) -> None:
        why = self._words(error)
        self.gone, self.slots = True, 0
        self.ended.set_result(why)
        calls, self.calls = self.calls, {}
        for call in calls.values():
            self._lose(call, why)
        self._changed(self)

    def _lose(self, call: PendingCall, why: str) -> None:
        """Nobody will answer it: its worker is gone."""
        if call.answer is None:
            detail = f"{self.name}: {why}"
            call.answer = Unanswered("died", "the worker that ran the call has died", detail)
        call.wake()
        call.answer_late(None)

    def _words(self, error: Exception | None) -> str:
        if not self.ready and isinstance(error, FrameTooLarge | msgspec.DecodeError):
            return f"what listens there does not speak as this version's workers do: {error}"
        return str(error or "its connection ended")
