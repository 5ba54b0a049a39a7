"""One pipelined connection to a Redis server, made when it is first needed.

Commands of many calls share it and are answered in order, so a command costs a write and a
future: 6 to 8 microseconds of CPU for a GET, 32 in flight, where redis-py's pool takes 39 to 43.
Every command is bounded: the one that waits longest is watched, and when it is overdue the
connection is given up, all who wait are told, and a breaker refuses calls for a while. A connection
that is being made has a bound of its own: to find the primary and to agree on keys takes longer
than a command may.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast

from adapters.regular_files import checked
from gateway.clock import Clock, Timer
from gateway.storage.base import StorageShortage, StorageUnavailable, unavailable
from gateway.storage.redis.breaker import Breaker
from gateway.storage.redis.primary import Primary
from gateway.storage.redis.replication import (
    ASK_REPLICATION,
    Replication,
    read_replication,
    serves_elsewhere,
)
from gateway.storage.redis.resp import BadReply, Reply, ReplyError, ReplyReader, greeting
from gateway.storage.remote import StorageLost
from gateway.store_urls import Address

_GOODBYE_S = 1.0
_CONNECT_S = 2.0
"""The longest that a connection may take to be made."""


class _Waiter:
    """One command on its way. ``undo`` gives the command to send should nobody take its answer."""

    __slots__ = ("deadline", "future", "packed", "undo")

    def __init__(
        self,
        packed: bytes,
        future: asyncio.Future[Reply],
        deadline: float,
        undo: Callable[[], bytes] | None,
    ) -> None:
        self.packed = packed
        self.future = future
        self.deadline = deadline
        self.undo = undo

    def fail(self, reason: str, kind: type[StorageUnavailable] = StorageLost) -> None:
        if not self.future.done():
            self.future.set_exception(kind(reason))
            self.future.exception()  # whoever was cancelled meanwhile does not ask for it


class _Wire(asyncio.Protocol):
    """A connection while it lasts: who waits on it, in order."""

    def __init__(self, on_reply: Callable[[], None], on_lost: Callable[[_Wire], None]) -> None:
        self.waiting: deque[_Waiter] = deque()
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def send(self, waiter: _Waiter) -> None:
        assert self._transport is not None
        self.waiting.append(waiter)
        self._transport.write(waiter.packed)

    def data_received(self, data: bytes) -> None:
        try:
            replies = self._reader.feed(data)
        except BadReply as error:
            self.give_up(f"the server does not speak the Redis protocol: {error}")
            return
        for reply in replies:
            if self.waiting:
                future = self.waiting.popleft().future
                if not future.done():
                    future.set_result(reply)
        self._on_reply()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection to the shared store broke")
        self._on_lost(self)
        self._ended.set()

    async def end(self) -> None:
        """Waits until the connection that was given up is gone. TLS says good-bye with a round
        trip, which a server that is silent does not get the time for."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._ended.wait()
        except TimeoutError:
            assert self._transport is not None
            self._transport.abort()

    def give_up(self, reason: str) -> None:
        """Closes the connection. What it may yet carry out and nobody will hear of is undone
        behind it, on the same connection and so in order."""
        assert self._transport is not None
        for waiter in self.waiting:
            if waiter.undo is not None and not self._transport.is_closing():
                self._transport.write(waiter.undo())
        self._fail(reason)
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # a peer that reads nothing would keep it open for ever
        else:
            self._transport.close()
        self._on_lost(self)

    def _fail(self, reason: str) -> None:
        while self.waiting:
            self.waiting.popleft().fail(reason)


class RedisConnection:
    """Sends commands to one server; connects, and connects again, by itself."""

    def __init__(
        self,
        primary: Primary,
        timeout_s: float,
        clock: Clock,
        breaker: Breaker,
        replaced: Callable[[], None] = lambda: None,
    ) -> None:
        """``replaced`` is called when another server answers than before, or the same one with
        another history, before the first command goes there."""
        self._primary = primary
        self._replaced = replaced
        self._history = ""
        self._timeout = timeout_s
        self._clock = clock
        self._breaker = breaker
        self._wire: _Wire | None = None
        self._unsent: deque[_Waiter] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._connect_until = 0.0
        self._looked = False
        self._timer: Timer | None = None
        self._closed = False
        self._reason = ""

    @property
    def failing(self) -> str:
        """Why the last attempt failed; empty while the server answers."""
        return "" if self._breaker.closed else self._reason

    def __repr__(self) -> str:
        return f"Link({self._primary!r}, {'open' if self._wire else 'not connected'})"

    def send(self, packed: bytes, undo: Callable[[], bytes] | None = None) -> asyncio.Future[Reply]:
        """The future of the command's reply. It, or this call, raises StorageUnavailable."""
        now = self._clock.monotonic()
        if self._closed or not self._breaker.allows(now):
            raise StorageLost("the shared store did not answer a moment ago")
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(packed, future, now + self._timeout, undo)
        if self._wire is not None:
            self._wire.send(waiter)
        else:
            self._unsent.append(waiter)
            self._connect()
        if self._timer is None:
            self._timer = self._clock.call_later(self._timeout, self._check)
        return future

    def leave(self, reply: ReplyError) -> bool:
        """Whether the reply says that another server, or none, takes our commands: then the next
        one looks for it. Nothing was carried out."""
        if not serves_elsewhere(reply.text):
            return False
        if self._wire is not None:
            self._wire.give_up(reply.text)
        return True

    async def aclose(self) -> None:
        """Closes the socket; what was asked and not answered fails."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        wire = self._wire
        self._drop("the shared store is closed")
        if wire is not None:
            await wire.end()

    # --- connecting -----------------------------------------------------------------------------

    def _connect(self) -> None:
        if self._connecting is None:
            self._connect_until = self._clock.monotonic() + _CONNECT_S
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        if self._connecting is task:
            self._connecting = None

    async def _open(self) -> None:
        wire: _Wire | None = None
        try:
            address = await self._primary.find()
            wire = await self._dial(address)
            await self._greet(wire, address)
        except (OSError, StorageUnavailable) as error:
            if wire is not None:
                wire.give_up(str(error))
            self._not_reached(error)
            return
        except asyncio.CancelledError:
            if wire is not None:
                wire.give_up("the shared store is closed")
            raise
        self._wire = wire
        self._flush(wire)

    async def _dial(self, address: Address) -> _Wire:
        loop = asyncio.get_running_loop()

        def protocol() -> _Wire:
            return _Wire(self._answered, self._lost)

        if address.scheme == "unix":
            _, wire = await loop.create_unix_connection(protocol, address.path)
        else:
            tls = None
            if address.scheme == "rediss":  # read anew: its authorities may have been replaced
                tls = ssl.create_default_context(cafile=checked(address.ca_file) or None)
            _, wire = await loop.create_connection(protocol, address.host, address.port, ssl=tls)
        return wire

    async def _greet(self, wire: _Wire, address: Address) -> None:
        for packed in greeting(address):
            reply = await self._ask(wire, packed)
            if isinstance(reply, ReplyError):
                raise StorageUnavailable(_without_password(reply.text, address))
        self._compare(read_replication(await self._ask(wire, ASK_REPLICATION)))

    def _ask(self, wire: _Wire, packed: bytes) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        wire.send(_Waiter(packed, future, self._clock.monotonic() + self._timeout, None))
        return future

    def _compare(self, replication: Replication) -> None:
        if replication.is_replica:
            raise StorageUnavailable("the server is a replica, which takes no writes")
        before, self._history = self._history, replication.history or self._history
        if before and self._history != before:
            self._replaced()

    def _flush(self, wire: _Wire) -> None:
        while self._unsent:
            waiter = self._unsent.popleft()
            if not waiter.future.done():
                wire.send(waiter)

    # --- what happened --------------------------------------------------------------------------

    def _answered(self) -> None:
        if not self._breaker.closed:
            self._breaker.succeeded()

    def _lost(self, wire: _Wire) -> None:
        if self._wire is wire:
            self._wire = None

    def _not_reached(self, error: Exception) -> None:
        """A server that was not asked for want of a descriptor is asked again by the next call."""
        failure = unavailable(error, f"the shared store cannot be reached: {error}")
        if isinstance(failure, StorageShortage):
            self._connecting = None
            self._drop(str(failure), StorageShortage)
        else:
            self._failed(str(failure))

    def _failed(self, reason: str) -> None:
        self._breaker.failed(self._clock.monotonic())
        self._reason = reason
        self._drop(reason)

    def _drop(self, reason: str, kind: type[StorageUnavailable] = StorageLost) -> None:
        if self._wire is not None:
            self._wire.give_up(reason)
        while self._unsent:
            self._unsent.popleft().fail(reason, kind)

    # --- the bound ------------------------------------------------------------------------------

    def _check(self) -> None:
        """One timer serves all: it is set for the oldest command, and only while one waits."""
        self._timer = None
        deadline = self._oldest()
        if deadline is None:
            return
        wait = deadline - self._clock.monotonic()
        if wait > 0:
            self._looked = False
            self._timer = self._clock.call_later(wait, self._check)
        elif not self._looked:
            self._looked = True
            self._look_again()
        else:
            self._looked = False
            self._overdue()

    def _look_again(self) -> None:
        """A loop that was busy for long has not read yet what has come: uvloop runs its timers
        first, and reads before the second of its next turns."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_soon(loop.call_soon, self._check)

    def _oldest(self) -> float | None:
        if self._wire is not None and self._wire.waiting:
            return self._wire.waiting[0].deadline
        return self._unsent[0].deadline if self._unsent else None

    def _overdue(self) -> None:
        if self._connecting is not None and self._clock.monotonic() >= self._connect_until:
            self._connecting.cancel()
        self._failed(f"the shared store did not answer within {self._timeout:g} s")


def _without_password(text: str, address: Address) -> str:
    """What refuses a command may repeat its words, as Redis does with one it does not know."""
    password = address.password.reveal()
    return text.replace(password, "***") if password else text
