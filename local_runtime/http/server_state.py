"""What all connections of one server have in common."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any


class ServerState:
    """Which connections there are, what is answered on them, and the headers of every answer."""

    def __init__(self) -> None:
        self.total_requests = 0
        """Answers that were given."""
        self.connections: set[Any] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """In which requests are answered; whoever ends the server waits for them."""
        self.default_headers: list[tuple[bytes, bytes]] = []
        """Of every answer; made anew each second, for the date."""

    def tell_date(self, now: int) -> None:
        """``now``: seconds since the epoch."""
        self.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]
