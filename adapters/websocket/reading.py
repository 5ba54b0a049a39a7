"""What comes at one end of a WebSocket is read in turns, between which the loop is others', and not
while the other end takes nothing."""

from __future__ import annotations

import asyncio
from typing import Protocol

from adapters.websocket.frames import FrameSplitter
from adapters.websocket.pace import MOST_FRAMES_S, Pace
from adapters.websocket.stall import Stall

_A_TURN = 32
"""Frames: less than a millisecond."""


class Reader(Protocol):
    """Whose end it is."""

    def is_full(self) -> bool:
        """Nothing more may come now; ``FrameReading.go_on`` is called when that ends."""
        ...

    def in_head(self) -> bool:
        """It is HTTP still that comes."""
        ...

    def take(self, piece: bytes) -> None:
        """A part of what came, with at most one frame's end in it."""
        ...

    def end_turn(self) -> None:
        """It has taken some, and more may come."""
        ...


class FrameReading:
    """Reads a transport for ``reader``, of whom it asks nothing more once it is full; cut off is
    who takes nothing of what waits for him for ``stalled_s``."""

    def __init__(self, reader: Reader, transport: asyncio.Transport, stalled_s: float) -> None:
        self._reader, self._transport = reader, transport
        self._stall = Stall(transport, stalled_s)
        self._loop = asyncio.get_running_loop()
        self._frames = FrameSplitter()
        self._pace = Pace(MOST_FRAMES_S, MOST_FRAMES_S)
        self._turn: asyncio.Handle | None = None
        self.is_paused = False

    def received(self, data: bytes) -> None:
        """The transport has read this."""
        self._frames.feed(data)
        if self._turn is None:
            self._take_turn()

    def go_on(self) -> None:
        """There may be room."""
        if self._turn is None and not self._transport.is_closing():
            self._plan()

    def hold_up(self) -> None:
        """He takes too little of what waits for him, and is not read meanwhile."""
        self._stall.begin()

    def catch_up(self) -> None:
        """He has taken it."""
        self._stall.end()
        self.go_on()

    def end(self) -> None:
        """Nothing more is read."""
        self._stall.end()
        if self._turn is not None:
            self._turn.cancel()

    def _take_turn(self) -> None:
        self._turn = None
        reader = self._reader
        for _ in range(_A_TURN):
            if reader.is_full() or self._pace.wait_s():
                break
            piece = self._frames.line() if reader.in_head() else self._frames.piece()
            if not piece:
                break
            reader.take(piece)
            if self._frames.is_between:
                self._pace.spend()
        reader.end_turn()
        self.go_on()

    def _plan(self) -> None:
        if self._reader.is_full():
            self._pause()
        elif not self._frames.has_more:
            self._resume()
        else:
            self._pause()
            wait_s = self._pace.wait_s()
            self._turn = (
                self._loop.call_later(wait_s, self._take_turn)
                if wait_s
                else self._loop.call_soon(self._take_turn)
            )

    def _pause(self) -> None:
        if not self.is_paused:
            self.is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._transport.resume_reading()
