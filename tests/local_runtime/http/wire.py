"""A connection of the HTTP protocol without a socket, and apps to answer on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope, Send

from gateway.clock import settle
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.protocol import DEFAULT_LIMITS, HttpProtocol
from local_runtime.http.server_state import ServerState
from local_runtime.http.strangers import Strangers

BLOCK = b"x" * 64 * 1024

BLOCKS = 1024

HEAD = b"POST /a HTTP/1.1\r\nhost: g\r\n"

ASK = b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n"


NO_PATIENCE = ClientLimits(first_head_s=0, head_s=0, body_s=0, idle_s=0, rate=10**9)


class Wire(asyncio.Transport):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = False
        self.reads = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written after it was closed"
        self.writes.append(bytes(data))

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None:
        """As uvloop's: one write of the parts, which nobody joins."""
        for part in parts:
            self.write(part)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """To its client this is the end."""
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Streams:
    """Sends the blocks one after the other and waits for nothing but ``send``."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.blocks):
            await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
            await asyncio.sleep(0)
            self.sent += 1
        await send({"type": "http.response.body", "body": b""})


class Answers:
    """Answers with these headers and this body, in one piece."""

    def __init__(self, headers: list[tuple[bytes, bytes]], body: bytes = b"", status: int = 200):
        self.headers = headers
        self.body = body
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


class Waits:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.told.wait()
        await tells_its_path(scope, receive, send)


async def tells_its_path(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def tells_its_body(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await Answers([(b"content-length", str(len(body)).encode())], body)(scope, receive, send)


def protocol(
    app: Any,
    state: ServerState | None = None,
    *,
    limits: ClientLimits = DEFAULT_LIMITS,
    strangers: Strangers | None = None,
) -> HttpProtocol:
    return HttpProtocol(app, state or ServerState(), {}, limits=limits, strangers=strangers)


async def said_by(app: Any, *requests: bytes) -> Wire:
    wire, connection = Wire(), protocol(app)
    connection.connection_made(wire)
    for request in requests or (ASK,):
        connection.data_received(request)
        await asyncio.sleep(0)
    await settle()
    connection.connection_lost(None)
    return wire
