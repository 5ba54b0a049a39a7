"""The bridge: an answer to the client's socket, whole or as it comes, and never cut in silence."""

from __future__ import annotations

import asyncio

from adapters.types import Reply
from gateway.api.headers import decision_headers, server_timing
from gateway.api.request import Header, RequestContext, Send, respond
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.tasks import take_back_cancellation

_STREAM_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class Relay:
    """Carries one call's answer to one client."""

    def __init__(self, state: CallState, context: RequestContext, send: Send) -> None:
        self._state = state
        self._context = context
        self._send = send

    async def whole(self, reply: Reply, now: float) -> None:
        """A settled answer; its cost is known. ``now``: monotonic seconds."""
        headers = decision_headers(self._state)
        headers.append((b"content-type", reply.content_type.encode()))
        headers.append(server_timing(self._state, reply.usage, now))
        await respond(self._send, self._context, reply.status, reply.body, headers)

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
            *_STREAM_HEADERS,
            (b"x-request-id", self._context.request_id.encode()),
            server_timing(self._state, stream.usage, now),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _end(self, stream: SettledStream, show_usage: bool) -> None:
        body = stream.last(show_usage=show_usage)
        await self._send({"type": "http.response.body", "body": body})

    async def _tell_why(self, stream: SettledStream, show_usage: bool) -> None:
        """The call was stopped, or the server ends: said where somebody still listens."""
        cause = self._state.stop_cause
        if cause == "disconnected":
            raise asyncio.CancelledError
        await self._end(stream, show_usage)
        if not cause:
            raise asyncio.CancelledError
        take_back_cancellation()
