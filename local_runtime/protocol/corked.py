"""Writes that leave together: what is written in one turn of the event loop is one system call.

A system call costs more than all the work of a small frame, and a turn of the loop under load
holds many frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Cork:
    """Collects small writes and passes them on at the end of the loop's turn, in order."""

    __slots__ = ("_loop", "_waiting", "_write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._waiting: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Takes a write, which leaves at the end of this turn of the loop."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)

    def flush(self) -> None:
        """Passes on what is waiting now; for whoever must write or close at once."""
        waiting = self._waiting
        if waiting:
            data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting.clear()
            self._write(data)
