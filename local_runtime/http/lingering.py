"""The end of a connection whose client may be sending still.

A socket that is closed before all that came was read resets the connection, and the client loses
the answer that it has not read yet (RFC 9112, 9.6). So our half is ended first, and what comes is
read and dropped until the client has ended its own: for a while, and up to so many bytes.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.client_timer import ClientTimer
from local_runtime.http.flow_control import FlowControl

_LOOKS = 4
"""So often is looked in the time that a client has."""


class EndingConnection(Protocol):
    """What is asked of the connection."""

    transport: asyncio.Transport
    flow: FlowControl
    client_timer: ClientTimer
    limits: ClientLimits
    loop: asyncio.AbstractEventLoop

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        ...


class Lingering(asyncio.Protocol):
    """What is left of such a connection, on which nothing is written any more."""

    def __init__(self, connection: EndingConnection) -> None:
        self.since = connection.loop.time()
        """By the loop's clock: since the client has taken everything."""
        self._connection = connection
        self._transport = transport = connection.transport
        self._came_at = self.since
        self._left = connection.limits.linger_bytes
        connection.client_timer.end()
        transport.set_protocol(self)
        transport.write_eof()
        self._look_later()

    # --- from the transport ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """It comes too late."""
        self._came_at = self._connection.loop.time()
        self._left -= len(data)
        if self._left < 0:
            self.cut()

    def pause_writing(self) -> None:
        """The client reads too slowly what it was told."""
        self._connection.flow.pause_writing()

    def resume_writing(self) -> None:
        """It has caught up."""
        self._connection.flow.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has ended its half too, or had its time."""
        self._timer.cancel()
        self._connection.connection_lost(exc)
        del self._connection

    # --- its time --------------------------------------------------------------------------------

    def cut(self) -> None:
        """Ends it at once."""
        self._transport.abort()

    def _look_later(self) -> None:
        limits, loop = self._connection.limits, self._connection.loop
        every_s = min(limits.linger_s, limits.body_s) / _LOOKS
        self._timer = loop.call_later(every_s, self._look)

    def _look(self) -> None:
        connection, limits = self._connection, self._connection.limits
        now = connection.loop.time()
        if self._transport.get_write_buffer_size():
            self.since = self._came_at = now
            if connection.client_timer.is_stalled(now, limits.write_s):
                self.cut()
        elif now >= min(self._came_at + limits.linger_s, self.since + limits.body_s):
            self.cut()
        self._look_later()
