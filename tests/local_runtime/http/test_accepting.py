"""A server takes connections while it has room for them, and shows none the door unseen."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest
import uvloop

from gateway.tls.context import ensure_certificates, server_context
from gateway.tls.files import TlsMaterial
from local_runtime.http.accepting import Acceptor, Headroom
from tests.descriptors import no_descriptor_left
from tests.waiting import until


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    folder = tmp_path_factory.mktemp("tls")
    return ensure_certificates(folder, ["127.0.0.1"], datetime.datetime.now(datetime.UTC))


@pytest.fixture(autouse=True, params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy])
def loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Any loop will do; the server runs on uvloop's."""
    asyncio.set_event_loop_policy(request.param())
    yield
    asyncio.set_event_loop_policy(None)


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Full(Headroom):
    """No room until somebody made it."""

    def __init__(self) -> None:
        self.left = False
        self.asked = 0

    def is_left(self, coming: int) -> bool:
        return self.left

    def make(self) -> None:
        self.asked += 1


class Shy(Headroom):
    """It is always another's turn."""

    def __init__(self) -> None:
        self.asked = 0

    def is_others_turn(self, coming: int) -> bool:
        self.asked += 1
        return True


@contextlib.asynccontextmanager
async def listening(
    *,
    room: Headroom | None = None,
    tls: ssl.SSLContext | None = None,
    within_s: float = 60,
    most: int = 8,
) -> AsyncIterator[int]:
    taken = socket.create_server(("127.0.0.1", 0))
    taken.setblocking(False)
    listener = Acceptor(taken, Echo, room=room or Headroom(), tls=tls, within_s=within_s, most=most)
    try:
        yield taken.getsockname()[1]
    finally:
        listener.close()
        await listener.wait_closed()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echoed(ends: Ends) -> bytes:
    reader, writer = ends
    writer.write(b"hello")
    said = await reader.read(5)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return said


def trusting(material: TlsMaterial) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(material.ca))


async def test_who_comes_while_there_is_no_room_waits_and_is_served_when_there_is() -> None:
    room = Full()
    async with listening(room=room) as port:
        ends = await asyncio.open_connection("127.0.0.1", port)
        ends[1].write(b"early")
        await until(lambda: room.asked > 1, "room is asked for more than once")
        room.left = True
        assert await ends[0].read(5) == b"early"
        assert await echoed(ends) == b"hello"


async def test_who_comes_while_there_is_no_descriptor_waits_for_one() -> None:
    room = Full()
    room.left = True
    async with listening(room=room) as port:
        client = socket.socket()
        client.setblocking(False)
        with no_descriptor_left():
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
            await until(lambda: room.asked > 1, "room is asked for more than once")
        assert await echoed(await asyncio.open_connection(sock=client)) == b"hello"


async def test_the_oldest_that_says_nothing_of_tls_makes_way_for_the_newest(
    material: TlsMaterial,
) -> None:
    async with listening(tls=server_context(material), most=2) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert await silent[0][0].read() == b""
        ends = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(material))
        assert await echoed(ends) == b"hello"
        assert await silent[1][0].read() == b""
        for _, writer in silent:
            writer.close()


async def test_a_client_that_never_agrees_on_tls_is_cut_after_its_time(
    material: TlsMaterial,
) -> None:
    async with listening(tls=server_context(material), within_s=0.01) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nhost: g\r\n\r\n",
        bytes(70_000),
        b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000,
    ],
    ids=["plain HTTP", "zeros", "a record that is too large"],
)
async def test_who_speaks_no_tls_is_let_go_at_once(sent: bytes, material: TlsMaterial) -> None:
    async with listening(tls=server_context(material)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        with contextlib.suppress(ConnectionResetError):  # of what was not read
            await reader.read()
        writer.close()
        ends = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(material))
        assert await echoed(ends) == b"hello"


async def test_the_end_of_a_listener_cuts_those_that_have_not_agreed_on_tls(
    material: TlsMaterial,
) -> None:
    async with listening(tls=server_context(material)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ends = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(material))
        assert await echoed(ends) == b"hello"
    assert await reader.read() == b""
    writer.close()


async def test_a_connection_that_is_left_to_others_is_taken_where_none_of_them_does() -> None:
    room = Shy()
    async with listening(room=room) as port:
        for asked in range(1, 4):
            assert await echoed(await asyncio.open_connection("127.0.0.1", port)) == b"hello"
            assert room.asked >= asked


async def test_a_connection_that_is_left_to_others_is_theirs() -> None:
    """Two listen at one socket; whoever is shy leaves all to the other."""
    taken = socket.create_server(("127.0.0.1", 0))
    taken.setblocking(False)
    served: list[str] = []

    class Named(Echo):
        name = ""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            served.append(self.name)
            super().connection_made(transport)

    class Second(Named):
        name = "second"

    class First(Named):
        name = "first"

    port = taken.getsockname()[1]
    each = [
        Acceptor(taken.dup(), kind, room=room, tls=None, within_s=60, most=8)
        for kind, room in ((First, Shy()), (Second, Headroom()))
    ]
    taken.close()
    try:
        for _ in range(10):
            assert await echoed(await asyncio.open_connection("127.0.0.1", port)) == b"hello"
    finally:
        for one in each:
            one.close()
            await one.wait_closed()
    assert served.count("second") >= 6
