"""The callers of a worker: each a connection and the calls that came by it; and what all hear
of the worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from local_runtime.protocol.events import (
    CacheStatus,
    Done,
    FromWorker,
    Head,
    Memory,
    Output,
    Piece,
    Ready,
    Run,
    SharedAnswer,
    SharedRun,
    Slots,
    ToWorker,
)
from local_runtime.protocol.shared_memory import SHARED_FROM
from local_runtime.protocol.wire import FramedConnection, FrameTooLarge, decode_to_worker
from local_runtime.worker.jobs import Job
from local_runtime.worker.results import logged, unsendable


class Peer:
    """One caller. ``opened`` and ``lost`` are called when its connection comes and goes, and
    ``receive`` with each event."""

    def __init__(
        self,
        *,
        opened: Callable[[Peer], None],
        receive: Callable[[Peer, ToWorker], None],
        lost: Callable[[Peer, Exception | None], None],
        limit: int,
    ) -> None:
        """``limit`` bounds a frame, in bytes."""
        self.jobs: dict[int, Job] = {}
        """Its calls that are not answered, by the number that it chose."""
        self.connection: FramedConnection[ToWorker] = FramedConnection(
            decode=decode_to_worker,
            receive=partial(receive, self),
            opened=partial(opened, self),
            lost=partial(lost, self),
            limit=limit,
        )
        self._slots = Slots(0)
        """What it knows of slots and of others' calls."""

    def answer(self, event: Piece | Done) -> None:
        """Sends it a part of an answer, or the end; in the place of one that cannot be encoded, or
        is larger than a frame, that its call has failed."""
        if isinstance(event, Done):
            self.jobs.pop(event.id, None)
        try:
            if isinstance(event, Head) or len(event.data) < SHARED_FROM:
                self.connection.send(event)
            else:
                self._answer_large(event)
        except (FrameTooLarge, ValueError, TypeError, OverflowError) as error:
            self.connection.send(logged(unsendable(event.id, error)))

    def greet(self, ready: Ready) -> None:
        """Sends what it must hear first, and memory to share to whoever may take it."""
        self.connection.send_first(ready)
        self._slots = Slots(ready.slots)

    def run_of(self, shared: SharedRun) -> Run:
        """The call as it would have come by the socket. Raises NoSuchPlace."""
        body = self.connection.memory.take(shared.start, shared.size, shared.end)
        return msgspec.structs.replace(shared.run, body=body)

    def _answer_large(self, event: Output | Done) -> None:
        """Through shared memory where there is room in it, else through the socket."""
        place = self.connection.place(event.data)
        if place is None:
            self.connection.send(event)
        else:
            empty = msgspec.structs.replace(event, data=b"")
            self.connection.send(SharedAnswer(empty, *place))

    def send_slots(self, slots: int, calls: int) -> None:
        """Sends how many slots there are, and how many of the ``calls`` here are others', unless
        it knows."""
        changed = Slots(slots, calls - len(self.jobs))
        if changed != self._slots:
            self._slots = changed
            self.connection.send(changed)


class Peers:
    """All the callers of a worker. Each is sent how it stands when it comes, and every change."""

    def __init__(self, ready: Ready, cache_status: CacheStatus | None) -> None:
        self._ready = ready
        self._slots = ready.slots
        self._memory: Memory | None = None
        self._cache_status = cache_status
        self._peers: set[Peer] = set()

    def add(self, peer: Peer) -> None:
        """Greets a new one, and sends it all that the others know."""
        self._peers.add(peer)
        peer.greet(msgspec.structs.replace(self._ready, slots=self._slots))
        for event in (self._memory, self._cache_status):
            if event is not None:
                peer.connection.send(event)

    def remove(self, peer: Peer) -> None:
        """It has hung up."""
        self._peers.discard(peer)

    def trim_memory(self, now: float) -> None:
        """Gives back what is shared with them and was not used for a while."""
        for peer in self._peers:
            peer.connection.memory.trim(now)

    def send_memory(self, memory: Memory) -> None:
        """Sends what the process occupies, if that has changed."""
        if memory != self._memory:
            self._memory = memory
            self._send(memory)

    def send_cache_status(self, cache_status: CacheStatus | None) -> None:
        """Sends which models are there, if that has changed."""
        if cache_status is not None and cache_status != self._cache_status:
            self._cache_status = cache_status
            self._send(cache_status)

    def send_slots(self, slots: int) -> None:
        """Sends how many calls run at once, if that has changed."""
        if slots != self._slots:
            self._slots = slots
            self.send_load()

    def send_load(self) -> None:
        """Sends each how many of the calls here are others', where that has changed; too dear to
        be done with each call."""
        calls = sum(len(peer.jobs) for peer in self._peers)
        for peer in self._peers:
            peer.send_slots(self._slots, calls)

    def _send(self, event: FromWorker) -> None:
        for peer in self._peers:
            peer.connection.send(event)
