"""Who takes nothing of what waits for it is cut off."""

from __future__ import annotations

import asyncio


class Stall:
    """Of one transport, from when its buffer is full until it has room: cut where nothing of it was
    taken for ``longest_s``."""

    def __init__(self, transport: asyncio.Transport, longest_s: float) -> None:
        self._transport, self._longest_s = transport, longest_s
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """The buffer is full."""
        self._unsent = self._transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._longest_s, self._look)

    def end(self) -> None:
        """It has room, or is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._transport.get_write_buffer_size() < self._unsent:
            self.begin()
        else:
            self._transport.abort()
