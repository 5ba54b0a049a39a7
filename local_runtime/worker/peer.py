"""One of the callers of a worker: a connection, and the calls that came by it."""

from __future__ import annotations

from functools import partial
from typing import Protocol

from local_runtime.protocol.events import Done, Piece, Slots, ToWorker
from local_runtime.protocol.wire import FramedConnection, FrameTooLarge, decode_to_worker
from local_runtime.worker.jobs import Job
from local_runtime.worker.results import noted, unsendable


class PeerListener(Protocol):
    """What ``service.Service`` is to a peer."""

    def join(self, peer: Peer) -> None: ...

    def leave(self, peer: Peer, error: Exception | None) -> None: ...

    def receive(self, peer: Peer, event: ToWorker) -> None: ...


class Peer:
    def __init__(self, host: PeerListener, limit: int) -> None:
        self.jobs: dict[int, Job] = {}
        self.connection: FramedConnection[ToWorker] = FramedConnection(
            decode=decode_to_worker,
            receive=partial(host.receive, self),
            opened=partial(host.join, self),
            lost=partial(host.leave, self),
            limit=limit,
        )
        self.told = Slots(0)
        """What it knows of slots and of others' calls."""

    def answer(self, event: Piece | Done) -> None:
        if isinstance(event, Done):
            self.jobs.pop(event.id, None)
        try:
            self.connection.send(event)
        except (FrameTooLarge, ValueError, TypeError, OverflowError) as error:
            self.connection.send(noted(unsendable(event.id, error)))

    def tell(self, slots: int, calls: int) -> None:
        """Says how many slots there are, and how many of the ``calls`` here are others', unless
        it knows."""
        told = Slots(slots, calls - len(self.jobs))
        if told != self.told:
            self.told = told
            self.connection.send(told)
