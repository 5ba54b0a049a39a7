"""A server, from the beginning of its app to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from local_runtime.http.server import HttpServer


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
async def serving(app: Any, drain_s: float = 30.0) -> AsyncIterator[tuple[HttpServer, int]]:
    """The server and its port; it has ended when this does."""
    place = listening()
    port = place.getsockname()[1]
    server = HttpServer(app, host="127.0.0.1", port=port, drain_s=drain_s)
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
