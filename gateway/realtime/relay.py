"""One conversation, from the answer to its handshake to its end."""

from __future__ import annotations

import asyncio

import msgspec

from gateway.calls.refusals import shutting_down
from gateway.calls.state import CallState
from gateway.calls.stream import SettledConversation
from gateway.realtime.ahead import Ahead
from gateway.realtime.backend_events import backend_event
from gateway.realtime.caller_messages import read_message
from gateway.realtime.client_socket import ClientSocket
from gateway.realtime.key_in_force import KeyInForce
from gateway.tasks import take_back_cancellation
from gateway.tokens.telling import for_caller
from gateway.types import ApiError

_RESTARTS = 1012
_OF_APPLICATIONS = 3000
"""From here on codes are whose server gives them."""
_OWN = 4000
"""Codes for private use (RFC 6455, 7.4.2): with the status added that an answer would have had."""


class ConversationRelay:
    """Passes messages both ways until one side has ended it, or it is stopped. The call is settled
    when ``run`` returns."""

    def __init__(
        self,
        state: CallState,
        socket: ClientSocket,
        stream: SettledConversation,
        ahead: Ahead,
        key: KeyInForce,
    ) -> None:
        self._state = state
        self._socket = socket
        self._stream = stream
        self._ahead = ahead
        self._key = key

    async def run(self) -> None:
        """Raises CancelledError where the server ends."""
        stream = self._stream
        upward = asyncio.get_running_loop().create_task(self._upward())
        self._key.watch()
        stopped = False
        try:
            async with stream:
                try:
                    await self._downward()
                except asyncio.CancelledError:
                    stopped = True
                    await stream.abandon()
        finally:
            self._key.end()
            upward.cancel()
            await asyncio.wait((upward,))
        await self._tell_end()
        if stopped:
            if not self._state.stop_cause:
                raise asyncio.CancelledError
            take_back_cancellation()
        if not upward.cancelled() and (fault := upward.exception()) is not None:
            raise fault

    async def _downward(self) -> None:
        async for piece in self._stream:
            if not piece:
                continue
            await self._socket.send(piece)
            has_ended = self._ahead.heard(backend_event(piece))
            if (has_ended or self._ahead.runs_over) and not await self._cover():
                await asyncio.sleep(0)  # it is stopped here, and not at some later piece
                return

    async def _upward(self) -> None:
        back, socket = self._stream.back, self._socket
        try:
            while (message := await socket.receive()) is not None:
                if not await self._is_said(message):
                    continue
                if not await self._cover():
                    return
                await back.send(message)
            if socket.said_goodbye:
                await back.close()
            else:
                self._state.stop("disconnected")
        except Exception:
            self._state.stop("fault")
            raise

    async def _is_said(self, message: bytes) -> bool:
        """What is no event is answered with an error, as the protocol has it, and not passed on."""
        try:
            self._ahead.said(read_message(message))
        except ApiError as refused:
            await self._socket.send(error_event(refused))
            return False
        return True

    async def _cover(self) -> bool:
        if not self._key.holds():
            return False
        held = await self._ahead.cover()
        if held is False:
            self._state.stop("budget")
        return bool(held)

    async def _tell_end(self) -> None:
        """With the backend's own code, where it has ended the conversation itself."""
        error, socket = self._stream.error, self._socket
        code, reason = self._stream.back.ended
        if error is not None:
            told = for_caller(error, self._state.principal)
            await socket.send(error_event(told))
            if self._state.stop_cause or code < _OF_APPLICATIONS:
                code, reason = _code_of(error), f"{error.code}: {told.message}"
        await socket.close(code, reason)


def _code_of(error: ApiError) -> int:
    return _RESTARTS if error.code == shutting_down().code else _OWN + error.status


def error_event(error: ApiError) -> bytes:
    """An error as the protocol has them."""
    return msgspec.json.encode({"type": "error", **error.body()})
