"""The short way of a plain call: from the connection to a worker and back by callbacks.

A call that is one body in and one answer out needs no task, no ASGI message and no routing, which
together cost more than all else that this server does for it. Whatever is not plain takes the long
way, through ``routes``: streams, background calls, large or compressed bodies, pages, pipelined
requests, and every refusal that is known before a worker is asked. A raw answer in pieces changes
over when its first piece comes.
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from local_runtime.app.request import BODILESS
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.pending_call import CANCELLED, PendingCall
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.head import status_line
from local_runtime.http.protocol import DEFAULT_LIMITS, MAX_HEAD, HttpProtocol
from local_runtime.http.request_cycle import RequestCycle
from local_runtime.http.server_state import ServerState
from local_runtime.http.strangers import Strangers
from local_runtime.protocol.events import Done, Run
from local_runtime.protocol.shared_memory import SHARED_FROM
from local_runtime.server.dispatcher import AppDispatcher
from local_runtime.server.refusals import refusal_of
from local_runtime.server.responses import Responder, allowed, cancelled_on_disconnect
from local_runtime.server.routes import DISPATCHER, ID_HEADERS, id_headers, request_id

MAX_BODY = 1024 * 1024
"""Bytes of a body; of a larger one the long way takes no more than its reader wants."""

Headers = dict[bytes, bytes]
"""The first of each name."""
_FIRST_ID, _SECOND_ID = _ID_HEADERS = tuple(name.encode() for name in ID_HEADERS)


class FastPendingCall(PendingCall):
    """A pending call whose news are given to its ``call`` at once, and to no task; without one it
    is like any other."""

    __slots__ = ("call",)
    call: FastCall | None

    def wake(self) -> None:
        """There is an output, or the answer."""
        if self.call is None:
            super().wake()
        else:
            self.call.proceed()


class FastCall:
    """One plain call of one connection: its cycle, without an app."""

    wants_continue = False

    __slots__ = (
        "_body",
        "_connection",
        "begun",
        "by_name",
        "disconnected",
        "headers",
        "keep_alive",
        "more_body",
        "pending",
        "response_complete",
        "response_started",
        "route",
        "worker",
    )

    def __init__(
        self, connection: FastPathHttp, route: str, worker: WorkerConnection, by_name: Headers
    ) -> None:
        self.route = route
        self.worker = worker
        self.headers = connection.headers
        self.by_name = by_name
        self.keep_alive: bool = connection.parser.should_keep_alive()
        self.begun = 0.0
        """When the worker was asked, as ``AppDispatcher.begin`` says."""
        self.pending: FastPendingCall | None = None
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.disconnected = False
        self._connection = connection
        self._body: list[bytes] = []

    # --- from the connection ---------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Keeps a part of the body: it is at most MAX_BODY long, by its Content-Length."""
        self._body.append(data)

    def end_body(self) -> None:
        """Asks the worker; the body may say that the call is not plain after all."""
        body = b"".join(self._body)
        if self.worker.gone or (self.route.startswith("/v1/") and b'"stream"' in body):
            self._connection.fall_back_to_app(body)
        else:
            self.more_body = False
            self._send(body)

    def disconnect(self) -> None:
        """The worker is told that nobody waits."""
        if self.response_complete or self.disconnected:
            return
        self.disconnected = True
        if self.pending is not None:
            dispatcher, pending = self._connection.dispatcher, self.pending
            pending.give_up(CANCELLED, dispatcher.keep_until())
            dispatcher.end(self.route, pending, self.begun)
            self.pending = pending.call = None

    def cut(self) -> None:
        """Ends the connection: its answer leaves in one write, with its length."""
        self._connection.end()

    # --- to the worker ---------------------------------------------------------------------------

    def _send(self, body: bytes) -> None:
        headers = tuple([(n.decode("latin-1"), v.decode("latin-1")) for n, v in self.headers])
        names, worker = self.by_name, self.worker
        id = request_id(self._given_ids() if _FIRST_ID in names or _SECOND_ID in names else ())
        number = worker.next_id()
        run = Run(number, self.route, body, id, False, True, headers)
        if len(body) < SHARED_FROM:
            worker.send(run)
        else:
            worker.send_large(run)
        self.begun = self._connection.dispatcher.begin()
        pending = worker.calls[number] = FastPendingCall(worker, number, id, float("inf"), True)
        self.pending, pending.call = pending, self

    def _given_ids(self) -> list[str]:
        return [
            self.by_name[name].decode("latin-1") for name in _ID_HEADERS if name in self.by_name
        ]

    # --- back to the caller ----------------------------------------------------------------------

    def proceed(self) -> None:
        """The worker has said something, or will say nothing more."""
        pending = self.pending
        if pending is None or self.response_complete or self.disconnected:
            return
        answer = pending.answer
        if answer is None:
            self._connection.answer_in_pieces(self, pending)
            return
        self.pending = pending.call = None
        self._connection.dispatcher.end(self.route, pending, self.begun)
        if isinstance(answer, Done) and (answer.ok or answer.data):
            self._write(pending, answer.status or 200, answer.data, answer.headers)
        else:
            refusal = refusal_of(answer)
            headers = tuple(refusal.headers.items())
            self._write(pending, refusal.status, refusal.body(), headers)

    def _write(
        self,
        pending: FastPendingCall,
        status: int,
        body: bytes,
        headers: tuple[tuple[str, str], ...],
    ) -> None:
        connection = self._connection
        parts = [status_line(status), b"\r\n"]
        parts += [b"%b: %b\r\n" % header for header in connection.state.default_headers]
        size = None if status in BODILESS else len(body)
        parts.append(_head(pending.call_id, size, headers))
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if size is not None:
            parts.append(body)
        if not connection.transport.is_closing():
            connection.transport.write(b"".join(parts))
        self.response_started = self.response_complete = True
        if self.keep_alive:
            connection.on_response_complete()
        else:
            connection.on_last_response_complete()


class FastPathHttp(HttpProtocol):
    """The protocol of one connection, with plain calls on the short way. ``app_state`` holds the
    app's dispatcher, under ``routes.DISPATCHER``."""

    def __init__(
        self,
        app: ASGIApp,
        state: ServerState,
        app_state: dict[str, Any],
        *,
        max_head: int = MAX_HEAD,
        limits: ClientLimits = DEFAULT_LIMITS,
        strangers: Strangers | None = None,
    ) -> None:
        super().__init__(
            app, state, app_state, max_head=max_head, limits=limits, strangers=strangers
        )
        self.dispatcher: AppDispatcher = app_state[DISPATCHER]

    def on_headers_complete(self) -> None:
        """The head is whole: a plain call begins, or another request."""
        call = self._plain_call()
        if call is None:
            super().on_headers_complete()
        else:
            self._end_head()
            self.reading = self.answering = call

    def fall_back_to_app(self, body: bytes) -> None:
        """The request that has just been read is no plain call: the app answers it."""
        self.reading = self.answering = None
        super().on_headers_complete()
        self.on_body(body)
        self.on_message_complete()

    def answer_in_pieces(self, call: FastCall, pending: FastPendingCall) -> None:
        """The answer comes in pieces: from here on a task writes them."""
        pending.call = None
        version = self.parser.get_http_version()
        scope: Scope = {"type": "http", "http_version": version, "method": "POST"}
        app = _AnswerInPieces(self.dispatcher, call, pending)
        cycle = RequestCycle(self, app, scope, keep_alive=call.keep_alive)
        cycle.end_body()
        call.response_complete = True
        if self.reading is call:
            self.reading = cycle
        self.answering = cycle
        cycle.start()

    def _plain_call(self) -> FastCall | None:
        """The call, where all that can be known before its body says that it is a plain one."""
        if self.is_answering():
            return None
        worker = self.dispatcher.workers.least_loaded()
        if worker is None or worker.socket.congested or self.flow.write_paused:
            return None
        route = worker.facts.plain.get(self.url.partition(b"?")[0])
        if route is None or self.wants_continue or self.parser.get_method() != b"POST":
            return None
        by_name = dict(reversed(self.headers))
        if b"connection" in by_name and self.parser.get_http_version() == "1.0":
            return None  # it asks for a connection that stays, and is told so nowhere else
        if not _is_plain(by_name, min(MAX_BODY, self.dispatcher.max_body)):
            return None
        return FastCall(self, route, worker, by_name)


class _AnswerInPieces:
    """The ASGI app of one answer in pieces."""

    def __init__(self, dispatcher: AppDispatcher, call: FastCall, pending: PendingCall) -> None:
        self._dispatcher = dispatcher
        self._call = call
        self._pending = pending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        dispatcher, pending = self._dispatcher, self._pending
        try:
            async with cancelled_on_disconnect(pending, receive, dispatcher.keep_until):
                await Responder(send, id_headers(pending.call_id)).raw(pending)
        finally:
            dispatcher.end(self._call.route, pending, self._call.begun)


def _is_plain(headers: Headers, max_body: int) -> bool:
    """A body of known and modest length, and a caller who wants one answer."""
    length = headers.get(b"content-length", b"")
    return (
        length.isdigit()
        and int(length) <= max_body
        and b"upgrade" not in headers
        and b"content-encoding" not in headers
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
