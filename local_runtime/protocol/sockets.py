"""A worker's socket between machines: who may connect to it, and how its caller does.

On one machine a worker listens on a Unix socket that only its user may open. Between machines it
listens by TCP, and whoever connects says a token first: 43 bytes before the first frame. Neither
the token nor the calls are encrypted; the network between the machines is trusted, as Ray's own
documents ask (https://docs.ray.io/en/latest/ray-security/index.html).
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
from collections.abc import Callable
from typing import Any, cast

from local_runtime.protocol.passing import receive_first

TOKEN = "SPILLGATE_TOKEN"  # noqa: S105 (the variable's name)
"""The environment variable by which a worker gets its token."""
TOKEN_BYTES = 43
SAY_WITHIN_S = 5.0
"""How long a connection may take to say the token."""
MAX_STRANGERS = 64
"""Connections that have not yet said it; more are refused."""
ALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
"""A machine that vanishes without a word is noticed within some eleven seconds (man 7 tcp; the
last is in milliseconds, and counts while something that was sent is not acknowledged)."""

_SCHEME = "tcp://"


def new_token() -> str:
    """256 random bits as 43 letters, digits, - and _."""
    return secrets.token_urlsafe(32)


def address_of(host: str, port: int, token: str) -> str:
    """How a caller finds a worker on another machine. Secret, since the token is in it."""
    return f"{_SCHEME}{token}@{host}:{port}"


def _nothing() -> None:
    """Nobody asked to be told."""


async def dial(
    address: str,
    protocol: Callable[[], asyncio.Protocol],
    *,
    take_memory: Callable[[int], None] | None = None,
    connected: Callable[[], None] = _nothing,
    within_s: float = SAY_WITHIN_S,
) -> None:
    """Connects to a worker by the path of its Unix socket, or by ``address_of``; ``connected`` is
    called when it is there. ``take_memory`` is given the descriptor of the memory that a worker on
    this machine offers in its first ``within_s``, which is closed after that. Raises OSError."""
    loop = asyncio.get_running_loop()
    if not address.startswith(_SCHEME):
        own = await _connected_here(address, connected)
        await _hand_over(own, protocol(), take_memory, within_s)
        return
    token, _, host_port = address.removeprefix(_SCHEME).partition("@")
    host, _, port = host_port.rpartition(":")
    transport, _ = await loop.create_connection(protocol, host, int(port))
    _keep_alive(transport)
    transport.write(token.encode())
    connected()


async def _connected_here(path: str, connected: Callable[[], None]) -> socket.socket:
    own = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    own.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(own, path)
    except BaseException:
        own.close()
        raise
    connected()
    return own


async def _hand_over(
    own: socket.socket,
    protocol: asyncio.Protocol,
    take_memory: Callable[[int], None] | None,
    within_s: float,
) -> None:
    """Gives the socket to the protocol; before that, a descriptor that comes along with the first
    bytes is taken, which a transport would read without it."""
    try:
        if take_memory is not None:
            first, descriptors = await receive_first(own, within_s)
            try:
                for descriptor in descriptors:
                    take_memory(descriptor)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            if first:
                protocol.data_received(first)
        await asyncio.get_running_loop().create_unix_connection(lambda: protocol, sock=own)
    except BaseException:
        own.close()
        raise


async def listen(accept: Callable[[], asyncio.Protocol], where: str) -> asyncio.AbstractServer:
    """Takes connections on a new Unix socket at the path ``where``, or, for ``fd:7``, on the
    listening TCP socket that is the descriptor 7: there from those who say the token alone."""
    loop = asyncio.get_running_loop()
    kind, _, number = where.partition(":")
    if kind != "fd":
        return await loop.create_unix_server(accept, where)
    gate = TokenGate(os.environ.pop(TOKEN), accept)
    listener = socket.socket(fileno=int(number))
    listener.setblocking(False)
    return await loop.create_server(gate.stranger, sock=listener)


class TokenGate:
    """Lets those in who know the token, as what ``accept`` makes of them. Raises ValueError for a
    token that is not of ``TOKEN_BYTES`` characters. Who has not said it in ``within_s`` seconds is
    cut off."""

    def __init__(
        self, token: str, accept: Callable[[], asyncio.Protocol], within_s: float = SAY_WITHIN_S
    ) -> None:
        if len(token) != TOKEN_BYTES:
            raise ValueError(f"a token has {TOKEN_BYTES} characters")
        self._token = token.encode()
        self._accept = accept
        self.within_s = within_s
        self.strangers = 0
        """Who have not said it yet."""

    def stranger(self) -> asyncio.Protocol:
        """The protocol of a new connection."""
        return _Stranger(self)

    def admit(self, said: bytes) -> asyncio.Protocol | None:
        """Whom a connection is handed to; None: it is to be cut off."""
        return self._accept() if hmac.compare_digest(said, self._token) else None


class _Stranger(asyncio.Protocol):
    """A connection until it has said the token."""

    def __init__(self, gate: TokenGate) -> None:
        self._gate = gate
        self._said = b""
        self._transport: asyncio.Transport
        self._late: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._late = asyncio.get_running_loop().call_later(
            self._gate.within_s, self._transport.abort
        )
        self._gate.strangers += 1
        if self._gate.strangers > MAX_STRANGERS:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._said += data
        if len(self._said) < TOKEN_BYTES or self._transport.is_closing():
            return
        protocol = self._gate.admit(self._said[:TOKEN_BYTES])
        if protocol is None:
            self._transport.abort()
            return
        self._gone()
        _keep_alive(self._transport)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if rest := self._said[TOKEN_BYTES:]:
            protocol.data_received(rest)

    def connection_lost(self, error: Exception | None) -> None:
        self._gone()

    def _gone(self) -> None:
        self._late.cancel()
        self._gate.strangers -= 1


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Has the kernel find out when the other machine is no longer there."""
    found: Any = transport.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in ALIVE.items():
        if (option := getattr(socket, name, None)) is not None:  # each system has its own
            found.setsockopt(socket.IPPROTO_TCP, option, value)
