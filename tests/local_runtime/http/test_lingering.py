"""A client that still sends when it is refused reads why, and holds the connection no longer than
it may: on real sockets, with and without TLS, on the loop that the servers run on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.types import Receive, Scope, Send

from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.server import HttpServer
from tests.local_runtime.http.test_client_limits import serving
from tests.local_runtime.http.wire import ASK, BLOCK, HEAD, Answers
from tests.private_authority import issue
from tests.waiting import until

LONG = ClientLimits(linger_s=1000, body_s=1000)
SHORT = ClientLimits(linger_s=0.2, body_s=0.2, write_s=0.2, linger_bytes=10**6, rate=10**6)
CLOSES = Answers([(b"connection", b"close"), (b"content-length", b"3")], b"why", 413)
LARGE = b"x" * 20_000_000
"""More than the sockets of both ends take."""


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield
    asyncio.set_event_loop_policy(None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    issue(made)
    return made


async def reads_a_part(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await CLOSES(scope, receive, send)


async def does_not_close(scope: Scope, receive: Receive, send: Send) -> None:
    await Answers([(b"content-length", b"3")], b"why", 401)(scope, receive, send)


def sends_all_then_reads(port: int, sent: bytes, folder: Path | None) -> bytes:
    """As clients do that know of no answer before the end of what they say."""
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    if folder is not None:
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        client = context.wrap_socket(client, server_hostname="127.0.0.1")
    with client:
        client.sendall(sent)
        said = b""
        while part := client.recv(65536):
            said += part
            if b"connection: close" not in said and said.endswith(b"why"):
                break
        return said


WITH_LENGTH = HEAD + b"content-length: %d\r\n\r\n" % len(LARGE) + LARGE
IN_CHUNKS = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE)

REFUSALS: dict[str, tuple[Any, bytes, bytes]] = {
    "by an app that reads nothing": (CLOSES, WITH_LENGTH, b"413"),
    "by an app that reads a part": (reads_a_part, IN_CHUNKS, b"413"),
    "by an app that keeps the connection": (does_not_close, WITH_LENGTH, b"401"),
    "for chunks that are none": (
        reads_a_part,
        HEAD + b"transfer-encoding: chunked\r\n\r\nz\r\n" + LARGE,
        b"400",
    ),
    "for what is no HTTP": (CLOSES, b"\x16\x03\x01" + LARGE, b"400"),
    "for a head that does not end": (CLOSES, HEAD + b"x: " + LARGE, b"431"),
    "for a coding": (
        CLOSES,
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n" + LARGE,
        b"501",
    ),
    "with more behind it than it said": (
        CLOSES,
        HEAD + b"content-length: 1\r\n\r\n" + LARGE,
        b"413",
    ),
    "with many requests behind it": (CLOSES, ASK * 400_000, b"413"),
}
"""App, what is sent, and the status."""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("how", REFUSALS)
async def test_who_is_refused_while_it_sends_reads_why(how: str, tls: bool, folder: Path) -> None:
    app, sent, status = REFUSALS[how]
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    async with serving(app, LONG, tls=context) as server:
        place = folder if tls else None
        answer = await asyncio.to_thread(sends_all_then_reads, server.port, sent, place)
        assert answer.startswith(b"HTTP/1.1 " + status)
        await server.until_nobody_is_there()


@contextlib.asynccontextmanager
async def refused(
    limits: ClientLimits,
) -> AsyncIterator[tuple[Any, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client that has its whole answer, and has not sent its whole request."""
    async with serving(CLOSES, limits) as server, server.client() as (reader, writer):
        writer.write(HEAD + b"content-length: 1000000000\r\n\r\n")
        assert (await reader.read()).endswith(b"why")
        assert server.state.connections
        yield server, reader, writer


async def test_a_client_that_sends_no_more_is_let_go() -> None:
    async with refused(SHORT) as (server, _, _):
        await server.until_nobody_is_there()


async def test_a_client_that_goes_on_sending_is_cut_after_so_long() -> None:
    limits = ClientLimits(linger_s=1000, body_s=0.3)
    async with refused(limits) as (server, _, writer):

        def is_cut() -> bool:
            writer.write(b"x")
            return not server.state.connections

        await until(is_cut, "it is cut", every_s=0.02)


@pytest.mark.parametrize("app", [CLOSES, does_not_close])
async def test_a_client_that_sends_very_much_is_cut(app: Any) -> None:
    """Also where the connection would have been of use behind it."""
    limits = ClientLimits(linger_s=1000, body_s=1000, linger_bytes=1_000_000)
    async with serving(app, limits) as server, server.client() as (reader, writer):
        writer.write(HEAD + b"content-length: 1000000000\r\n\r\n")
        assert (await reader.readuntil(b"why")).startswith(b"HTTP/1.1 4")
        with contextlib.suppress(OSError):
            for _ in range(50):
                writer.write(BLOCK)
                await writer.drain()
        await server.until_nobody_is_there()


async def test_a_client_that_drips_behind_its_answer_is_let_go() -> None:
    """Each byte of a body gives a client time, but of one that nobody wants any more."""
    limits = ClientLimits(linger_s=0.1, body_s=0.3, rate=1)
    async with serving(does_not_close, limits) as server, server.client() as (reader, writer):
        writer.write(HEAD + b"content-length: 1000000000\r\n\r\n")
        await reader.readuntil(b"why")

        def is_let_go() -> bool:
            if not writer.is_closing():
                with contextlib.suppress(RuntimeError):  # of a transport that has just closed
                    writer.write(b"x" * 100)
            return not server.state.connections

        await until(is_let_go, "it is let go", every_s=0.02)


async def test_an_answer_that_nobody_takes_is_given_up_all_the_same() -> None:
    large = Answers(
        [(b"connection", b"close"), (b"content-length", b"%d" % len(LARGE))], LARGE, 413
    )
    async with serving(large, SHORT) as server, server.client(slow=True) as (_, writer):
        writer.write(HEAD + b"content-length: 1000000000\r\n\r\n")
        await until(lambda: server.state.total_requests == 1, "it is answered")
        await server.until_nobody_is_there()


async def test_a_stream_under_way_hears_that_its_client_sends_what_is_no_request() -> None:
    """It has no end then, and nothing is written behind it."""

    async def begins(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(begins, LONG) as server, server.client() as (reader, writer):
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.readuntil(b"first\r\n")
        writer.write(b"no chunk\r\n")
        assert await reader.read() == b""
        writer.close()
        await server.until_nobody_is_there()


async def test_who_sends_on_holds_up_no_end_of_the_server() -> None:
    """Its connection would last for long; a client that is idle is no different."""
    place = socket.create_server(("127.0.0.1", 0))
    place.setblocking(False)
    port = place.getsockname()[1]
    app = _Serves(CLOSES)
    server = HttpServer(app, host="127.0.0.1", port=port, drain_s=1000.0, limits=LONG)
    ending = asyncio.create_task(server.serve([place]))
    await until(lambda: server.started, "it serves")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"content-length: 1000000000\r\n\r\n")
    assert (await reader.read()).endswith(b"why")
    server.should_exit = True
    await ending
    writer.close()


class _Serves:
    """The app, with a lifespan in which nothing happens."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        for _ in range(2):
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
