"""The server that the gateway and an app's own server have in common: uvicorn, with a protocol of
our own and an end that is no failure."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import STARTUP_FAILURE

from local_runtime.http.accepting import Acceptor, Headroom
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.protocol import DEFAULT_LIMITS, HttpProtocol
from local_runtime.http.strangers import Strangers

_log = logging.getLogger("uvicorn.error")
_HANDSHAKES = 4
"""So many times as many clients as have not shown who they are may be agreeing on TLS: that takes
some round trips of clients of whom nothing is wrong."""

LINGER_S = 5.0
"""How long a server that retires waits for clients that are idle."""
_LOOKS = 100


class HttpServer(uvicorn.Server):
    """Uvicorn over one app, at ``host`` and ``port``.

    ``drain_s`` is how long calls under way may take to end once the server is told to; whole
    seconds. ``max_head`` bounds the head of a request, in bytes. ``protocol`` is made for each
    connection; ``tls``: with it the server speaks HTTPS alone. ``limits`` bound what it waits for
    its clients; ``identifies``: the app says which have shown who they are, by ``IDENTIFY``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        drain_s: int,
        protocol: type[HttpProtocol] = HttpProtocol,
        max_head: int | None = None,
        tls: ssl.SSLContext | None = None,
        limits: ClientLimits = DEFAULT_LIMITS,
        identifies: bool = False,
    ) -> None:
        self._retires = False
        self.strangers = Strangers(limits.strangers) if identifies else None
        """Connections of clients that have yet to show who they are."""
        self._tls = tls
        self._limits = limits
        connection = functools.partial(protocol, limits=limits, strangers=self.strangers)
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                loop="uvloop",
                http=cast("type[asyncio.Protocol]", connection),
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=drain_s,
                h11_max_incomplete_event_size=max_head,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn's own, but the signal is not raised again at the end: a server that was told
        to end, and did, has not failed. A second Ctrl-C ends it at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._retires = False

    def retire(self) -> None:
        """Ends, for others listen at the same port: clients are told on each connection to make
        another, where an end by a signal closes those that are idle at once."""
        self._retires = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's own, once the clients that would call again have been told."""
        if self._retires:
            await self._tell_all()
        await super().shutdown()

    async def _tell_all(self) -> None:
        acceptors = cast("list[Acceptor]", self.servers)
        for acceptor in acceptors:
            acceptor.stop()
        connections = cast("set[HttpProtocol]", self.server_state.connections)
        for _ in range(_LOOKS):
            for connection in tuple(connections):
                connection.retire()
            come = any(acceptor.agrees for acceptor in acceptors)
            if not (connections or come) or not self._retires:
                return
            await asyncio.sleep(LINGER_S / _LOOKS)

    def room(self) -> Headroom:
        """Asked before each connection is taken."""
        return Headroom()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's own; connections are taken by a listener of ours, at ``sockets``, which
        listen already and become the server's, or else at its own address."""
        await super().startup([])
        try:
            listening = sockets or await self._listening()
        except OSError as error:
            _log.error(error)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        make = functools.partial(
            cast("type[HttpProtocol]", self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        servers = [self._listener(each, make) for each in listening]
        self.servers = cast(
            "list[asyncio.base_events.Server]", servers
        )  # it closes them, and waits

    def _listener(self, listening: socket.socket, make: Callable[[], HttpProtocol]) -> Acceptor:
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
        loop, config = asyncio.get_running_loop(), self.config
        bound = await loop.create_server(
            asyncio.Protocol, config.host, config.port, start_serving=False
        )
        listening = [socket.socket(fileno=os.dup(each.fileno())) for each in bound.sockets]
        bound.close()
        for each in listening:
            each.setblocking(False)
            each.listen(config.backlog)
        return listening
