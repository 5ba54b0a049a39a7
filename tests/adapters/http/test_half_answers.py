"""A body that stops in the middle, or never ends: how long it is waited for, and what it means."""

from __future__ import annotations

import asyncio

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.client import TICK, Client
from adapters.http.connection import REFUSAL_S
from gateway.clock import FakeClock
from tests.adapters.http.client import client_of
from tests.adapters.servers import RawServer, drive, read_request

STALL_S = 20.0
NOTICED_S = 4 * TICK

HALVES = {
    "five bytes of a hundred": b"content-length: 100\r\n\r\nhello",
    "nothing of a hundred": b"content-length: 100\r\n\r\n",
    "a chunk without the last": b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "a body until the close": b"\r\nhello",
}


class Dripping:
    """A server that answers with ``start``, and adds ``drip`` each so many seconds, for ever."""

    def __init__(self, clock: FakeClock, start: bytes, drip: bytes = b"") -> None:
        self._clock, self._start, self._drip = clock, start, drip

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(self._start)
        while self._drip:
            await self._clock.sleep(1.0)
            writer.write(self._drip)
        await reader.read()


async def status_of(client: Client, head: bytes, clock: FakeClock, *, stream: bool) -> int:
    """What a request is answered with."""
    deadline = clock.monotonic() + 600.0
    if not stream:
        return (await client.request(head, b"{}", deadline=deadline)).status
    body = await client.stream(head, b"{}", deadline=deadline)
    return (await body.to_response()).status


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("drip", [b"", b"x"], ids=["and then silence", "and a byte a second"])
@pytest.mark.parametrize("status", [302, 404, 429, 503])
@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
async def test_a_refusal_whose_body_does_not_end_is_that_refusal_soon(
    half: bytes, status: int, drip: bytes, stream: bool, clock: FakeClock
) -> None:
    if drip and b"chunked" in half:
        drip = b"1\r\nx\r\n"
    server = Dripping(clock, b"HTTP/1.1 %d No\r\n%b" % (status, half), drip)
    async with (
        RawServer(server.talk).running() as running,
        client_of(running.url, clock, stall_timeout=STALL_S) as (client, head),
    ):
        begun = clock.monotonic()
        said = await drive(clock, status_of(client, head, clock, stream=stream))
        assert said == status
        assert clock.monotonic() - begun <= REFUSAL_S + NOTICED_S
        assert client.in_use == 0


@pytest.mark.parametrize("half", list(HALVES.values())[::2])
async def test_a_whole_answer_that_stops_in_its_body_is_given_up(
    half: bytes, clock: FakeClock
) -> None:
    server = Dripping(clock, b"HTTP/1.1 200 OK\r\n" + half)
    async with (
        RawServer(server.talk).running() as running,
        client_of(running.url, clock, stall_timeout=STALL_S) as (client, head),
    ):
        begun = clock.monotonic()
        with pytest.raises(BackendError) as caught:
            await drive(clock, status_of(client, head, clock, stream=False))
        assert caught.value.failure is FailureClass.TIMEOUT
        assert STALL_S <= clock.monotonic() - begun <= STALL_S + NOTICED_S


async def test_a_whole_answer_may_be_long_in_the_making_after_its_head(clock: FakeClock) -> None:
    """Some servers send their head at once, and what they have made behind it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        await clock.sleep(3 * STALL_S)
        writer.write(b"hello")

    async with (
        RawServer(talk).running() as running,
        client_of(running.url, clock, stall_timeout=STALL_S) as (client, head),
    ):
        assert await drive(clock, status_of(client, head, clock, stream=False)) == 200


async def test_what_the_answer_before_has_brought_begins_no_body(clock: FakeClock) -> None:
    """The second answer on a connection may be as long in the making as the first."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await read_request(reader)
            await clock.sleep(2 * STALL_S)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

    async with (
        RawServer(talk).running() as running,
        client_of(running.url, clock, stall_timeout=STALL_S) as (client, head),
    ):
        for _ in range(2):
            assert await drive(clock, status_of(client, head, clock, stream=False)) == 200
        assert running.connections == 1
