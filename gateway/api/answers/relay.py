"""The bridge: an answer to the client's socket, whole or as it comes, and never cut in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from adapters.routes import TYPED_ROUTES
from adapters.types import Reply, Task
from gateway.api.answers.headers import decision_headers, server_timing
from gateway.api.requests.request import Header, RequestContext, Send, respond
from gateway.calls.slow_clients import SMALL, SlowClients
from gateway.calls.state import CallState
from gateway.calls.stream import SettledStream
from gateway.calls.stream_events import error_event, whole_event
from gateway.clock import Clock, Timer
from gateway.policy.model import Policy
from gateway.tasks import take_back_cancellation
from gateway.types import ApiError
from local_runtime.http.request_cycle import part_writer

STREAM_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


_TYPED: dict[str, Task] = {path: task for task, path in TYPED_ROUTES.items()}


class WaitingStream:
    """The client of a stream whose call waits: it gets the head, and a comment now and then, so
    that nobody on the way takes the connection for dead."""

    __slots__ = ("_clock", "_context", "_every_s", "_over", "_saying", "_send", "_timer", "says")

    def __init__(self, context: RequestContext, send: Send, clock: Clock, policy: Policy) -> None:
        self._context = context
        self._send = send
        self._clock = clock
        self._every_s = policy.server.stream_comment  # 0: nothing is said
        self.says: Callable[[], bytes] | None = None
        """What a comment is, where the client wants to know more."""
        self._timer: Timer | None = None
        self._saying: asyncio.Task[None] | None = None
        self._over = False

    def begin(self) -> None:
        """The call has waited for a moment."""
        if self._every_s:
            left_s = self._context.received + self._every_s - self._clock.monotonic()
            self._timer = self._clock.call_later(max(left_s, 0.0), self._say)

    def _say(self) -> None:
        self._saying = asyncio.get_running_loop().create_task(self._comment())

    async def _comment(self) -> None:
        if not self._context.begun:
            await begin_stream(self._context, self._send, [])
        comment = WAITING if self.says is None else self.says()
        await self._send({"type": "http.response.body", "body": comment, "more_body": True})
        if not self._over:
            self._timer = self._clock.call_later(self._every_s, self._say)

    async def end(self) -> None:
        """The call waits no more: nothing is said after this returns."""
        self.stop()
        if self._saying is not None:
            await self._saying

    def stop(self) -> None:
        """Nothing more is begun to be said."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()


WAITING = b": waiting\n\n"


async def begin_stream(context: RequestContext, send: Send, headers: list[Header]) -> None:
    """The head of a stream."""
    context.begun = True
    all_headers = [*headers, *STREAM_HEADERS, (b"x-request-id", context.request_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": all_headers})


async def fail_stream(send: Send, error: ApiError, context: RequestContext) -> None:
    """A stream of which the head was sent has no first piece, no end marker and no end of its
    body."""
    task = _TYPED.get(context.path, "chat")
    body = error_event(error, context.principal, None, task, context.request_id)
    await send({"type": "http.response.body", "body": body, "more_body": None})


class Relay(msgspec.Struct, eq=False):
    """Carries one call's answer to one client."""

    _state: CallState
    _context: RequestContext
    _send: Send
    _slow_clients: SlowClients

    async def whole(self, reply: Reply, now: float) -> None:
        """A settled answer; its cost is known. ``now``: monotonic seconds."""
        if self._context.begun:  # a stream was asked for, and its client told that it waits
            await self._send({"type": "http.response.body", "body": whole_event(reply.body)})
            return
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
        ends in an error event, no end marker and no end of the body. ``now``: monotonic seconds.

        Raises CancelledError where the request was cancelled, after the client was told, unless
        it was for the call's budget: then the client was told, and the request ends as others do.
        """
        async with stream:
            try:
                await self._begin(stream, now)
                if (write := part_writer(self._send)) is not None:
                    stream.push_to(write)
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
        if self._context.begun:  # its client was told that it waits
            return
        headers = decision_headers(self._state)
        headers.append(server_timing(self._state, stream.usage, now))
        await begin_stream(self._context, self._send, headers)

    async def _end(self, stream: SettledStream, show_usage: bool) -> None:
        body = stream.last(show_usage=show_usage)
        more = None if stream.is_cut else False  # None: there is, and it never comes
        with self._in_progress(len(body)):
            await self._send({"type": "http.response.body", "body": body, "more_body": more})

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
