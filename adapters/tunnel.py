"""Through a proxy to a backend: a tunnel by CONNECT (RFC 9110, 9.3.6), in which TLS and HTTP are as
without it. The proxy learns the backend's host and port, and nothing of calls."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from adapters.proxies import Proxy

Address: TypeAlias = tuple[int, int, int, str, Any]
"""As ``socket.getaddrinfo`` gives them: family, kind, protocol, name, and where."""

_MOST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})([^\r\n]*)")


class TunnelRefused(OSError):
    """The proxy was reached, and did not let us through."""


async def connect(
    make: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    proxy: Proxy | None,
) -> None:
    """A connection to a backend, with TLS where there is a ``context``. Raises OSError and
    ValueError."""
    loop = asyncio.get_running_loop()
    if proxy is None:
        await loop.create_connection(make, host, port, ssl=context)
        return
    through = await tunnel(proxy, host, port)
    try:
        name = None if context is None else host
        await loop.create_connection(make, sock=through, ssl=context, server_hostname=name)
    except BaseException:
        through.close()
        raise


async def tunnel(proxy: Proxy, host: str, port: int) -> socket.socket:
    """A connected socket whose other end is ``host``. Raises OSError, TunnelRefused among them,
    whose words name the proxy."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise _named(error, _via(proxy)) from error
    return await through_one_of(found, proxy, host, port)


async def through_one_of(
    addresses: Sequence[Address], proxy: Proxy, host: str, port: int
) -> socket.socket:
    """The same by the first of the proxy's addresses that is there; one that was reached and
    refuses speaks for all of them."""
    failed = OSError("it has no address")
    for address in addresses:
        try:
            return await _through(address, proxy, host, port)
        except TunnelRefused:
            raise
        except OSError as error:
            failed = error
    raise _named(failed, _via(proxy)) from failed


async def _through(address: Address, proxy: Proxy, host: str, port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, where = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, where)
        await _connect(loop, connection, proxy, _authority(host, port), _via(proxy))
    except BaseException:
        connection.close()
        raise
    return connection


def _via(proxy: Proxy) -> str:
    return f"the proxy {proxy.host}:{proxy.port}"


def _named(error: OSError, via: str) -> OSError:
    """The same failure, of the same number, by whose it is."""
    return type(error)(error.errno, f"{via}: {error.strerror or error}")


def _authority(host: str, port: int) -> bytes:
    return f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode("idna")


async def _connect(
    loop: asyncio.AbstractEventLoop,
    connection: socket.socket,
    proxy: Proxy,
    authority: bytes,
    via: str,
) -> None:
    ask = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (authority, authority, proxy.authorization)
    await loop.sock_sendall(connection, ask)
    head = b""
    while b"\r\n\r\n" not in head:
        # Nothing follows the head before we have spoken, so nothing of the backend's is read here.
        more = await loop.sock_recv(connection, 4096)
        head += more
        if not more or len(head) > _MOST_HEAD:
            raise TunnelRefused(f"{via} gave no answer to CONNECT")
    status = _STATUS.match(head)
    if status is None:
        raise TunnelRefused(f"{via} does not answer as a proxy")
    if not status[1].startswith(b"2"):
        said = (status[1] + status[2]).decode("latin-1").strip()
        raise TunnelRefused(f"{via} does not let us through: {said}")
