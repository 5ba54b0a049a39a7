"""The client's end of a WebSocket, over ``websockets``: a server is read some frames at a time."""

from __future__ import annotations

import asyncio

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame
from websockets.protocol import Event, State

from adapters.websocket.pace import POLICY_VIOLATION, TOO_MUCH_NOISE, Noise
from adapters.websocket.reading import FrameReading

_STALLED_S = 40.0


class PacedConnection(ClientConnection):
    """A server that floods it waits, or is cut off; so is one that takes nothing for 40 s."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake begins."""
        super().connection_made(transport)
        self._noise = Noise()
        self._reading = FrameReading(self, self.transport, _STALLED_S)
        self.recv_messages.pause = _is_asked_by_reading
        self.recv_messages.resume = self._reading.go_on

    def data_received(self, data: bytes) -> None:
        """Bytes of the server."""
        self._reading.received(data)

    def pause_writing(self) -> None:
        """It takes too little."""
        super().pause_writing()
        self._reading.hold_up()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._reading.catch_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._reading.end()
        super().connection_lost(exc)

    def is_full(self) -> bool:
        """Nothing more may come now. Once it has ended, what comes is dropped."""
        is_open = self.protocol.state is State.OPEN
        return is_open and (self.paused or self.recv_messages.paused)

    def in_head(self) -> bool:
        """The handshake is not answered."""
        return self.protocol.state is State.CONNECTING

    def take(self, piece: bytes) -> None:
        """A part of what came."""
        if self.protocol.state is not State.CLOSED:
            super().data_received(piece)

    def end_turn(self) -> None:
        """Each part is answered when it is taken."""

    def process_event(self, event: Event) -> None:
        """A frame, or the answer to the handshake."""
        super().process_event(event)
        if isinstance(event, Frame) and self._noise.is_too_much(event):
            self.protocol.fail(POLICY_VIOLATION, TOO_MUCH_NOISE)
            self.send_data()
            self.transport.close()


def _is_asked_by_reading() -> None:
    """Whether it is full is asked before each frame."""
