"""Descriptors that go from one process to another along with the first bytes of a Unix socket.

Whoever does not ask for one gets the bytes alone: the kernel closes what came with them (man 7
unix, SCM_RIGHTS). So a worker can hand its memory to every caller, of an older version too.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

FIRST = 4
"""Bytes that a descriptor comes along with: a frame's length."""


def is_unix(found: Any) -> bool:
    """Whether what a transport has for its socket is a Unix socket."""
    return getattr(found, "family", None) == socket.AF_UNIX


def send_descriptor(fileno: int, data: bytes, descriptor: int) -> int:
    """Sends ``data``, a few bytes, with the descriptor, past the transport that has the socket and
    has not sent anything: how many bytes were sent."""
    with socket.socket(fileno=os.dup(fileno)) as own:
        try:
            return socket.send_fds(own, [data], [descriptor])
        except OSError:
            return 0


async def receive_first(own: socket.socket, within_s: float) -> tuple[bytes, list[int]]:
    """The first bytes of a socket, and the descriptors that came along. Nothing of either where the
    other end says nothing in ``within_s`` seconds. Raises OSError."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()
    loop.add_reader(own.fileno(), _settle, readable)
    late = loop.call_later(within_s, _settle, readable)
    try:
        await readable
    finally:
        late.cancel()
        loop.remove_reader(own.fileno())
    try:
        data, descriptors, _, _ = socket.recv_fds(own, FIRST, 1, socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return b"", []
    return data, descriptors


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
