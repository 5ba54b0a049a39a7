"""The bridge: an answer to the client's socket, whole or as it comes, and never cut in silence."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from adapters.types import Reply
from gateway.api.headers import decision_headers, server_timing
from gateway.api.request import Header, RequestContext, Send, respond
from gateway.calls.slow_clients import SMALL, SlowClients
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.tasks import take_back_cancellation

STREAM_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Relay:
    """Carries one call's answer to one client."""

    __slots__ = ("_context", "_send", "_slow_clients", "_state")

    def __init__(
        self, state: CallState, context: RequestContext, send: Send, slow_clients: SlowClients
    ) -> None:
        self._state = state
        self._context = context
        self._send = send
        self._slow_clients = slow_clients

    async def whole(self, reply: Reply, now: float) -> None:
        """A settled answer; its cost is known. ``now``: monotonic seconds."""
        headers = decision_headers(self._state)
        headers.append((b"content-type", reply.content_type.encode()))
        headers.append(server_timing(self._state, reply.usage, now))
        sending = respond(self._send, self._context, reply.status, reply.body, headers)
        if len(reply.body) <= SMALL:
            await sending
            return
        with self._in_progress(len(reply.body)):
            await sending

    async def stream(self, stream: SettledStream, *, show_usage: bool, now: float) -> None:
        """Passes pieces on as they come. The end marker follows only a settled call; a break
        ends in an error event and no end marker. ``now``: monotonic seconds.

        Raises CancelledError where the request was cancelled, after the client was told, unless
        it was for the call's budget: then the client was told, and the request ends as others do.
        """
        async with stream:
            try:
                await self._begin(stream, now)
                async for piece in stream:
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": True}
                    )
            except asyncio.CancelledError:
                await stream.abandon()
                await self._tell_why(stream, show_usage)
            else:
                await self._end(stream, show_usage)

    async def _begin(self, stream: SettledStream, now: float) -> None:
        self._context.begun = True
        headers = [
            *decision_headers(self._state),
            *STREAM_HEADERS,
            (b"x-request-id", self._context.request_id.encode()),
            server_timing(self._state, stream.usage, now),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _end(self, stream: SettledStream, show_usage: bool) -> None:
        body = stream.last(show_usage=show_usage)
        with self._in_progress(len(body)):
            await self._send({"type": "http.response.body", "body": body})

    def _in_progress(self, size: int) -> AbstractContextManager[None]:
        """A call has ended for its backend, and has not for its client before it took the
        answer."""
        state = self._state
        claims = state.admission.claims
        return self._slow_clients.answer(state.principal.key_id, claims, size)

    async def _tell_why(self, stream: SettledStream, show_usage: bool) -> None:
        """The call was stopped, or the server ends: said where somebody still listens."""
        cause = self._state.stop_cause
        if cause == "disconnected":
            raise asyncio.CancelledError
        await self._end(stream, show_usage)
        if not cause:
            raise asyncio.CancelledError
        take_back_cancellation()
