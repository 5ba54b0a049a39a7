"""The server that the gateway and an app's own server have in common: its signals, its sockets, the
lifespan of its app, and an end at which calls under way may end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

import uvloop
from starlette.types import ASGIApp

from local_runtime.http.accepting import Acceptor, Headroom
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.lifespan import Lifespan
from local_runtime.http.protocol import DEFAULT_LIMITS, MAX_HEAD, HttpProtocol
from local_runtime.http.server_state import ServerState
from local_runtime.http.strangers import Strangers

_log = logging.getLogger("server")
_HANDSHAKES = 4
"""So many times as many clients as have not shown who they are may be agreeing on TLS: that takes
some round trips of clients of whom nothing is wrong."""
_BACKLOG = 2048
"""Connections that wait in the kernel's queue."""
_LAST_LOOKS = 3
"""So often it looks, at its own end, whether clients that were told of it are gone."""
_LOOK_S = 0.1
"""How late the server may notice that it is to end, or that nothing is under way any more."""

LINGER_S = 5.0
"""How long a server that retires waits for clients that are idle."""
_LOOKS = 100


class HttpServer:
    """A server of one app, at ``host`` and ``port``.

    ``drain_s`` is how long calls under way may take to end once the server is told to. ``max_head``
    bounds the head of a request, in bytes. ``protocol`` is made for each connection; ``tls``: with
    it the server speaks HTTPS alone. ``limits`` bound what it waits for its clients;
    ``identifies``: the app says which have shown who they are, by ``IDENTIFY``. ``app_ends_s`` is
    how long the app may take to end, with what it has to write down and to give back.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        drain_s: float,
        protocol: type[HttpProtocol] = HttpProtocol,
        max_head: int = MAX_HEAD,
        tls: ssl.SSLContext | None = None,
        limits: ClientLimits = DEFAULT_LIMITS,
        identifies: bool = False,
        app_ends_s: float = 12.0,
    ) -> None:
        self.state = ServerState()
        self.lifespan = Lifespan(app)
        self.strangers = Strangers(limits.strangers) if identifies else None
        """Connections of clients that have yet to show who they are."""
        self.acceptors: list[Acceptor] = []
        self.started = False
        """It has taken connections."""
        self.should_exit = False
        """Set to True by whoever ends it."""
        self.force_exit = False
        """It waits for no call."""
        self._app = app
        self._address = (host, port)
        self._drain_s = drain_s
        self._app_ends_s = app_ends_s
        self._protocol = protocol
        self._max_head = max_head
        self._tls = tls
        self._limits = limits
        self._retires = False

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """As ``serve``, with an event loop of its own."""
        uvloop.run(self.serve(sockets))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is told to end, by SIGTERM, Ctrl-C or ``should_exit``; at once where the app, or
        the port, keeps it from beginning: that is in the log. ``sockets`` listen already, and
        become the server's; else it listens at its own address."""
        with self._heeded_signals():
            _log.info("process %d starts", os.getpid())
            await self.startup(sockets)
            if self.started:
                await self._until_told()
                await self.shutdown()
                _log.info("process %d has ended", os.getpid())

    # --- told to end -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _heeded_signals(self) -> Iterator[None]:
        heeded = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self.handle_exit) for each in heeded}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and Ctrl-C; a second Ctrl-C ends it at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._retires = False

    def retire(self) -> None:
        """Ends, for others listen at the same port: clients are told on each connection to make
        another, where an end by a signal closes those that are idle at once."""
        self._retires = self.should_exit = True

    async def _until_told(self) -> None:
        while not self.should_exit:
            self.state.tell_date(int(time.time()))
            await asyncio.sleep(_LOOK_S)

    # --- the beginning ---------------------------------------------------------------------------

    def room(self) -> Headroom:
        """Asked before each connection is taken."""
        return Headroom()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The app begins, then connections are taken; ``started`` says whether it came to that."""
        if not await self._lived(self.lifespan.startup(), self._drain_s):
            _log.error("the app could not start")
            for each in sockets or ():
                each.close()
            return
        try:
            listening = sockets or await self._listening()
        except OSError as error:
            _log.error(error)
            await self._lived(self.lifespan.shutdown(), self._app_ends_s)
            return
        self.state.tell_date(int(time.time()))
        make = self.maker(self._protocol, limits=self._limits, strangers=self.strangers)
        self.acceptors = [self._acceptor(each, make) for each in listening]
        self.started = True

    def maker(
        self,
        protocol: type[HttpProtocol],
        *,
        limits: ClientLimits = DEFAULT_LIMITS,
        strangers: Strangers | None = None,
    ) -> Callable[[], HttpProtocol]:
        """Makes connections of the app, once it has started."""
        return functools.partial(
            protocol,
            self._app,
            self.state,
            self.lifespan.state,
            max_head=self._max_head,
            limits=limits,
            strangers=strangers,
        )

    def _acceptor(self, listening: socket.socket, make: Callable[[], HttpProtocol]) -> Acceptor:
        return Acceptor(
            listening,
            make,
            room=self.room(),
            tls=self._tls,
            within_s=self._limits.first_head_s,
            most=_HANDSHAKES * self._limits.strangers,
        )

    async def _listening(self) -> list[socket.socket]:
        """Bound as the loop does it, for a name that has several addresses too."""
        loop, (host, port) = asyncio.get_running_loop(), self._address
        bound = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        listening = [socket.socket(fileno=os.dup(each.fileno())) for each in bound.sockets]
        bound.close()
        for each in listening:
            each.setblocking(False)
            each.listen(_BACKLOG)
        return listening

    # --- the end ---------------------------------------------------------------------------------

    async def shutdown(self) -> None:
        """No connection is taken any more; calls under way may end in their time; then the app
        ends, unless that is not waited for."""
        if self._retires:
            await self._tell_all()
        _log.info("no further connection is taken")
        for acceptor in self.acceptors:
            acceptor.close()
        for connection in tuple(self.state.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(self._drain_s):
                await self._drained()
        except TimeoutError:
            _log.error("%d calls did not end in time, and are cancelled", len(self.state.tasks))
            for task in self.state.tasks:
                task.cancel()
        await self._hung_up()
        if not self.force_exit:
            await self._lived(self.lifespan.shutdown(), self._app_ends_s)

    async def _lived(self, step: Coroutine[Any, Any, bool], within_s: float) -> bool:
        """Whether the app has done a step of its life: it has ``within_s`` seconds once the server
        is to end, and none once it is to end at once."""
        doing = asyncio.create_task(step)
        end = math.inf
        while not (await asyncio.wait([doing], timeout=_LOOK_S))[0]:
            if self.should_exit:
                end = min(end, time.monotonic() + within_s)
            if self.force_exit or time.monotonic() >= end:
                _log.error("the app is not done in time, and is cancelled")
                self.lifespan.give_up()
                await asyncio.wait([doing], timeout=_LOOK_S)
                return False
        return doing.result()

    async def _tell_all(self) -> None:
        for acceptor in self.acceptors:
            acceptor.stop()
        for _ in range(_LOOKS):
            for connection in tuple(self.state.connections):
                connection.retire()
            come = any(acceptor.agrees for acceptor in self.acceptors)
            if not (self.state.connections or come) or not self._retires:
                return
            await asyncio.sleep(LINGER_S / _LOOKS)

    async def _drained(self) -> None:
        """Until no connection is left, and nothing is answered any more."""
        if self.state.connections and not self.force_exit:
            _log.info("waits for connections to end; Ctrl-C ends at once")
        while not self._is_idle():
            if self.force_exit:
                break
            await asyncio.sleep(_LOOK_S)
        for acceptor in self.acceptors:
            await acceptor.wait_closed()

    def _is_idle(self) -> bool:
        return not self.state.tasks and all(one.is_done() for one in self.state.connections)

    async def _hung_up(self) -> None:
        """Clients that were told the end have a moment to end their connections too."""
        for _ in range(_LAST_LOOKS):
            if self.force_exit or not (self.state.connections or self.state.tasks):
                return
            await asyncio.sleep(_LOOK_S)
        for connection in tuple(self.state.connections):
            connection.transport.abort()
