"""The client's end of a WebSocket, over ``websockets``' protocol without I/O.

What a client sends waits in a short line, and behind that it is not read, nor while it does not
take what is sent to it; that holds up who sends, for a time. It is read some frames at a time.
Messages are text: OpenAI's protocol has no others.

Source: https://websockets.readthedocs.io/en/stable/howto/sansio.html, RFC 6455.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from adapters.websocket.pace import POLICY_VIOLATION, TOO_MUCH_NOISE, Noise
from adapters.websocket.reading import FrameReading
from local_runtime.http.upgrades import Upgrade, Upgraded

_log = logging.getLogger("spillgate.realtime")
_log.setLevel(logging.WARNING)  # of each that begins and ends the access log tells
_SUBPROTOCOL = Subprotocol("realtime")
_MOST_WAITING = 16
_MOST_REASON = 123
"""Bytes that a close frame has for its reason."""
_CLOSE_S = 2.0
"""How long a client may take to answer a close."""
_NOT_TEXT, _NOT_UTF8, _GONE = 1003, 1007, 1006


class ClientSocket(Upgraded):
    """One client. ``write_s``: the longest that it may take nothing of what waits for it;
    ``ping_s``: how often it is asked whether it is there, of which it may miss one."""

    def __init__(self, *, max_message: int, write_s: float, ping_s: float = 20.0) -> None:
        self._websocket = ServerProtocol(
            max_size=max_message, select_subprotocol=_select_subprotocol, logger=_log
        )
        self._write_s = write_s
        self._ping_s = ping_s
        self._waiting: deque[bytes] = deque()
        self._part = bytearray()
        """Of a message that comes in several frames."""
        self._noise = Noise()
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._was_heard = True
        self._timer: asyncio.TimerHandle | None = None

    # --- the handshake ------------------------------------------------------------------------

    def refusal(self, head: bytes) -> str:
        """Why the request with this head is no handshake; empty where it is one."""
        self._websocket.receive_data(head)
        request = next(iter(self._websocket.events_received()), None)
        if not isinstance(request, Request):
            return "The request's head cannot be read."
        self._response = self._websocket.accept(request)
        if self._response.status_code == 101:
            return ""
        return bytes(self._response.body or b"").decode().strip()

    def accept(self, upgrade: Upgrade, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answers the handshake, with these headers beside its own. Raises ConnectionResetError
        where the client is gone."""
        for name, value in headers:
            self._response.headers[name.decode("latin-1")] = value.decode("latin-1")
        self._websocket.send_response(self._response)
        head = b"".join(self._websocket.data_to_send())
        upgrade.grant(head, self)
        self._timer = asyncio.get_running_loop().call_later(self._ping_s, self._on_timer)

    # --- what is said -------------------------------------------------------------------------

    @property
    def said_goodbye(self) -> bool:
        """The client has closed the conversation, and not merely gone."""
        closed = self._websocket.close_rcvd
        return closed is not None and closed.code != _GONE

    async def receive(self) -> bytes | None:
        """The next message; None where none will come."""
        while not self._waiting:
            if self._ended.is_set() or self._websocket.state is not State.OPEN:
                return None
            self._news.clear()
            await self._news.wait()
        message = self._waiting.popleft()
        if self._reading.is_paused and len(self._waiting) < _MOST_WAITING // 2:
            self._reading.go_on()
        return message

    async def send(self, message: bytes) -> None:
        """Returns when the client reads on; of one that takes nothing the connection is cut. For
        one that is gone, or has closed, it does nothing."""
        if self._websocket.state is not State.OPEN or self._ended.is_set():
            return
        self._websocket.send_text(message)
        self._flush()
        if self.flow.write_paused:
            await self.flow.drained()

    async def close(self, code: int, reason: str = "") -> None:
        """Ends the conversation; the client has a moment to say so too."""
        if self._websocket.state is State.OPEN:
            words = reason.encode()[:_MOST_REASON].decode(errors="ignore")
            self._websocket.send_close(code, words)
            self._flush()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._ended.wait()
        except TimeoutError:
            pass
        finally:
            self.transport.abort()

    # --- from the transport -------------------------------------------------------------------

    def taken(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        """The handshake is answered."""
        super().taken(transport, connections)
        self._reading = FrameReading(self, transport, self._write_s)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._was_heard = True
        self._reading.received(data)

    def pause_writing(self) -> None:
        """It takes too little."""
        super().pause_writing()
        self._reading.hold_up()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._reading.catch_up()

    def eof_received(self) -> None:
        """It sends no more."""
        self._websocket.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._reading.end()
        if self._timer is not None:
            self._timer.cancel()
        self._websocket.receive_eof()
        self._ended.set()
        self._news.set()

    # --- what is read -------------------------------------------------------------------------

    def is_full(self) -> bool:
        """Nothing more may come now. Once it has ended, what comes is dropped."""
        if self._websocket.state is not State.OPEN:
            return False
        return self.flow.write_paused or len(self._waiting) >= _MOST_WAITING

    def in_head(self) -> bool:
        """Never: the handshake was read before."""
        return False

    def take(self, piece: bytes) -> None:
        """A part of what came."""
        if self._websocket.state is State.CLOSED:
            return
        self._websocket.receive_data(piece)
        for event in self._websocket.events_received():
            if isinstance(event, Frame):
                self._take(event)

    def end_turn(self) -> None:
        """Answers pings, and wakes who waits for messages."""
        self._flush()
        self._news.set()

    def _take(self, frame: Frame) -> None:
        if self._noise.is_too_much(frame):
            self._websocket.fail(POLICY_VIOLATION, TOO_MUCH_NOISE)
        elif frame.opcode is Opcode.BINARY:
            self._websocket.fail(_NOT_TEXT, "messages are text")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._part += frame.data
            if frame.fin:
                message, self._part = bytes(self._part), bytearray()
                self._keep(message)

    def _keep(self, message: bytes) -> None:
        try:
            message.decode()
        except UnicodeDecodeError:
            self._websocket.fail(_NOT_UTF8, "the message is no UTF-8")
        else:
            if self._websocket.state is State.OPEN:
                self._waiting.append(message)

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if self.transport.is_closing():
                return
            if data:
                self.transport.write(data)
            else:  # it has said all
                self.transport.close()

    def _on_timer(self) -> None:
        """A client of which nothing was heard since the last time is gone."""
        if not self._was_heard:
            self.transport.abort()
            return
        self._was_heard = self._reading.is_paused
        if self._websocket.state is State.OPEN and not self.flow.write_paused:
            self._websocket.send_ping(b"")
            self._flush()
        self._timer = asyncio.get_running_loop().call_later(self._ping_s, self._on_timer)


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return _SUBPROTOCOL if _SUBPROTOCOL in offered else None
