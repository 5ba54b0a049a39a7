"""An answer that ends with its connection alone (HTTP/1.0, RFC 9112, 6.3): its reader takes an end
of the connection for that of the answer, so whatever is not whole ends in a reset."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios

_LOOK_EVERY_S = 0.01
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LOOKS = 500
"""So often a client is looked at that does not take the rest of what was cut."""


def reset_at_close(transport: asyncio.Transport, does: bool) -> None:
    """Whether the socket's end, by whatever it comes, is a reset (socket(7), SO_LINGER). A Unix
    socket knows none, and one that has ended already needs none."""
    peer = transport.get_extra_info("socket")
    if peer is not None and peer.fileno() >= 0 and peer.family in _INTERNET:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", does, 0))


class UnframedAnswer:
    """One that is under way: until it is whole, its connection ends in a reset."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._left = 0
        self._empty = 0
        """Looks in a row that found nothing unsent: between the kernel and what waits for it
        there is a moment in which neither shows the other's."""
        reset_at_close(transport, True)

    def end(self) -> None:
        """It is whole."""
        reset_at_close(self._transport, False)

    def cut(self) -> None:
        """It is not, and nothing more comes: a reset, once the client has what was written. TLS
        says no word of an end, which a close would."""
        if not self._left:
            self._left = _LOOKS
            self._look()

    def _look(self) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        self._left -= 1
        self._empty = 0 if _unsent(transport) else self._empty + 1
        if self._empty > 2 or not self._left:
            transport.abort()
        else:
            self._loop.call_later(_LOOK_EVERY_S, self._look)


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that the client has not acknowledged, in the kernel (tcp(7), SIOCOUTQ) or before it."""
    peer = transport.get_extra_info("socket")
    waiting = transport.get_write_buffer_size()
    if waiting or peer is None:
        return waiting
    try:
        told = fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # gone
        return 0
    return int(struct.unpack("i", told)[0])
