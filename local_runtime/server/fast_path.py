"""The short way of a plain call: from the connection to a worker and back by callbacks.

A call that is one body in and one answer out needs no task, no ASGI message and no routing, which
together cost more than all else that this server does for it. Whatever is not plain takes the long
way, through ``server``: streams, background calls, large bodies, pages, pipelined requests, and
every refusal that is known before a worker is asked. A raw answer in pieces changes over when its
first piece comes.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from local_runtime.app.request import BODILESS
from local_runtime.client.connection import CANCELLED, PendingCall, WorkerConnection
from local_runtime.protocol.events import Done, Run
from local_runtime.server.dispatcher import AppDispatcher
from local_runtime.server.http_protocol import Cycle, LeanHttp
from local_runtime.server.refusals import refusal_of
from local_runtime.server.responses import Responder, allowed, heard
from local_runtime.server.routes import ID_HEADERS, id_headers, request_id

MAX_BODY = 1024 * 1024
"""Bytes of a body; of a larger one the long way takes no more than its reader wants."""

Headers = dict[bytes, bytes]
_ID_HEADERS = tuple(name.encode() for name in ID_HEADERS)


class _Unheard:
    """Where Uvicorn wakes a task, there is none."""

    def set(self) -> None: ...


_UNHEARD = _Unheard()


class Awaited(PendingCall):
    """An entry whose news are told to the call at once, and to no task."""

    __slots__ = ("call",)
    call: FastCall | None

    def wake(self) -> None:
        if self.call is None:
            super().wake()
        else:
            self.call.proceed()


class FastCall:
    """One plain call of one connection. The protocol takes it for one of its cycles: it reads
    ``response_complete`` and ``more_body``, and sets ``disconnected`` and ``keep_alive``."""

    __slots__ = (
        "_connection",
        "begun",
        "body",
        "disconnected",
        "entry",
        "headers",
        "keep_alive",
        "link",
        "message_event",
        "more_body",
        "named",
        "response_complete",
        "route",
    )

    def __init__(
        self, connection: FastPathHttp, route: str, link: WorkerConnection, named: Headers
    ) -> None:
        self._connection = connection
        self.route = route
        self.link = link
        self.headers = connection.headers
        self.named = named
        """The first of the headers of each name."""
        self.keep_alive: bool = connection.parser.should_keep_alive()
        self.body = b""
        self.begun = 0.0
        self.entry: Awaited | None = None
        self.disconnected = False
        self.more_body = True
        self.response_complete = False
        self.message_event = _UNHEARD

    def send(self, front: AppDispatcher) -> None:
        """Hands the call to its worker."""
        headers = tuple([(n.decode("latin-1"), v.decode("latin-1")) for n, v in self.headers])
        link, id = self.link, request_id(self._given_ids())
        number = link.number()
        link.send(Run(number, self.route, self.body, id, False, True, headers))
        self.begun = front.begin()
        entry = link.entries[number] = Awaited(link, number, id, float("inf"), True)
        self.entry, entry.call = entry, self

    def _given_ids(self) -> list[str]:
        return [self.named[name].decode("latin-1") for name in _ID_HEADERS if name in self.named]

    def proceed(self) -> None:
        """The worker has said something, or will say nothing more."""
        assert self.entry is not None
        if not self.response_complete and not self.disconnected:
            self._connection.answer(self, self.entry)


class FastPathHttp(LeanHttp):
    """The protocol of one connection, with plain calls on the short way."""

    def __init__(
        self,
        front: AppDispatcher,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._front = front
        self._call: FastCall | None = None

    # --- in --------------------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        if (call := self._plain()) is not None:
            self._unread = 0
            self._call = call
            self.cycle = cast("Cycle", call)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        call = self.cycle
        if isinstance(call, FastCall):
            self._unread = 0
            call.body = call.body + body if call.body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        call = self.cycle
        if not isinstance(call, FastCall):
            super().on_message_complete()
        elif call.link.gone or (call.route.startswith("/v1/") and b'"stream"' in call.body):
            self._take_the_long_way(call)
        else:
            call.more_body = False
            call.send(self._front)

    def _plain(self) -> FastCall | None:
        """The call, where all that can be known before its body says that it is a plain one."""
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        link = self._front.workers.roomiest()
        if link is None or link.connection.congested or self.flow.write_paused:
            return None
        route = link.plain.get(self.url.partition(b"?")[0])
        if route is None or self.expect_100_continue or self.parser.get_method() != b"POST":
            return None
        named = dict(reversed(self.headers))
        if not _ordinary(named, min(MAX_BODY, self._front.max_body)):
            return None
        return FastCall(self, route, link, named)

    def _take_the_long_way(self, call: FastCall) -> None:
        self._call, self.cycle = None, None  # type: ignore[assignment]
        super().on_headers_complete()
        super().on_body(call.body)
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        call = self._call
        if call is None or call.response_complete:
            return
        call.disconnected = True
        if call.entry is not None:
            call.entry.give_up(CANCELLED, self._front.keep_until())
            self._front.end(call.route, call.entry, call.begun)

    # --- out -------------------------------------------------------------------------------------

    def answer(self, call: FastCall, entry: Awaited) -> None:
        answer = entry.answer
        if answer is None:
            self._continue(call, entry)
            return
        self._front.end(call.route, entry, call.begun)
        if isinstance(answer, Done) and (answer.ok or answer.data):
            self._write(call, entry, answer.status or 200, answer.data, answer.headers)
        else:
            refusal = refusal_of(answer)
            headers = tuple(refusal.headers.items())
            self._write(call, entry, refusal.status, refusal.body(), headers)

    def _write(
        self,
        call: FastCall,
        entry: Awaited,
        status: int,
        body: bytes,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        call.response_complete = True
        self._call = None
        parts = [STATUS_LINE[status]]
        parts += [b"%b: %b\r\n" % header for header in self.server_state.default_headers]
        size = None if status in BODILESS else len(body)
        parts.append(_head(entry.call_id, size, headers))
        parts += (b"\r\n" if call.keep_alive else b"connection: close\r\n\r\n",)
        if size is not None:
            parts.append(body)
        if not self.transport.is_closing():
            self.transport.write(b"".join(parts))
            if not call.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _continue(self, call: FastCall, entry: Awaited) -> None:
        """The answer comes in pieces: from here on a task writes them."""
        entry.call = self._call = None
        cycle = self._cycle_of({"type": "http", "http_version": "1.1", "method": "POST"})
        cycle.keep_alive = call.keep_alive
        cycle.more_body = False
        call.response_complete = True
        if self.cycle is cast("Cycle", call):
            self.cycle = cycle
        self._start_asgi_task(cycle, _Rest(self._front, call, entry))


class _Rest:
    """The ASGI app of one answer in pieces."""

    def __init__(self, front: AppDispatcher, call: FastCall, entry: PendingCall) -> None:
        self._front = front
        self._call = call
        self._entry = entry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        front, entry = self._front, self._entry
        try:
            async with heard(entry, receive, front.keep_until):
                await Responder(send, id_headers(entry.call_id)).raw(entry)
        finally:
            front.end(self._call.route, entry, self._call.begun)


def _ordinary(headers: Headers, max_body: int) -> bool:
    """A body of known and modest length, and a caller who wants one answer."""
    length = headers.get(b"content-length", b"")
    return (
        length.isdigit()
        and int(length) <= max_body
        and b"upgrade" not in headers
        and b"transfer-encoding" not in headers
        and b"text/event-stream" not in headers.get(b"accept", b"")
    )


def _head(id: str, size: int | None, given: tuple[tuple[str, str], ...]) -> bytes:
    """``size``: of the body, where the status allows one."""
    own = id.encode()
    kind, rest = b"application/json", b""
    if given:
        more = allowed(given)
        kind = more.pop("content-type", "application/json").encode("latin-1")
        names = {name for name, _ in id_headers(id)}
        rest = "".join(
            [f"{name}: {value}\r\n" for name, value in more.items() if name not in names]
        ).encode("latin-1")
    lines = (b"content-type: %b\r\n%b" % (kind, rest), b"x-banana-request-id: %b\r\n" % own)
    length = b"" if size is None else b"content-length: %d\r\n" % size
    return b"%b%bx-request-id: %b\r\n%b" % (*lines, own, length)
