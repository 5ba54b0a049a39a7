"""The client's end of a WebSocket, over ``websockets``' protocol without I/O.

What a client sends waits in a short line, and behind that it is not read; what it does not take
holds up who sends, for a time. Messages are text: OpenAI's protocol has no others.

Source: https://websockets.readthedocs.io/en/stable/howto/sansio.html, RFC 6455.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

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
        self._parts: list[bytes] = []
        """Of a message that comes in several frames."""
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self._is_paused = False
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
        if self._is_paused and len(self._waiting) < _MOST_WAITING // 2:
            self._is_paused = False
            self.flow.resume_reading()
        return message

    async def send(self, message: bytes) -> None:
        """Returns when the client reads on; of one that takes nothing the connection is cut. For
        one that is gone, or has closed, it does nothing."""
        if self._websocket.state is not State.OPEN or self._ended.is_set():
            return
        self._websocket.send_text(message)
        self._flush()
        if self.flow.write_paused:
            try:
                async with asyncio.timeout(self._write_s):
                    await self.flow.drained()
            except TimeoutError:
                self.transport.abort()

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

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        self._was_heard = True
        self._websocket.receive_data(data)
        for event in self._websocket.events_received():
            if isinstance(event, Frame):
                self._take(event)
        self._flush()
        self._news.set()
        if len(self._waiting) >= _MOST_WAITING and not self._is_paused:
            self._is_paused = True
            self.flow.pause_reading()

    def eof_received(self) -> None:
        """It sends no more."""
        self._websocket.receive_eof()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        self._websocket.receive_eof()
        self._ended.set()
        self._news.set()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self._websocket.fail(_NOT_TEXT, "messages are text")
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._keep(message)

    def _keep(self, message: bytes) -> None:
        try:
            message.decode()
        except UnicodeDecodeError:
            self._websocket.fail(_NOT_UTF8, "the message is no UTF-8")
        else:
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
        self._was_heard = self._is_paused
        if self._websocket.state is State.OPEN:
            self._websocket.send_ping(b"")
            self._flush()
        self._timer = asyncio.get_running_loop().call_later(self._ping_s, self._on_timer)


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return _SUBPROTOCOL if _SUBPROTOCOL in offered else None
