"""An answer's head and body leave in one write, and nothing else about HTTP changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from uvicorn import Config
from uvicorn.server import ServerState

from gateway.clock import settle
from gateway.http_protocol import CorkedHttp
from gateway.visit import Receive, Scope, Send

BLOCK = b"x" * 64 * 1024
BLOCKS = 1024


class Wire(asyncio.Transport):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed, "written after it was closed"
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Streams:
    """Sends the blocks one after the other and waits for nothing but ``send``."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.blocks):
            await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
            self.sent += 1
        await send({"type": "http.response.body", "body": b""})


async def tells_its_path(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def protocol(app: Any, state: ServerState | None = None) -> CorkedHttp:
    config = Config(app, http=CorkedHttp, ws="none", lifespan="off", log_config=None)
    config.load()
    return CorkedHttp(config, state or ServerState(), {})


async def answers_to(request: bytes) -> Wire:
    wire, corked = Wire(), protocol(tells_its_path)
    corked.connection_made(wire)
    corked.data_received(request)
    await settle()
    corked.connection_lost(None)
    return wire


async def test_the_head_and_the_body_of_an_answer_leave_in_one_write() -> None:
    """One system call, and over TLS one record."""
    [answer] = (await answers_to(b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n")).writes
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"/a"


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    ask = b"GET /%d HTTP/1.1\r\nhost: g\r\n\r\n"
    wire = await answers_to(b"".join(ask % number for number in range(5)))
    answers = b"".join(wire.writes).split(b"HTTP/1.1 200 OK")[1:]
    assert [each[-2:] for each in answers] == [b"/%d" % number for number in range(5)]


async def test_what_was_written_leaves_before_the_connection_is_closed() -> None:
    """The client asked for one answer, and gets it."""
    wire = await answers_to(b"GET /a HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")
    assert wire.closed
    assert b"".join(wire.writes).endswith(b"/a")


async def test_a_request_that_is_no_http_is_told_so() -> None:
    wire = await answers_to(b"\x16\x03\x01 hello\r\n\r\n")
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 400")
    assert wire.closed


@contextlib.asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(app, state), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await settle()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def test_a_reader_that_is_slow_holds_up_its_own_stream_and_no_memory_fills() -> None:
    """What was sent ahead is bounded by the buffers of the socket; it all arrives in the end."""
    app = Streams(BLOCKS)
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=64 * 1024)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        before = -1
        while app.sent != before:
            before = app.sent
            await asyncio.sleep(0.05)
        assert 0 < app.sent < BLOCKS // 2
        read = 0
        while data := await reader.read(1 << 20):
            read += data.count(b"x")
        assert app.sent == BLOCKS
        assert read == BLOCKS * len(BLOCK)
        writer.close()
