"""Every wait on a client has a bound, over real sockets, and who keeps within them is served."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from gateway.clock import settle
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.server_state import ServerState
from local_runtime.http.strangers import IDENTIFY, Strangers
from tests.local_runtime.http.wire import (
    ASK,
    BLOCK,
    HEAD,
    Answers,
    Streams,
    Waits,
    Wire,
    protocol,
    tells_its_body,
    tells_its_path,
)
from tests.waiting import until

SHORT = ClientLimits(
    first_head_s=0.2, head_s=0.2, body_s=0.2, write_s=0.2, idle_s=0.2, linger_s=0.2, rate=1_000_000
)
LONG = ClientLimits(idle_s=60)
ENDLESS = 1_000_000


@pytest.fixture(autouse=True, params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Any loop will do; the server runs on uvloop's."""
    asyncio.set_event_loop_policy(request.param())
    yield
    asyncio.set_event_loop_policy(None)


class Server:
    """One app over real sockets; what its connections have in common is in ``state``."""

    def __init__(self, port: int, state: ServerState, strangers: Strangers | None) -> None:
        self.port = port
        self.state = state
        self.strangers = strangers

    @contextlib.asynccontextmanager
    async def client(
        self, *, slow: bool = False
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """``slow``: with a small window, and a reader that holds next to nothing."""
        peer = socket.socket()
        if slow:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=peer, limit=1024 if slow else 2**16)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def until_nobody_is_there(self) -> None:
        await until(lambda: not self.state.connections, "the connection is ended")
        await until(lambda: not self.state.tasks, "its request has ended")


@contextlib.asynccontextmanager
async def serving(
    app: Any,
    limits: ClientLimits,
    strangers: Strangers | None = None,
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: protocol(app, state, limits=limits, strangers=strangers),
        "127.0.0.1",
        0,
        ssl=tls,
    )
    try:
        yield Server(server.sockets[0].getsockname()[1], state, strangers)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await settle()
        for task in list(state.tasks):
            task.cancel()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def nothing_for(seconds: float, reader: asyncio.StreamReader) -> asyncio.Task[bytes]:
    """Nothing comes for so long; the first byte is what the task gives then."""
    first = asyncio.ensure_future(reader.readexactly(1))
    done, _ = await asyncio.wait([first], timeout=seconds)
    assert not done
    return first


async def status_of(reader: asyncio.StreamReader) -> int:
    return int((await reader.readline()).split()[1])


# --- what a client has to send -------------------------------------------------------------------


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with serving(tells_its_path, SHORT) as server, server.client() as (reader, _):
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /a HTTP/1.1\r\nhos",
        b"POST /a HTTP/1.1\r\nhost: g\r\ncontent-length: 9\r\n\r\nhalf",
        HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\nha",
    ],
    ids=["head", "body", "chunk"],
)
async def test_half_a_request_is_told_that_it_took_too_long(sent: bytes) -> None:
    async with serving(tells_its_body, SHORT) as server, server.client() as (reader, writer):
        writer.write(sent)
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
        await server.until_nobody_is_there()


@pytest.mark.parametrize(
    "begins", [b"GET /a HTTP/1.1\r\nx: ", HEAD + b"content-length: 99999\r\n\r\n"]
)
async def test_a_byte_now_and_then_does_not_keep_a_request_open(begins: bytes) -> None:
    async with serving(tells_its_body, SHORT) as server, server.client() as (_, writer):
        writer.write(begins)

        def ended() -> bool:
            if not writer.is_closing():
                with contextlib.suppress(RuntimeError):  # of a transport that has just closed
                    writer.write(b"x")
            return not server.state.connections

        await until(lambda: bool(server.state.connections), "it is there")
        await until(ended, "it is given up", every_s=0.02)


async def test_a_body_that_keeps_coming_may_take_its_time() -> None:
    """Each byte gives it the time that a byte may take."""
    limits = ClientLimits(body_s=0.1, rate=50)
    async with serving(tells_its_body, limits) as server, server.client() as (reader, writer):
        writer.write(HEAD + b"content-length: 100\r\n\r\n")
        for _ in range(20):
            writer.write(b"12345")
            await asyncio.sleep(0.02)
        assert await status_of(reader) == 200


async def test_a_body_that_nobody_reads_yet_is_not_late() -> None:
    """The time in which the server does not take it is not the client's."""
    told = asyncio.Event()

    async def reads_when_told(scope: Scope, receive: Receive, send: Send) -> None:
        await told.wait()
        await tells_its_body(scope, receive, send)

    async with serving(reads_when_told, SHORT) as server, server.client() as (reader, writer):
        body = bytes(8_000_000)
        writer.write(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        first = await nothing_for(0.6, reader)
        told.set()
        assert await first + await reader.readexactly(11) == b"HTTP/1.1 200"


async def test_a_client_that_waits_for_leave_to_send_its_body_is_not_late() -> None:
    waits = Waits()
    async with serving(waits, SHORT) as server, server.client() as (reader, writer):
        writer.write(HEAD + b"expect: 100-continue\r\ncontent-length: 1\r\n\r\n")
        first = await nothing_for(0.6, reader)
        waits.told.set()
        assert await first + await reader.readexactly(11) == b"HTTP/1.1 200"


async def test_an_answer_that_takes_long_is_waited_for_and_then_the_connection_is_idle() -> None:
    waits = Waits()
    async with serving(waits, SHORT) as server, server.client() as (reader, writer):
        writer.write(ASK)
        first = await nothing_for(0.6, reader)
        waits.told.set()
        assert await first == b"H"
        assert (await reader.read()).endswith(b"/a")


# --- what a client has to take -------------------------------------------------------------------


async def test_a_stream_that_nobody_reads_is_given_up_with_its_connection() -> None:
    app = Streams(ENDLESS)
    async with serving(app, SHORT) as server, server.client(slow=True) as (_, writer):
        writer.write(ASK)
        await until(lambda: app.sent > 0, "it has begun")
        await until(lambda: not server.state.connections, "the connection is ended")


@pytest.mark.parametrize("ask", [ASK, ASK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")])
async def test_a_whole_answer_that_nobody_takes_is_given_up_with_its_connection(
    ask: bytes,
) -> None:
    """Also where the connection was to be closed behind it, and cannot while it waits."""
    large = Answers([(b"content-length", b"%d" % (64 * len(BLOCK)))], 64 * BLOCK)
    async with serving(large, SHORT) as server, server.client(slow=True) as (_, writer):
        writer.write(ask)
        await until(lambda: server.state.total_requests == 1, "it is answered")
        assert server.state.tasks, "a request lasts until its answer was taken"
        await server.until_nobody_is_there()


async def test_a_reader_that_is_slow_but_reads_gets_everything() -> None:
    limits = ClientLimits(write_s=0.1, rate=1000)
    large = Answers([(b"content-length", b"%d" % (32 * len(BLOCK)))], 32 * BLOCK)
    async with serving(large, limits) as server, server.client(slow=True) as (reader, writer):
        writer.write(ASK)
        got = 0
        while got < 32 * len(BLOCK):
            await asyncio.sleep(0.005)
            got += (await reader.read(2**15)).count(b"x")


async def test_many_answers_that_nobody_takes_wait_one_behind_the_other() -> None:
    """Pipelined, they hold no more memory than one."""
    large = Answers([(b"content-length", b"%d" % (64 * len(BLOCK)))], 64 * BLOCK)
    async with serving(large, LONG) as server, server.client(slow=True) as (_, writer):
        writer.write(ASK * 20)
        await until(lambda: server.state.total_requests == 1, "one is answered")
        await asyncio.sleep(0.2)
        assert server.state.total_requests == 1


# --- a client that sends no more -----------------------------------------------------------------


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_a_client_that_ends_its_own_half_gets_its_answer(version: bytes) -> None:
    waits = Waits()
    async with serving(waits, LONG) as server, server.client() as (reader, writer):
        writer.write(b"GET /a HTTP/" + version + b"\r\nhost: g\r\n\r\n")
        writer.write_eof()
        await until(lambda: bool(server.state.tasks), "it is asked")
        await asyncio.sleep(0.3)
        waits.told.set()
        interim, _, answer = (await reader.read()).rpartition(b"HTTP/1.1 200 ")
        assert answer.endswith(b"/a")
        assert interim.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"") == b""
        assert bool(interim) == (version == b"1.1")
        await server.until_nobody_is_there()


async def test_a_client_that_is_gone_is_missed_though_that_looks_the_same_at_first() -> None:
    heard: list[str] = []

    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        heard.append(message["type"])

    async with serving(listens, LONG) as server:
        async with server.client() as (_, writer):
            writer.write(ASK)
            await until(lambda: bool(server.state.tasks), "it is asked")
        await server.until_nobody_is_there()
        assert heard == ["http.disconnect"]


async def test_a_client_that_ends_its_half_of_a_stream_under_way_is_gone() -> None:
    """Nothing else would tell until the next piece comes, and that may be long."""
    heard: list[str] = []

    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (message := await receive())["type"] != "http.disconnect":
            pass
        heard.append(message["type"])

    async with serving(begins, LONG) as server:
        async with server.client() as (reader, writer):
            writer.write(ASK)
            await reader.readuntil(b"first")
            writer.write_eof()
            await until(lambda: bool(heard), "its end is heard")
        await server.until_nobody_is_there()


@pytest.mark.parametrize("sent", [b"", b"GET /a HT", HEAD + b"content-length: 9\r\n\r\nhalf"])
async def test_a_client_that_ends_before_its_request_does_is_gone(sent: bytes) -> None:
    async with serving(tells_its_body, LONG) as server, server.client() as (reader, writer):
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == b""
        await server.until_nobody_is_there()


async def test_http_1_0_gets_no_chunks() -> None:
    async with serving(Streams(3), LONG) as server, server.client() as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert body == 3 * BLOCK


async def test_an_app_that_asks_for_chunks_itself_does_not_get_them_to_http_1_0() -> None:
    chunked = Answers([(b"transfer-encoding", b"chunked")], b"hello")
    async with serving(chunked, LONG) as server, server.client() as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert body == b"hello"


# --- strangers -----------------------------------------------------------------------------------


async def knows_who_asks_for_a(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/a" and IDENTIFY in scope:
        scope[IDENTIFY]()
    await tells_its_path(scope, receive, send)


async def test_idle_strangers_lock_nobody_out() -> None:
    """Those that came first are closed; who has shown who it is stays, however long it is idle."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(knows_who_asks_for_a, LONG, Strangers(10)))
        known, ask = await stack.enter_async_context(server.client())
        ask.write(ASK)
        assert await status_of(known) == 200
        flood = [await stack.enter_async_context(server.client()) for _ in range(60)]
        for reader, _ in flood[:50]:
            assert await reader.read() == b""
        ask.write(ASK)
        await known.readuntil(b"/a")
        assert await status_of(known) == 200
        newcomer, ask = await stack.enter_async_context(server.client())
        ask.write(ASK)
        assert await status_of(newcomer) == 200
        assert len(server.state.connections) <= 12


async def test_half_a_head_is_as_good_as_none_when_there_are_too_many_strangers() -> None:
    async with (
        serving(knows_who_asks_for_a, LONG, Strangers(1)) as server,
        server.client() as (first, begins),
    ):
        begins.write(b"GET /a HTTP/1.1\r\nhos")
        async with server.client():
            assert await first.read() == b""


async def test_a_stranger_that_is_being_answered_is_not_closed() -> None:
    waits = Waits()
    soon = ClientLimits(first_head_s=0.2)
    async with (
        serving(waits, soon, Strangers(1)) as server,
        server.client() as (first, ask),
    ):
        ask.write(ASK)
        await until(lambda: bool(server.state.tasks), "it is asked")
        async with server.client() as (second, _):
            assert await second.read() == b""
            waits.told.set()
            assert await status_of(first) == 200


async def test_who_runs_short_may_have_strangers_closed() -> None:
    strangers = Strangers(10)
    assert not strangers.close_oldest()
    connection = protocol(tells_its_path, strangers=strangers)
    wire = Wire()
    connection.connection_made(wire)
    assert strangers.close_oldest()
    assert wire.closed
    assert len(strangers) == 0
    connection.connection_lost(None)
