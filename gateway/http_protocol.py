"""Uvicorn's HTTP protocol, with an answer's head and body in one write.

Uvicorn writes them one after the other, each by a system call of its own, which under load is a
sixth of the CPU of a call; over TLS it is two records where one will do.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HELD = 64 * 1024
"""Bytes that are held back at the most: past them the transport's own bound must be felt."""


class CorkedTransport:
    """A transport whose writes leave at the end of the loop's turn; all else is passed through."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._parts: list[bytes] = []
        self._size = 0
        self._call_soon = asyncio.get_running_loop().call_soon
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _HELD:
            # An application that never waits would otherwise write its whole answer into memory.
            self._flush()

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts, self._size = self._parts, [], 0
            self._transport.write(b"".join(parts))

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._flush()
        self._transport.set_protocol(protocol)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class CorkedHttp(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, CorkedTransport(transport)))
