"""Who may send when on one HTTP connection: a caller that is too fast is not read, and an answer
waits for a caller that is too slow."""

from __future__ import annotations

import asyncio

HIGH_WATER = 64 * 1024
"""Bytes of a request's body that wait for the app before its caller is not read any more."""


class FlowControl:
    """The two directions of one transport."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write_paused = False
        """The transport has taken more than it wants to hold."""
        self._transport = transport
        self._read_paused = False
        self._writable = asyncio.Event()
        self._writable.set()

    def pause_reading(self) -> None:
        """Nothing more is read until ``resume_reading``."""
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on; does nothing where reading was not paused."""
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

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
