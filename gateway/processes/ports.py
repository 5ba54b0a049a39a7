"""The listening sockets, which outlive each process that serves them: what waits in their queues is
not lost with one of these."""

from __future__ import annotations

import socket

_BACKLOG = 2048


def listeners_at(host: str, port: int) -> list[socket.socket]:
    """One for each address of the host. Raises OSError."""
    made: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            listener = socket.socket(family, kind, protocol)
            made.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
            listener.setblocking(False)
    except BaseException:
        for listener in made:
            listener.close()
        raise
    return made
