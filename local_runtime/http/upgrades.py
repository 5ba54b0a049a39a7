"""A connection that speaks another protocol behind one request (RFC 9110, 7.8).

Who answers a request that wishes for one finds the wish in its scope, by ``UPGRADE``, and may grant
it; else the request is one like any other.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import httptools

from local_runtime.http.flow_control import FlowControl

UPGRADE = "spillgate.upgrade"


class Upgraded(asyncio.Protocol):
    """One connection from then on, for as long as it lives. To its server it is one that is never
    idle, and ends by itself."""

    transport: asyncio.Transport
    flow: FlowControl
    of: str = ""
    """Who holds it."""
    asks_who = False
    is_known = True
    _connections: set[Any]

    def taken(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        """It speaks this protocol from now on; ``connections`` are those of its server."""
        self.transport = transport
        self.flow = FlowControl(transport)
        self._connections = connections
        connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connections.discard(self)
        self.flow.resume_writing()

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.flow.resume_writing()

    def holder(self) -> str:
        """As it is told."""
        return self.of

    def rests_since(self, now: float) -> None:
        """Never, as long as it is there."""

    def untaken_since(self, now: float) -> None:
        """Whoever speaks the protocol looks after that."""

    def is_gone(self) -> bool:
        """It holds no descriptor any more."""
        return self.transport.is_closing()

    def is_answering(self) -> bool:
        """All the time."""
        return True

    def is_done(self) -> bool:
        """It ends by itself."""
        return False

    def shutdown(self) -> None:
        """What it is used for ends by itself, or with its task."""

    def retire(self) -> None:
        """As ``shutdown``."""


class HearsBody(Protocol):
    """Who is told of a request's body."""

    def on_body(self, body: bytes) -> None:
        """A part of it."""
        ...

    def on_message_complete(self) -> None:
        """It is whole."""
        ...


class BodyParser:
    """Of a request that is not upgraded, and whose head another parser has read: only the body.
    ``framing`` are the lines of the head that say where it ends."""

    def __init__(self, hears: HearsBody, framing: list[bytes]) -> None:
        self._hears = hears
        self._is_whole = False
        self.on_body = hears.on_body
        self._parser = httptools.HttpRequestParser(self)
        self._head = b"\r\n".join([b"POST / HTTP/1.1", b"connection: close", *framing, b"", b""])

    def on_message_complete(self) -> None:
        """It is whole."""
        self._is_whole = True
        self._hears.on_message_complete()

    def feed_data(self, data: bytes) -> None:
        """A part of it; what comes behind it is not read, whatever it is. Raises
        httptools.HttpParserError."""
        if self._is_whole:
            return
        head, self._head = self._head, b""
        try:
            self._parser.feed_data(head + data)
        except httptools.HttpParserError:
            if not self._is_whole:
                raise

    @staticmethod
    def get_http_version() -> str:
        """Of those that know upgrades."""
        return "1.1"

    @staticmethod
    def should_upgrade() -> bool:
        """It is one like any other."""
        return False


class Upgradable(Protocol):
    """What a connection that may be given away does for that."""

    transport: asyncio.Transport

    def give_away(self, protocol: Upgraded) -> None:
        """It is ``protocol``'s from now on, and nothing more is done for the request."""
        ...


class Upgrade:
    """The wish of one request."""

    def __init__(self, connection: Upgradable) -> None:
        self.early = b""
        """What came behind the request's head."""
        self._connection = connection

    def grant(self, head: bytes, protocol: Upgraded) -> None:
        """Answers with ``head``, of status 101; what follows is the protocol's. Raises
        ConnectionResetError where the client is gone."""
        connection = self._connection
        if connection.transport.is_closing():
            raise ConnectionResetError("the client is gone")
        connection.give_away(protocol)
        protocol.transport.write(head)
        if self.early:
            protocol.data_received(self.early)
