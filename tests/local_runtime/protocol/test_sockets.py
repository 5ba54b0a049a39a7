"""A worker's TCP socket, and who gets past the token."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from local_runtime.protocol.sockets import (
    MAX_STRANGERS,
    TOKEN,
    TokenGate,
    address_of,
    dial,
    listen,
    new_token,
)


class Echo(asyncio.Protocol):
    """Says back what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class Heard(asyncio.Protocol):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.data = b""
        self.more = asyncio.Event()
        self.transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.more.set()


@asynccontextmanager
async def gated(within_s: float = 5.0) -> AsyncIterator[tuple[str, int, TokenGate]]:
    """The token, the port and the gate of an echo."""
    token = new_token()
    gate = TokenGate(token, Echo, within_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(gate.stranger, "127.0.0.1", 0)
    async with server:
        yield token, server.sockets[0].getsockname()[1], gate


async def said(port: int, *pieces: bytes) -> bytes:
    """What comes back for the pieces until the connection ends, or is idle as an echo is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            return await reader.read(100)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_whoever_says_the_token_is_let_in_with_what_he_says_behind_it() -> None:
    async with gated() as (token, port, gate):
        assert await said(port, token.encode() + b"hello") == b"hello"
        assert await said(port, token[:10].encode(), token[10:].encode(), b"hello") == b"hello"
        assert gate.strangers == 0


@pytest.mark.parametrize("wrong", [b"x" * 43, b"\0\0\0\1" * 20, b"GET / HTTP/1.1\r\n" * 5])
async def test_whoever_says_something_else_is_cut_off(wrong: bytes) -> None:
    async with gated() as (_, port, gate):
        assert await said(port, wrong) == b""
        assert gate.strangers == 0


async def test_whoever_says_nothing_is_cut_off_after_a_while() -> None:
    async with gated(within_s=0.02) as (token, port, gate):
        assert await said(port) == b""
        assert await said(port, token[:20].encode()) == b""
        assert gate.strangers == 0


async def test_only_so_many_may_stand_before_the_gate() -> None:
    """The next is cut off at once; one who was let in makes no room and takes none."""
    async with gated() as (token, port, _):
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_STRANGERS)]
        assert await said(port, token.encode() + b"hello") == b""
        waiting[0][1].write(token.encode() + b"hello")
        assert await waiting[0][0].read(100) == b"hello"
        assert await said(port, token.encode() + b"hello") == b"hello"
        for _, writer in waiting:
            writer.close()


async def test_a_caller_dials_a_machine_as_he_dials_a_path(tmp_path: Path) -> None:
    """By TCP with the token, on a socket that was opened by another process."""
    os.environ[TOKEN] = token = new_token()
    listener = socket.create_server(("127.0.0.1", 0))
    address = address_of("127.0.0.1", listener.getsockname()[1], token)
    for where, dialled in (
        (f"fd:{listener.detach()}", address),
        (str(tmp_path / "s"), str(tmp_path / "s")),
    ):
        async with await listen(Echo, where):
            heard = Heard()
            await dial(dialled, lambda heard=heard: heard)  # type: ignore[misc]
            assert isinstance(heard.transport, asyncio.WriteTransport)
            heard.transport.write(b"hello")
            async with asyncio.timeout(10):
                await heard.more.wait()
            assert heard.data == b"hello"
            heard.transport.close()
    assert TOKEN not in os.environ
