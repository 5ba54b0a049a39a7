"""Streamed bodies: as they come, cut, stalled, left, and held back by a slow reader; and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.client import Client, Origin, render_head
from adapters.http.response import HIGH_WATER
from gateway.clock import FakeClock, settle
from gateway.tls.context import ensure_certificates, server_context
from gateway.tls.files import TlsMaterial
from tests.adapters.http.client import client_of
from tests.adapters.servers import CUT, RawServer, answer, chunked, drive, read_request, scripted


async def test_a_stream_comes_as_it_is_sent(clock: FakeClock) -> None:
    """The first piece is read before the second is written."""
    step = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(b"one", end=False))
        await step.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        body = await client.stream(head, b"{}")
        assert await body.read() == b"one"
        step.set()
        assert await body.read() == b"two"
        assert await body.read() == b""
        assert "1 idle" in repr(client)


async def test_a_cut_stream_gives_what_came_and_then_says_so(clock: FakeClock) -> None:
    async with (
        scripted(chunked(b"one", end=False) + CUT) as (_, url),
        client_of(url, clock) as (client, head),
    ):
        body = await client.stream(head, b"{}")
        assert await body.read() == b"one"
        with pytest.raises(BackendError) as caught:
            await body.read()
        assert caught.value.failure is FailureClass.TRUNCATED


async def test_a_reader_that_is_slow_holds_the_server_back(clock: FakeClock) -> None:
    """Of 64 MB that the server would send, only the buffers' worth leaves it."""
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(chunked(end=False))
        piece = b"%x\r\n%b\r\n" % (65536, b"x" * 65536)
        for _ in range(1000):
            writer.write(piece)
            sent += 65536
            await writer.drain()

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        body = await client.stream(head, b"{}")
        last = -1
        while sent != last:
            last = sent
            await settle(200)
        assert sent < 32_000_000
        got = len(await body.read())
        assert got > HIGH_WATER
        got += len(await body.read())
        body.close()
        assert "0 active" in repr(client)


async def test_a_stream_that_falls_silent_is_given_up(clock: FakeClock) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(b"one", end=False))
        await reader.read()

    async with (
        RawServer(talk).running() as server,
        client_of(server.url, clock, stall_timeout=5.0) as (client, head),
    ):
        body = await client.stream(head, b"{}")
        assert await body.read() == b"one"
        with pytest.raises(BackendError) as caught:
            await drive(clock, body.read())
        assert caught.value.failure is FailureClass.TIMEOUT


async def test_a_stream_that_is_left_keeps_its_connection_if_it_ends_soon(
    clock: FakeClock,
) -> None:
    step = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(b"one", end=False))
        await step.wait()
        writer.write(b"0\r\n\r\n")
        await reader.read()

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        body = await client.stream(head, b"{}")
        assert await body.read() == b"one"
        body.leave(clock.monotonic() + 1.0)
        step.set()
        await settle(200)
        assert "0 active, 1 idle" in repr(client)


async def test_a_stream_that_is_left_and_does_not_end_loses_its_connection(
    clock: FakeClock,
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(chunked(b"one", end=False))
        await reader.read()

    async with RawServer(talk).running() as server, client_of(server.url, clock) as (client, head):
        body = await client.stream(head, b"{}")
        body.leave(clock.monotonic() + 1.0)
        await clock.advance(1.2)
        assert "0 active, 0 idle" in repr(client)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    folder = tmp_path_factory.mktemp("tls")
    return ensure_certificates(folder, ["127.0.0.1"], datetime.datetime.now(datetime.UTC))


async def test_a_server_with_a_known_authority_is_spoken_to_over_tls(
    clock: FakeClock, certificates: TlsMaterial
) -> None:
    async with tls_client(clock, certificates, str(certificates.ca)) as (client, head):
        for _ in range(2):
            assert (await client.request(head, b"{}")).body == b"ok"
        assert "1 idle" in repr(client)


async def test_a_server_with_an_unknown_authority_is_unreachable(
    clock: FakeClock, certificates: TlsMaterial
) -> None:
    """Nothing is sent to it."""
    async with tls_client(clock, certificates, None) as (client, head):
        with pytest.raises(BackendError) as caught:
            await client.request(head, b"{}")
        assert caught.value.failure is FailureClass.UNREACHABLE
        assert "certificate" in caught.value.detail.lower()


@contextlib.asynccontextmanager
async def tls_client(
    clock: FakeClock, certificates: TlsMaterial, ca_file: str | None
) -> AsyncIterator[tuple[Client, bytes]]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await read_request(reader)
                writer.write(answer(b"ok"))
        writer.close()

    context = server_context(certificates)
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    origin = Origin(f"https://127.0.0.1:{port}")
    client = Client(origin, clock, ca_file=ca_file)
    client.start()
    yield client, render_head("POST", origin, "/x")
    await client.aclose()
    server.close()
    await settle(50)
