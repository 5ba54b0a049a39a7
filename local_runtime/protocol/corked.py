"""Writes that leave together: what is written in one turn of the event loop is one system call.

A system call costs more than all the work of a small frame, and a turn of the loop under load
holds many frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Cork:
    """Collects small writes and passes them on at the end of the loop's turn, in order."""

    __slots__ = ("_held", "_loop", "_write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._held: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Takes a write, which leaves at the end of this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)

    def flush(self) -> None:
        """Passes on what is held now; for whoever must write or close at once."""
        held = self._held
        if held:
            data = held[0] if len(held) == 1 else b"".join(held)
            held.clear()
            self._write(data)
