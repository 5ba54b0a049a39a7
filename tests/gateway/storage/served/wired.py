"""A store that is asked in the words of the wire, within one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gateway.clock import Clock
from gateway.storage.base import SharedStore
from gateway.storage.served.messages import Answer, Question
from gateway.storage.served.server import StoreServer
from gateway.storage.served.store import ServedSharedStore

_encode = msgspec.msgpack.encode


class Wire:
    """Carries questions of one process to a server, and answers back in the loop's next turn."""

    def __init__(self, server: StoreServer, process: int = 1) -> None:
        self.silent = False
        """The server is stopped: it answers when it is let go on."""
        self.questions: list[bytes] = []
        self.receive: Callable[[Answer], None]
        self._server = server
        self._process = process

    def send(self, question: Question) -> None:
        self.questions.append(_encode(question))
        asyncio.get_running_loop().call_soon(self.go_on)

    def go_on(self) -> None:
        while self.questions and not self.silent:
            asked = msgspec.msgpack.decode(self.questions.pop(0), type=Question)
            answer = self._server.answer(self._process, asked)
            if answer is not None:
                self.receive(msgspec.msgpack.decode(_encode(answer), type=Answer))


def wired(
    store: SharedStore, clock: Clock, *, timeout_s: float = 5.0
) -> tuple[ServedSharedStore, Wire]:
    """The end that asks, and the wire between it and a server over ``store``."""
    wire = Wire(StoreServer(store))
    served = ServedSharedStore(wire.send, clock, timeout_s)
    wire.receive = served.receive
    return served, wire
