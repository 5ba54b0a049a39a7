"""Connections without sockets: what one end writes, the other is given in the next round. And a
clock that is slow: a call that is counted takes fifty times as long as another, and on a busy
machine longer still, so that timers would come in it that no call in service sees.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable
from typing import Any

from gateway.clock import SystemClock

SLOWER = 50.0
"""The clock goes so many times slower than the machine's."""
_BEGUN, _BEGUN_AT = time.monotonic(), time.time()


def _monotonic() -> float:
    return _BEGUN + (time.monotonic() - _BEGUN) / SLOWER


def _epoch() -> float:
    return _BEGUN_AT + (time.time() - _BEGUN_AT) / SLOWER


class SlowClock(SystemClock):
    """The gateway's, beside a ``MemoryLoop``."""

    monotonic = staticmethod(_monotonic)
    time = staticmethod(_epoch)


class _Selector(selectors.DefaultSelector):
    """Waits by the slow clock."""

    def select(self, timeout: float | None = None) -> Any:
        return super().select(timeout and timeout * SLOWER)


class MemoryTransport(asyncio.Transport):
    """One end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._loop = loop
        self._peer: MemoryTransport
        self._protocol: asyncio.Protocol
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._loop.call_soon(self._peer._protocol.data_received, bytes(data))

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self._closed

    def pause_reading(self) -> None:
        """What is there comes all the same: nobody here sends more than an answer."""

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        for end in (self, self._peer):
            if not end._closed:
                end._closed = True
                self._loop.call_soon(end._protocol.connection_lost, None)

    abort = close


def connect(
    loop: asyncio.AbstractEventLoop, client: asyncio.Protocol, server: asyncio.Protocol
) -> MemoryTransport:
    """The client's end of a connection between the two, who are told of it."""
    near, far = MemoryTransport(loop), MemoryTransport(loop)
    near._peer, far._peer = far, near
    near._protocol, far._protocol = client, server
    server.connection_made(far)
    client.connection_made(near)
    return near


class MemoryLoop(asyncio.SelectorEventLoop):
    """Whoever connects somewhere reaches ``serves`` in memory; its time is the slow clock's."""

    serves: Callable[[], asyncio.Protocol]

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return _monotonic()

    async def create_connection(  # type: ignore[override]  # only what the gateway asks of it
        self, protocol_factory: Callable[[], asyncio.Protocol], *where: Any, **how: Any
    ) -> tuple[MemoryTransport, asyncio.Protocol]:
        client = protocol_factory()
        return connect(self, client, self.serves()), client
