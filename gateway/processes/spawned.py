"""A serving process, as its parent knows it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from typing import TypeVar, cast, get_args

from gateway.processes.messages import (
    Affair,
    Reload,
    Reloaded,
    Retire,
    Serving,
    ToChild,
    ToParent,
    decode_to_parent,
)
from gateway.storage.served.messages import Question
from gateway.storage.served.server import StoreServer
from local_runtime.protocol.wire import FramedConnection

log = logging.getLogger("spillgate")

T = TypeVar("T")

_QUESTIONS = frozenset(get_args(Question))
"""To the shared store: most of what is said, so they are told apart by one look."""
_RELOADED_WITHIN_S = 10.0
"""Seconds for a process to put into force a policy that its parent has read."""
_LAST_WORDS_S = 1.0
"""What a process said before its end is read within this."""


class ServingProcess:
    """Started by ``start``; ``ended`` is its exit status once it has one."""

    def __init__(
        self, number: int, place: int, store: StoreServer, hear: Callable[[int, Affair], None]
    ) -> None:
        """``place``: its own among those that there are, from 0. ``hear`` is given its number, and
        what it says that is everybody's affair."""
        self.number = number
        self.place = place
        self._hear = hear
        self.retired = False
        """It is meant to end."""
        self.policy = ""
        """The version that it serves."""
        self.serves: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """True once it takes connections, False where it has ended before."""
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reloaded: asyncio.Future[None] | None = None
        self._store = store
        self._process: asyncio.subprocess.Process | None = None
        self._connection = FramedConnection[ToParent](
            decode=decode_to_parent,
            receive=self._receive,
            lost=lambda _: _resolve(self._heard_all, None),
        )
        self._heard_all: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Its end of the connection is closed."""

    @property
    def pid(self) -> int:
        """Its process id; 0 before it is started."""
        return self._process.pid if self._process is not None else 0

    async def start(
        self, command: Callable[[int], Sequence[str]], inherited: Sequence[int]
    ) -> None:
        """``command`` makes the command line, given the descriptor of the connection to the parent;
        ``inherited``: descriptors that it gets besides. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *command(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(*inherited, theirs.fileno()),
                start_new_session=True,
            )
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._connection, sock=ours)

    async def wait(self) -> int:
        """Until it has ended, and all that it held open is closed. Its exit status."""
        assert self._process is not None
        status = await self._process.wait()
        await asyncio.wait([self._heard_all], timeout=_LAST_WORDS_S)
        _resolve(self.serves, False)
        _resolve(self._reloaded, None)
        self._connection.abort()
        self.ended.set_result(status)
        return status

    def say(self, message: ToChild) -> None:
        """Nothing happens where it has ended."""
        self._connection.send(message)

    def signal(self, number: signal.Signals) -> None:
        """Nothing happens where it has ended."""
        if self._process is not None and not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def retire(self) -> None:
        """It takes no new connection, and ends when its calls have."""
        self.retired = True
        self.say(Retire())

    async def reload(self, problems: tuple[str, ...]) -> None:
        """Has it read the policy again, or told why that was not put in force. One that does not
        answer in time is killed: it may hang for ever, and who takes its place serves what the
        others do."""
        reloaded = self._reloaded = asyncio.get_running_loop().create_future()
        self.say(Reload(problems))
        await asyncio.wait([reloaded], timeout=_RELOADED_WITHIN_S)
        if not reloaded.done():
            log.error("process %d did not read the policy in time, and is ended", self.pid)
            self.signal(signal.SIGKILL)
            await reloaded

    def _receive(self, message: ToParent) -> None:
        if type(message) not in _QUESTIONS:
            self._receive_of_itself(message)
            return
        answer = self._store.answer(self.number, cast("Question", message))
        if answer is not None:
            self._connection.send(answer)

    def _receive_of_itself(self, message: ToParent) -> None:
        if isinstance(message, Serving):
            self.policy = message.policy
            _resolve(self.serves, True)
        elif isinstance(message, Reloaded):
            self.policy = message.policy
            _resolve(self._reloaded, None)
        else:
            self._hear(self.number, cast("Affair", message))


def _resolve(future: asyncio.Future[T] | None, value: T) -> None:
    if future is not None and not future.done():
        future.set_result(value)
