"""A worker's answer as an HTTP response: whole, as bytes in pieces, or as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

from starlette.types import Receive, Send

from local_runtime.app.request import BODILESS
from local_runtime.client.pending_call import CANCELLED, PendingCall
from local_runtime.http.errors import Refusal
from local_runtime.protocol.events import Done
from local_runtime.server.refusals import refusal_of

Headers = Iterable[tuple[str, str]]

_HOP = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}
"""What the server says itself, and no handler may."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")


class Responder:
    """The way back to one caller. ``headers`` go with every answer."""

    def __init__(self, send: Send, headers: Headers) -> None:
        self._send = send
        self._headers = dict(headers)
        self.waited: Mapping[str, float] | None = None
        """What the call waited for before a worker was there, in seconds."""

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with an error."""
        await self.whole(refusal.status, refusal.body(), refusal.headers.items())

    async def whole(self, status: int, body: bytes, headers: Headers = ()) -> None:
        """Answers with a whole body; ``headers`` may name another Content-Type than JSON."""
        bare = status in BODILESS
        await self._start(status, {} if bare else {"content-length": str(len(body))}, headers)
        await self._send({"type": "http.response.body", "body": b"" if bare else body})

    async def done(self, done: Done) -> None:
        """A whole answer, or the failure that the worker reports."""
        if self.waited is not None:
            self.waited = {**self.waited, "queue": done.queue_s, "exec": done.exec_s}
        if done.ok or done.data:
            await self.whole(done.status or 200, done.data, done.headers)
        else:
            await self.refuse(refusal_of(done))

    async def raw(self, pending: PendingCall) -> None:
        """Bytes as the handler gives them. After a failure the response is left unfinished, upon
        which the server breaks the connection off: nobody takes a part for the whole."""
        assert pending.head is not None
        await self._start(pending.head.status, {}, pending.head.headers)
        async for data in _outputs(pending, b"", b"", everything=True):
            if pending.head.status not in BODILESS:
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        answer = pending.answer
        if isinstance(answer, Done) and answer.ok:
            await self._send({"type": "http.response.body", "body": b""})

    async def events(self, pending: PendingCall, *, with_usage: bool) -> None:
        """Server-sent events, and ``[DONE]`` behind the last; a failure is an event of its own,
        with no ``[DONE]`` behind it. ``with_usage``: items that hold usage alone go out too."""
        await self._start(200, {}, [("content-type", "text/event-stream; charset=utf-8")])
        async for data in _outputs(pending, b"data: ", b"\n\n", everything=with_usage):
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        await self._send({"type": "http.response.body", "body": _last(pending)})

    async def _start(self, status: int, own: dict[str, str], given: Headers) -> None:
        headers = {"content-type": "application/json", **allowed(given), **self._headers, **own}
        if self.waited is not None:
            headers["server-timing"] = server_timing(self.waited)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})


async def _outputs(
    pending: PendingCall, before: bytes, after: bytes, *, everything: bool
) -> AsyncIterator[bytes]:
    """What has come, joined, until the call has its answer."""
    outputs = pending.outputs
    assert outputs is not None
    while outputs or pending.answer is None:
        parts: list[bytes] = []
        while outputs:
            output = pending.take()
            if everything or not output.usage:
                parts += (before, output.data, after)
        if parts:
            yield b"".join(parts)
        await pending.wait()


def _last(pending: PendingCall) -> bytes:
    answer = pending.answer
    if not isinstance(answer, Done) or not answer.ok:
        assert answer is not None
        return b"data: " + refusal_of(answer).body() + b"\n\n"
    whole = b"data: " + answer.data + b"\n\n" if answer.data else b""
    return whole + b"data: [DONE]\n\n"


def server_timing(seconds: Mapping[str, float]) -> str:
    """The value of a Server-Timing header (https://www.w3.org/TR/server-timing/), in ms."""
    return ", ".join(f"{name};dur={value * 1000:.3f}" for name, value in seconds.items())


def allowed(headers: Headers) -> dict[str, str]:
    """A handler's headers by lower-case name, without what could forge others."""
    return {
        name.lower(): value
        for name, value in headers
        if name.lower() not in _HOP and _NAME.match(name) and _VALUE.match(value)
    }


@contextlib.asynccontextmanager
async def cancelled_on_disconnect(
    pending: PendingCall, receive: Receive, keep_until: Callable[[], float]
) -> AsyncIterator[None]:
    """Ends the call when its caller hangs up; ``keep_until()`` says until when the worker may
    still report on it. However the block ends, the worker does not go on for nobody."""
    watching = asyncio.create_task(_watch_disconnect(pending, receive, keep_until))
    try:
        yield
    finally:
        watching.cancel()
        pending.leave(keep_until())


async def _watch_disconnect(
    pending: PendingCall, receive: Receive, keep_until: Callable[[], float]
) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if pending.answer is None:
        pending.give_up(CANCELLED, keep_until())
