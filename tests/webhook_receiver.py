"""Somebody to whom results are sent by webhook, at a real socket."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any


class Receiver:
    """Takes one POST after another, and answers each with 200."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"

    def hear(self) -> Any:
        """The JSON of the next one."""
        connection, _ = self._listener.accept()
        connection.settimeout(self._listener.gettimeout())
        with connection, connection.makefile("rb") as lines:
            size = 0
            while line := lines.readline().strip():
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
            body = lines.read(size)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return json.loads(body)


@contextlib.contextmanager
def listening() -> Iterator[Receiver]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield Receiver(listener)
