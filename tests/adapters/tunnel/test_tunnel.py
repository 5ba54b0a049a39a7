"""Calls reach a backend through a real proxy, and a certificate of ours where it asks for one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.http.client import Client, Origin, render_head
from adapters.proxies import Proxy, proxy_for, proxy_of
from adapters.trust import ClientCertificate
from adapters.tunnel import Address, TunnelRefused, through_one_of
from gateway.clock import FakeClock
from tests.adapters.servers import RawServer, answer, read_request
from tests.private_authority import issue


class ConnectProxy:
    """Lets through whoever gives its password, where it has one; notes whom it was asked for."""

    def __init__(self, authorization: str = "") -> None:
        self.asked: list[str] = []
        self.answers = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self._authorization = authorization

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        target = head.split(" ")[1]
        self.asked.append(target)
        if self._authorization and f"Proxy-Authorization: {self._authorization}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        host, _, port = target.rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(self.answers)
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_request(reader)
        writer.write(answer({"ok": 1}))


@contextlib.asynccontextmanager
async def secured(folder: Path, *, asks: bool = False) -> AsyncIterator[tuple[str, Path]]:
    """A server with TLS, and the folder of what was issued; ``asks``: for a certificate."""
    material = issue(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(material.cert, material.key)
    if asks:
        context.load_verify_locations(material.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(_quietly, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", folder


async def _quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await _answers(reader, writer)
    writer.close()


async def status_of(
    url: str,
    clock: FakeClock,
    *,
    proxy: Proxy | None = None,
    ca_file: str | None = None,
    certificate: ClientCertificate | None = None,
) -> int:
    origin = Origin(url)
    client = Client(origin, clock, ca_file=ca_file, certificate=certificate, proxy=proxy)
    client.start()
    try:
        return (await client.request(render_head("POST", origin, "/x"), b"{}")).status
    finally:
        await client.aclose()


async def test_calls_go_through_a_tunnel_in_which_tls_is_the_backends(
    tmp_path: Path, clock: FakeClock
) -> None:
    proxy = ConnectProxy()
    async with secured(tmp_path) as (url, folder), RawServer(proxy.talk).running() as server:
        via = proxy_of(server.url)
        assert await status_of(url, clock, proxy=via, ca_file=str(folder / "ca.pem")) == 200
    assert proxy.asked == [url.removeprefix("https://")]


async def test_a_proxy_that_asks_who_comes_is_told(clock: FakeClock) -> None:
    proxy = ConnectProxy("Basic dTpw")  # u:p
    async with RawServer(_answers).running() as backend, RawServer(proxy.talk).running() as server:
        assert await status_of(backend.url, clock, proxy=proxy_of(server.url, "u:p")) == 200
        with pytest.raises(BackendError) as refused:
            await status_of(backend.url, clock, proxy=proxy_of(server.url))
    assert refused.value.failure is FailureClass.UNREACHABLE
    assert "does not let us through: 407 Proxy Authentication Required" in refused.value.detail


@pytest.mark.parametrize(
    "answers", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000], ids=len
)
async def test_a_proxy_that_is_none_is_named(answers: bytes, clock: FakeClock) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers)
        writer.close()

    async with RawServer(talk).running() as server:
        with pytest.raises(BackendError) as refused:
            await status_of("https://backend.example", clock, proxy=proxy_of(server.url))
    assert refused.value.failure is FailureClass.UNREACHABLE
    assert f"the proxy {server.url.removeprefix('http://')}" in refused.value.detail


async def test_a_proxy_that_is_not_there_is_named(clock: FakeClock) -> None:
    async with RawServer(_answers).running() as server:
        gone = server.url
    with pytest.raises(BackendError) as refused:
        await status_of("https://backend.example", clock, proxy=proxy_of(gone))
    assert refused.value.failure is FailureClass.UNREACHABLE
    assert f"the proxy {gone.removeprefix('http://')}" in refused.value.detail


@contextlib.contextmanager
def nobody_at(count: int) -> Iterator[list[Address]]:
    """So many addresses where nobody listens."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        yield [_address(one.getsockname()) for one in sockets]


def _address(where: tuple[str, int]) -> Address:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", where


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("after", [0, 1])
async def test_each_address_of_a_proxy_is_tried(before: int, after: int) -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with RawServer(talk).running() as server:
        via = proxy_of(server.url)
        there = _address(("127.0.0.1", via.port))
        with nobody_at(before) as first, nobody_at(after) as last:
            through = await through_one_of([*first, there, *last], via, "api.example", 443)
            through.close()
    assert asked == [b"CONNECT api.example:443 HTTP/1.1\r\n"]


async def test_a_proxy_that_is_at_none_of_its_addresses_is_named() -> None:
    with nobody_at(3) as found, pytest.raises(ConnectionRefusedError, match="the proxy p:3128: "):
        await through_one_of(found, proxy_of("http://p:3128"), "api.example", 443)


async def test_a_proxy_that_refuses_is_not_asked_at_its_other_addresses() -> None:
    proxy = ConnectProxy("Basic dTpw")
    async with RawServer(proxy.talk).running() as server:
        via = proxy_of(server.url)
        there = _address(("127.0.0.1", via.port))
        with pytest.raises(TunnelRefused, match="407"):
            await through_one_of([there, there], via, "api.example", 443)
    assert proxy.asked == ["api.example:443"]


async def test_a_backend_that_asks_for_a_certificate_is_shown_ours(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with secured(tmp_path, asks=True) as (url, folder):
        ours = ClientCertificate(str(folder / "cert.pem"), str(folder / "key.pem"))
        ca_file = str(folder / "ca.pem")
        assert await status_of(url, clock, ca_file=ca_file, certificate=ours) == 200
        with pytest.raises(BackendError):
            await status_of(url, clock, ca_file=ca_file)


FROM = {"HTTPS_PROXY": "http://u:p%40@10.0.0.1:3128", "NO_PROXY": "inside.example,.corp"}


@pytest.mark.parametrize(
    ("host", "secure", "given", "expected"),
    [
        ("api.example", True, None, "10.0.0.1"),
        ("api.example", False, None, None),
        ("api.example", True, "off", None),
        ("api.example", True, "http://10.0.0.2:1", "10.0.0.2"),
        ("inside.example", True, None, None),
        ("a.corp", True, None, None),
        ("inside.example", True, "http://10.0.0.2:1", "10.0.0.2"),
        ("127.0.0.1", True, None, None),
    ],
)
def test_the_environments_proxy_is_for_tls_to_elsewhere(
    host: str, secure: bool, given: str | None, expected: str | None
) -> None:
    found = proxy_for(host, secure, given, None, FROM)
    assert (found.host if found else None) == expected
    if expected == "10.0.0.1" and found is not None:
        assert found.authorization == b"Proxy-Authorization: Basic dTpwQA==\r\n"
