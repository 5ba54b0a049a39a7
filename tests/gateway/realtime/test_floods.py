"""A client that sends more than anybody takes, or takes nothing of what it is sent."""

from __future__ import annotations

import asyncio

import pytest
from websockets.frames import Frame, Opcode

from gateway.clock import settle
from gateway.realtime.client_socket import ClientSocket
from local_runtime.http.upgrades import Upgrade, Upgraded
from tests.local_runtime.http.wire import Wire

_HEAD = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Connection:
    """One that gives its transport away."""

    def __init__(self, transport: Wire) -> None:
        self.transport: asyncio.Transport = transport

    def give_away(self, protocol: Upgraded) -> None:
        protocol.taken(self.transport, set())


def opened(write_s: float = 60) -> tuple[ClientSocket, Wire]:
    """A conversation that nobody hears yet."""
    wire, socket = Wire(), ClientSocket(max_message=1 << 20, write_s=write_s)
    assert socket.refusal(_HEAD) == ""
    socket.accept(Upgrade(Connection(wire)), [])
    wire.writes.clear()
    return socket, wire


def frames(opcode: Opcode, *data: bytes, fin: bool = True) -> bytes:
    return b"".join(Frame(opcode, one, fin).serialize(mask=True) for one in data)


def heard_at_once(socket: ClientSocket) -> list[bytes]:
    """The messages that wait."""
    found: list[bytes] = []
    while True:
        try:
            socket.receive().send(None)
        except StopIteration as message:
            if message.value is None:
                return found
            found.append(message.value)
        else:
            return found


_NOISE = [
    pytest.param(Opcode.PONG, b"", True, id="pongs"),
    pytest.param(Opcode.PING, b"p" * 125, True, id="pings"),
    pytest.param(Opcode.TEXT, b"", True, id="empty messages"),
    pytest.param(Opcode.CONT, b"", False, id="empty parts"),
]


@pytest.mark.parametrize(("opcode", "data", "fin"), _NOISE)
async def test_frames_that_say_nothing_end_it(opcode: Opcode, data: bytes, fin: bool) -> None:
    socket, wire = opened()
    begun = frames(Opcode.TEXT, b"a", fin=False) if opcode is Opcode.CONT else b""
    socket.data_received(begun + frames(opcode, *[data] * 2000, fin=fin))
    assert not wire.reads  # the rest has its turn behind everybody else's
    while not wire.closed:
        await asyncio.sleep(0)
        heard_at_once(socket)
    assert b"\x03\xf0too many frames that say nothing" in b"".join(wire.writes)
    assert await socket.receive() is None
    socket.connection_lost(None)


async def test_sixteen_messages_wait_and_the_rest_is_not_read() -> None:
    socket, wire = opened()
    sent = [str(n).encode() for n in range(100)]
    socket.data_received(frames(Opcode.TEXT, *sent))
    await settle()
    assert not wire.reads
    heard = heard_at_once(socket)
    assert heard == sent[:16]
    while len(heard) < len(sent):
        await asyncio.sleep(0)
        heard += heard_at_once(socket)
    assert heard == sent
    await settle()
    assert wire.reads
    socket.connection_lost(None)


async def test_a_client_that_takes_nothing_is_not_read() -> None:
    socket, wire = opened()
    socket.pause_writing()
    socket.data_received(frames(Opcode.PING, *[b"p"] * 100))
    await settle()
    assert (wire.reads, wire.writes) == (False, [])
    socket.resume_writing()
    await settle()
    assert wire.reads
    assert len(b"".join(wire.writes)) == 300
    socket.connection_lost(None)


async def test_a_client_that_takes_nothing_is_cut_though_nobody_speaks() -> None:
    socket, wire = opened(write_s=0)
    socket.pause_writing()
    while not wire.closed:
        await asyncio.sleep(0)
    socket.connection_lost(None)


async def test_a_message_in_parts_is_one() -> None:
    socket, _ = opened()
    socket.data_received(
        frames(Opcode.TEXT, b"a", fin=False)
        + frames(Opcode.CONT, *[b"b"] * 9, fin=False)
        + frames(Opcode.CONT, b"")
    )
    assert heard_at_once(socket) == [b"a" + b"b" * 9]
    socket.connection_lost(None)
