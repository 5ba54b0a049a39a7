"""An answer's head and body leave in one write, and nothing else about HTTP changes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from gateway.clock import settle
from local_runtime.server.http_protocol import LeanHttp
from tests.waiting import until

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
            await asyncio.sleep(0)
            self.sent += 1
        await send({"type": "http.response.body", "body": b""})


async def tells_its_path(scope: Scope, receive: Receive, send: Send) -> None:
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def protocol(app: Any, state: ServerState | None = None, *, patience_s: int = 75) -> LeanHttp:
    config = Config(
        app,
        http=LeanHttp,
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=patience_s,
    )
    config.load()
    return LeanHttp(config, state or ServerState(), {})


async def test_the_head_and_the_body_of_an_answer_leave_in_one_write() -> None:
    """One system call, and over TLS one record."""
    [answer] = (await said_by(tells_its_path, b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n")).writes
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"/a"


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    ask = b"GET /%d HTTP/1.1\r\nhost: g\r\n\r\n"
    wire = await said_by(tells_its_path, b"".join(ask % number for number in range(5)))
    answers = b"".join(wire.writes).split(b"HTTP/1.1 200 OK")[1:]
    assert [each[-2:] for each in answers] == [b"/%d" % number for number in range(5)]


async def test_what_was_written_leaves_before_the_connection_is_closed() -> None:
    """The client asked for one answer, and gets it."""
    wire = await said_by(tells_its_path, b"GET /a HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n")
    assert wire.closed
    assert b"".join(wire.writes).endswith(b"/a")


async def test_a_request_that_is_no_http_is_told_so() -> None:
    wire = await said_by(tells_its_path, b"\x16\x03\x01 hello\r\n\r\n")
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 400")
    assert wire.closed


async def test_what_is_no_http_is_refused_in_the_shape_of_every_other_error() -> None:
    wire = await said_by(tells_its_path, b"BREW /tea HTTP/1.1\r\n\r\n")
    head, _, body = b"".join(wire.writes).partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"content-length: %d" % len(body) in head
    assert set(json.loads(body)["error"]) == {"message", "type", "code", "param"}


HEAD = b"POST /a HTTP/1.1\r\nhost: g\r\n"


@pytest.mark.parametrize(
    "begins",
    [
        b"GET /",
        HEAD + b"x-endless: ",
        HEAD,
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1;",
    ],
    ids=["target", "one header", "headers", "trailers", "chunk extension"],
)
async def test_what_never_ends_is_refused_before_it_fills_the_memory(begins: bytes) -> None:
    """Whoever it is: a key is not asked for until the head has ended."""
    more = b"".join(b"h%d:v\r\n" % number for number in range(500))
    endless = more if begins.endswith(b"\n") else b"a" * len(more)
    wire, lean = Wire(), protocol(tells_its_body)
    lean.connection_made(wire)
    lean.data_received(begins)
    sent = 0
    while not wire.closed:
        lean.data_received(endless)
        sent += len(endless)
        assert sent < 70_000
    assert b"".join(wire.writes).startswith(b"HTTP/1.1 431 ")
    lean.connection_lost(None)
    await asyncio.gather(*lean.tasks)


async def test_a_long_body_and_many_requests_at_once_are_no_endless_head() -> None:
    body = b"x" * 300_000
    long = HEAD + b"content-length: %d\r\n\r\n" % len(body)
    wire = await said_by(tells_its_body, long, body[:150_000], body[150_000:])
    assert b"".join(wire.writes).endswith(body)
    large = b"GET /a HTTP/1.1\r\nx-pad: " + b"a" * 30_000 + b"\r\n\r\n"
    wire = await said_by(tells_its_path, large * 5, large[:9], large[9:])
    assert b"".join(wire.writes).count(b"HTTP/1.1 200") == 6


async def test_what_is_no_http_is_not_mixed_into_an_answer_that_has_begun() -> None:
    """The stream is cut, which its reader sees by the missing last chunk."""
    wire = await said_by(Streams(1), b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n", b"\x16\x03\x01")
    assert b"HTTP/1.1 400" not in b"".join(wire.writes)
    assert wire.closed


async def tells_its_body(scope: Scope, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await Answers([(b"content-length", str(len(body)).encode())], body)(scope, receive, send)


UPGRADE = (
    b"host: g\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nHTTP2-Settings: AA\r\n"
)


@pytest.mark.parametrize(
    "parts",
    [
        [b"POST /a HTTP/1.1\r\n" + UPGRADE + b"content-length: 5\r\n\r\nhello"],
        [b"POST /a HTTP/1.1\r\n" + UPGRADE + b"content-length: 5\r\n\r\nhe", b"llo"],
        [
            b"POST /a HTTP/1.1\r\n" + UPGRADE + b"transfer-encoding: chunked\r\n\r\n2\r\nhe",
            b"\r\n3\r\nllo\r\n0\r\n\r\n",
        ],
    ],
    ids=["at once", "in two", "chunked"],
)
async def test_a_client_that_would_rather_speak_http_2_is_answered_all_the_same(
    parts: list[bytes],
) -> None:
    """Java's own client asks for it with its first request on every plain connection."""
    wire = await said_by(tells_its_body, *parts)
    assert b"".join(wire.writes).endswith(b"\r\n\r\nhello")
    assert wire.closed


async def test_a_get_that_asks_for_another_protocol_is_answered_in_this_one() -> None:
    wire = await said_by(tells_its_path, b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    assert b"".join(wire.writes).endswith(b"\r\n\r\n/a")


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


ASK = b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n"


async def said_by(app: Any, *requests: bytes) -> Wire:
    wire, lean = Wire(), protocol(app)
    lean.connection_made(wire)
    for request in requests or (ASK,):
        lean.data_received(request)
        await asyncio.sleep(0)
    await settle()
    lean.connection_lost(None)
    return wire


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\x00b"])
async def test_no_header_smuggles_a_line_into_the_head(value: bytes) -> None:
    written = b"".join((await said_by(Answers([(b"x-model", value)]))).writes)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert value not in written


async def test_an_answer_of_unknown_length_is_chunked() -> None:
    written = b"".join((await said_by(Answers([], b"hello"))).writes)
    assert b"\r\ntransfer-encoding: chunked\r\n" in written
    assert written.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_may_have_no_body_says_nothing_of_one(status: int) -> None:
    written = b"".join((await said_by(Answers([], status=status))).writes)
    assert b"transfer-encoding" not in written
    assert written.endswith(b"\r\n\r\n")


async def test_a_head_request_gets_the_head_alone() -> None:
    ask = b"HEAD /a HTTP/1.1\r\nhost: g\r\n\r\n"
    wire = await said_by(Answers([(b"content-length", b"5")], b"hello"), ask)
    written = b"".join(wire.writes)
    assert b"content-length: 5\r\n" in written
    assert written.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("body", [b"short", b"longer than it says"])
async def test_an_answer_that_is_not_as_long_as_it_says_is_cut_off(body: bytes) -> None:
    """The client sees that it is not whole: the connection ends before its length is reached."""
    wire = await said_by(Answers([(b"content-length", b"10")], body))
    assert wire.closed
    assert len(b"".join(wire.writes).partition(b"\r\n\r\n")[2]) < 10


async def test_an_answer_that_closes_the_connection_says_so_once() -> None:
    wire = await said_by(Answers([(b"connection", b"close"), (b"content-length", b"0")]))
    assert b"".join(wire.writes).count(b"connection: close\r\n") == 1
    assert wire.closed


async def test_a_large_body_is_not_copied_behind_its_head() -> None:
    headers = [(b"content-length", str(2 * len(BLOCK)).encode())]
    assert len((await said_by(Answers(headers, 2 * BLOCK))).writes) == 2


async def test_an_escaped_path_and_a_query_arrive_apart() -> None:
    wire = await said_by(tells_its_path, b"GET /a%20b?c=d HTTP/1.1\r\nhost: g\r\n\r\n")
    assert b"".join(wire.writes).endswith(b"\r\n\r\n/a b")


class Waits:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.told = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.told.wait()
        await tells_its_path(scope, receive, send)


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /a HTTP/1.1\r\nhos", b"POST /a HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_a_connection_that_says_no_more_is_closed(sent: bytes) -> None:
    """With no patience at all, so that the test need not wait."""
    wire, lean = Wire(), protocol(Waits(), patience_s=0)
    lean.connection_made(wire)
    if sent:
        lean.data_received(sent)
    await settle()
    assert wire.closed
    lean.connection_lost(None)
    await asyncio.gather(*end(lean.tasks), return_exceptions=True)


async def test_a_connection_whose_answer_is_under_way_stays_open_until_that_is_given() -> None:
    waits, wire = Waits(), Wire()
    lean = protocol(waits, patience_s=0)
    lean.connection_made(wire)
    lean.data_received(b"GET /a HTTP/1.1\r\nhost: g\r\n\r\n")
    await settle()
    assert not wire.closed
    waits.told.set()
    await settle()
    assert b"".join(wire.writes).endswith(b"/a")
    assert wire.closed
    lean.connection_lost(None)


def end(tasks: set[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
    for task in tasks:
        task.cancel()
    return list(tasks)


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
        await until(lambda: app.sent > 0, "the first block is sent")
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
