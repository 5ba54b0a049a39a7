"""Who may send when on one HTTP connection: a caller that is too fast is not read, and an answer
waits for a caller that is too slow."""

from __future__ import annotations

import asyncio
import socket
import time

HIGH_WATER = 64 * 1024
"""Bytes of a request's body that wait for the app before its caller is not read any more."""
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_CLOSE, _CLOSE_WAIT = 7, 8
_UNSENT = 64 * 1024
"""Bytes that the kernel takes beyond what the network does: what a caller has taken is known to
that, and not to the megabytes that the kernel would keep for it (tcp(7), TCP_NOTSENT_LOWAT)."""


class FlowControl:
    """The two directions of one transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write_paused = False
        """The transport has taken more than it wants to hold."""
        self._transport = transport
        self._not_read_since: float | None = None
        self._not_read_s = 0.0
        self._writable = asyncio.Event()
        self._writable.set()
        _bound_unsent(transport)

    def pause_reading(self) -> None:
        """Nothing more is read until ``resume_reading``."""
        if self._not_read_since is None:
            self._not_read_since = time.monotonic()
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on; does nothing where reading was not paused."""
        if self._not_read_since is not None:
            self._not_read_s += time.monotonic() - self._not_read_since
            self._not_read_since = None
            self._transport.resume_reading()

    @property
    def is_read(self) -> bool:
        """What the caller sends is taken."""
        return self._not_read_since is None

    def has_ended(self) -> bool:
        """Whether the caller has ended its half, which is not heard while it is not read. Of a
        Unix socket nobody knows (tcp(7), TCP_INFO: its first byte is the state)."""
        peer = self._transport.get_extra_info("socket")
        if self.is_read or peer is None or peer.fileno() < 0 or peer.family not in _INTERNET:
            return False
        state = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state in (_CLOSE, _CLOSE_WAIT)

    def not_read_s(self) -> float:
        """Seconds in which reading was paused, altogether: the caller could not have sent more."""
        since = self._not_read_since
        return self._not_read_s + (0.0 if since is None else time.monotonic() - since)

    def pause_writing(self) -> None:
        """The transport says that its buffer is full."""
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """The transport says that its buffer has room again, or that it is gone."""
        self.write_paused = False
        self._writable.set()

    async def drained(self) -> None:
        """Waits until the transport has room for more."""
        await self._writable.wait()


def _bound_unsent(transport: asyncio.Transport) -> None:
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.family in _INTERNET:
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)
