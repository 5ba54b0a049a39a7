"""A server, from the beginning of its app to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from local_runtime.http.server import HttpServer
from tests.private_authority import issue
from tests.waiting import until


class App:
    """Answers when it is told to; ``said`` is what became of it."""

    def __init__(self, *, begins: bool = True, knows_lifespan: bool = True) -> None:
        self.said: list[str] = []
        self.asked, self.told = asyncio.Event(), asyncio.Event()
        self._begins = begins
        self._knows_lifespan = knows_lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self.asked.set()
        try:
            await self.told.wait()
        except asyncio.CancelledError:
            self.said.append("cancelled")
            raise
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    async def _live(self, receive: Receive, send: Send) -> None:
        if not self._knows_lifespan:
            raise RuntimeError("what is a lifespan?")
        await receive()
        if not self._begins:
            await send({"type": "lifespan.startup.failed", "message": "no model"})
            raise RuntimeError("no model")
        self.said.append("began")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.said.append("ended")
        await send({"type": "lifespan.shutdown.complete"})


def listening() -> socket.socket:
    """On a free port."""
    one = socket.create_server(("127.0.0.1", 0))
    one.setblocking(False)
    return one


@contextlib.asynccontextmanager
async def serving(
    app: Any, drain_s: float = 30.0, app_ends_s: float = 30.0
) -> AsyncIterator[tuple[HttpServer, int]]:
    """The server and its port; it has ended when this does."""
    place = listening()
    port = place.getsockname()[1]
    server = HttpServer(app, host="127.0.0.1", port=port, drain_s=drain_s, app_ends_s=app_ends_s)
    task = asyncio.create_task(server.serve([place]))
    while not (server.started or task.done()):
        await asyncio.sleep(0)
    try:
        yield server, port
    finally:
        server.should_exit = True
        await task


async def ask(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: g\r\n\r\n")
    return reader, writer


async def test_the_app_begins_before_and_ends_after_all_calls() -> None:
    app = App()
    async with serving(app) as (server, port):
        reader, writer = await ask(port)
        await app.asked.wait()
        server.should_exit = True
        app.told.set()
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert app.said == ["began", "ended"]


async def test_a_call_that_does_not_end_in_time_is_cancelled_before_the_app_ends() -> None:
    app = App()
    async with serving(app, drain_s=0.0) as (_, port):
        _, writer = await ask(port)
        await app.asked.wait()
    writer.close()
    assert app.said == ["began", "cancelled", "ended"]


@pytest.mark.parametrize(
    ("app", "why"),
    [
        ({"begins": False}, "no model"),
        ({"knows_lifespan": False}, "the app's lifespan has failed"),
    ],
)
async def test_an_app_that_cannot_begin_is_not_served(
    app: dict[str, bool], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(App(**app)) as (server, _):
        assert not server.started
    assert [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR] == [
        why,
        "the app could not start",
    ]


async def test_an_app_whose_port_is_taken_ends_again(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    with listening() as taken:
        server = HttpServer(app, host="127.0.0.1", port=taken.getsockname()[1], drain_s=0.0)
        await server.serve()
    assert not server.started
    assert app.said == ["began", "ended"]
    assert "address already in use" in caplog.text


# --- apps that do not live as they should --------------------------------------------------------


Life = Callable[[Receive, Send], Awaitable[None]]


class Lives:
    """An app of which only its lifespan is of interest."""

    def __init__(self, life: Life) -> None:
        self._life = life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        await self._life(receive, send)


async def begins(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})


async def hangs_at_once(receive: Receive, send: Send) -> None:
    await asyncio.Event().wait()


async def hangs_at_its_end(receive: Receive, send: Send) -> None:
    await begins(receive, send)
    await receive()
    await asyncio.Event().wait()


async def raises_at_its_end(receive: Receive, send: Send) -> None:
    await begins(receive, send)
    await receive()
    raise RuntimeError("the disk is full")


async def says_that_its_end_failed(receive: Receive, send: Send) -> None:
    await begins(receive, send)
    await receive()
    await send({"type": "lifespan.shutdown.failed", "message": "the disk is full"})


async def raises_in_between(receive: Receive, send: Send) -> None:
    await begins(receive, send)
    raise RuntimeError("the disk is full")


async def begins_twice(receive: Receive, send: Send) -> None:
    await begins(receive, send)
    await send({"type": "lifespan.startup.complete"})


async def returns_early(receive: Receive, send: Send) -> None:
    """As an app does that knows of no lifespan."""


@pytest.mark.parametrize(
    ("life", "why"),
    [
        (hangs_at_its_end, "the app is not done in time, and is cancelled"),
        (raises_at_its_end, "the app's lifespan has failed"),
        (says_that_its_end_failed, "the disk is full"),
        (raises_in_between, "the app's lifespan has failed"),
        (begins_twice, "the app's lifespan has failed"),
    ],
)
async def test_an_app_that_does_not_end_well_keeps_no_server_from_ending(
    life: Life, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Lives(life), app_ends_s=0.0) as (server, _):
        assert server.started
    errors = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert errors == [why]


@pytest.mark.parametrize("at_once", [False, True], ids=["SIGTERM", "Ctrl-C twice"])
async def test_an_app_that_never_begins_keeps_no_server_from_ending(
    at_once: bool, caplog: pytest.LogCaptureFixture
) -> None:
    place = listening()
    port = place.getsockname()[1]
    drain_s = 1000.0 if at_once else 0.0
    server = HttpServer(Lives(hangs_at_once), host="127.0.0.1", port=port, drain_s=drain_s)
    task = asyncio.create_task(server.serve([place]))
    await asyncio.sleep(0)
    for _ in range(2 if at_once else 1):
        server.handle_exit(signal.SIGINT, None)
    await task
    assert not server.started
    assert "the app could not start" in caplog.text


async def test_an_app_that_returns_before_it_has_begun_is_not_served() -> None:
    async with serving(Lives(returns_early)) as (server, _):
        assert not server.started


@pytest.mark.parametrize("ends", ["idle", "half a head"])
async def test_a_client_that_has_only_to_hang_up_too_holds_up_no_end(
    ends: str, tmp_path: Path
) -> None:
    """Over TLS, where it would have some seconds to say so."""
    issue(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    place = listening()
    port = place.getsockname()[1]
    server = HttpServer(App(), host="127.0.0.1", port=port, drain_s=1000.0, tls=tls)
    task = asyncio.create_task(server.serve([place]))
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    await until(lambda: server.started, "it serves")
    client = await asyncio.to_thread(_agreed, port, context)
    with client:
        if ends != "idle":
            await asyncio.to_thread(client.sendall, b"GET / HT")
        await until(lambda: bool(server.state.connections), "the client is there")
        began = server.state.connections
        server.should_exit = True
        await task
        assert not began


def _agreed(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    peer = socket.create_connection(("127.0.0.1", port), timeout=20)
    return context.wrap_socket(peer, server_hostname="127.0.0.1")
