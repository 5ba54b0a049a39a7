"""Clients that are not read while they go, and clients that read nothing."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from starlette.types import Receive, Scope, Send

from local_runtime.http.strangers import Strangers
from tests.local_runtime.http.test_client_limits import ENDLESS, LONG, SHORT, serving, status_of
from tests.local_runtime.http.wire import ASK, HEAD, Streams, Waits
from tests.waiting import until


@pytest.mark.parametrize("behind", [ASK * 3, HEAD + b"content-length: 9\r\n\r\nhalf"])
async def test_a_client_that_is_gone_is_missed_though_nothing_is_read_of_it(behind: bytes) -> None:
    """Its next request waits, so its end is not heard either."""
    heard: list[str] = []

    async def listens(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            pass
        heard.append(message["type"])

    async with serving(listens, SHORT) as server:
        async with server.client() as (_, writer):
            writer.write(ASK + behind)
            await until(lambda: bool(server.state.tasks), "it is asked")
        await server.until_nobody_is_there()
        assert heard == ["http.disconnect"]


async def test_a_client_that_ends_its_half_behind_several_requests_gets_all_answers() -> None:
    waits = Waits()
    async with serving(waits, SHORT) as server, server.client() as (reader, writer):
        writer.write(ASK * 3)
        writer.write_eof()
        await until(lambda: bool(server.state.tasks), "it is asked")
        await asyncio.sleep(0.2)
        waits.told.set()
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 3
        await server.until_nobody_is_there()


async def test_strangers_that_read_no_answer_lock_nobody_out() -> None:
    """Where none is idle the one that came first is cut, never the one that has just come."""
    async with contextlib.AsyncExitStack() as stack:
        app = Streams(ENDLESS)
        server = await stack.enter_async_context(serving(app, LONG, Strangers(4)))
        for _ in range(4):
            _, ask = await stack.enter_async_context(server.client(slow=True))
            ask.write(ASK)
        await until(
            lambda: [each.is_untaken() for each in server.state.connections] == [True] * 4,
            "none of them takes what was written",
        )
        newcomer, ask = await stack.enter_async_context(server.client())
        ask.write(ASK)
        assert await status_of(newcomer) == 200
        assert len(server.state.connections) <= 5
