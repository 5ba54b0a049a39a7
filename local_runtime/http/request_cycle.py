"""One request of a connection and its answer: what the connection asks of it, and how an ASGI app
gives it (https://asgi.readthedocs.io/en/latest/specs/www.html)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from starlette.types import ASGIApp, Message, Scope

from local_runtime.app.request import BODILESS
from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.cut_answers import UnframedAnswer
from local_runtime.http.errors import Refusal
from local_runtime.http.flow_control import HIGH_WATER, FlowControl
from local_runtime.http.head import FRAMING, head_of, refusal_headers, status_line
from local_runtime.http.server_state import ServerState

Headers = Iterable[tuple[bytes, bytes]]

_OURS = FRAMING | {b"connection"}
"""The headers that are not passed on as the app says them."""
_FAILED = Refusal(500, "internal", "the server has failed")
_ENDS = Refusal(503, "shutting_down", "The server is shutting down; the request has no answer.")
_NONE = -1
_UNSAID = {204: FRAMING, 304: frozenset((b"transfer-encoding",))}
"""What answers without a body do not say of its end (RFC 9112, 6); some clients wait for chunks."""
_JOINED = 64 * 1024
"""Up to this many bytes a body is joined to its head; a larger one is not copied."""
_log = logging.getLogger("server")


class Cycle(Protocol):
    """One request and its answer, as their connection knows them. Whoever answers requests in
    another way than by an ASGI app gives the connection cycles of his own."""

    keep_alive: bool
    """The connection stays open behind the answer; set to False when the server is to end."""
    more_body: bool
    """The body of the request is not whole."""
    wants_continue: bool
    """The caller keeps it back until it is told to send it."""
    response_started: bool
    """The answer has begun: nothing else may be written in its place."""
    response_complete: bool
    """The answer is written, and the next may be."""

    def feed(self, data: bytes) -> None:
        """Takes the next part of the request's body."""
        ...

    def end_body(self) -> None:
        """The request is whole."""
        ...

    def disconnect(self) -> None:
        """The caller is gone: the answer has no reader."""
        ...

    def cut(self) -> None:
        """Ends the connection, so that nobody takes an answer under way for whole."""
        ...


class Connection(Protocol):
    """What a cycle asks of its connection."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    flow: FlowControl
    limits: ClientLimits
    state: ServerState

    def resume_reading(self) -> None:
        """The cycle has room for more of its request."""
        ...

    def on_response_complete(self) -> None:
        """The cycle's answer is written."""
        ...

    def on_last_response_complete(self) -> None:
        """So it is, and the connection ends with it."""
        ...

    def end(self) -> None:
        """Ends it behind what is written."""
        ...


class RequestCycle:
    """A request that an ASGI app answers, in a task of its own.

    The head of the answer waits for the first part of its body, as ASGI asks of a server, and both
    leave in one write.
    """

    __slots__ = (
        "_app",
        "_body",
        "_buffered",
        "_chunked",
        "_connection",
        "_disconnected",
        "_event",
        "_head",
        "_in_chunks",
        "_left",
        "_news",
        "_task",
        "_unframed",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "wants_continue",
    )
    _task: asyncio.Task[None]

    def __init__(
        self,
        connection: Connection,
        app: ASGIApp,
        scope: Scope,
        keep_alive: bool,
        wants_continue: bool = False,
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self._connection = connection
        self._app = app
        self._disconnected = False
        self.wants_continue = wants_continue
        """The caller keeps the body back until it is told to send it."""
        self._body: list[bytes] = []
        """What has come of the body since the app last asked."""
        self._buffered = 0
        """The bytes of these."""
        self._news = False
        """There is something that the app was not told."""
        self._event: asyncio.Event | None = None
        """Of an app that waits for news."""
        self._head = b""
        """Of the answer, until the first part of its body is there."""
        self._in_chunks = False
        """The head is written, and the next part of the body is a chunk."""
        self._chunked: bool | None = None
        """The body is framed by its chunks, else by its length; None: not known yet."""
        self._left: int | None = 0
        """Bytes that the answer still owes of its Content-Length; None where it has none, and
        ends with the connection; ``_NONE`` where it has no body."""
        self._unframed: UnframedAnswer | None = None
        """Of such an answer, until it is whole."""

    # --- from the connection ---------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Keeps a part of the body for the app. Of an app that has answered already nobody will
        read it; the next request is behind it, unless it is endless."""
        self._buffered += len(data)
        if self.response_complete:
            if self._buffered > self._connection.limits.linger_bytes:
                self._connection.end()
            return
        self._body.append(data)
        if self._buffered > HIGH_WATER:
            self._connection.flow.pause_reading()
        self._wake()

    def end_body(self) -> None:
        """The app may be told that the request is whole."""
        self.more_body = False
        self._wake()

    def disconnect(self) -> None:
        """The app is told so, if it has not answered."""
        if not self.response_complete:
            self._disconnected = True
        self._wake()

    def cut(self) -> None:
        """Ends the connection, so that nobody takes an answer under way for whole."""
        if self._unframed is None:
            self._connection.end()
        else:
            self._connection.flow.pause_reading()
            self._unframed.cut()

    def start(self) -> None:
        """Has the app answer, in a task that the server knows."""
        self._task = self._connection.loop.create_task(self._run())
        self._connection.state.tasks.add(self._task)

    async def _run(self) -> None:
        """Where the app fails before it has begun to answer, the caller is told so; afterwards
        the connection is cut, so that nobody takes a part for the whole."""
        try:
            await self._app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._fail(_ENDS)  # the server ends: it is no fault of the app
        except BaseException as error:
            _log.error("Exception in ASGI application\n", exc_info=error)
            self._fail()
        else:
            if not self.response_complete and not self._disconnected:
                _log.error("ASGI callable returned without completing response.")
                self._fail()
        finally:
            self._connection.state.tasks.discard(self._task)

    # --- from the app ----------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Waits for the next part of the request, or for the caller to go: ``http.request`` or
        ``http.disconnect``."""
        if self.wants_continue and not self._connection.transport.is_closing():
            self.wants_continue = False
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if not self._disconnected and not self.response_complete:
            self._connection.resume_reading()
            if not self._news:
                await self._next()
            self._news = False
        if self._disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        parts, self._body, self._buffered = self._body, [], 0
        return {"type": "http.request", "body": b"".join(parts), "more_body": self.more_body}

    async def send(self, message: Message) -> None:
        """Writes a part of the answer, when the caller reads on; returns from the last when the
        caller has taken it, but for what the transport always may hold. ``more_body: None`` ends
        one that is cut: the connection is closed without a word that the body has ended, which
        other servers would say, and reset where its close is that word. For a caller who is gone
        it does nothing. Raises RuntimeError for what ASGI does not allow."""
        connection = self._connection
        if connection.flow.write_paused and not self._disconnected:
            await connection.flow.drained()
        if self._disconnected:
            return
        kind = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != kind or self.response_complete:
            raise RuntimeError(f"{message['type']} was sent where it has no place")
        if self.response_started:
            more = message.get("more_body", False)
            if more and self._in_chunks:
                if body := message.get("body", b""):
                    connection.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
                return
            self._continue(message.get("body", b""), more=more)
            if self.response_complete and connection.flow.write_paused:
                await connection.flow.drained()
        else:
            self._begin(message["status"], message.get("headers", ()))

    def write_part(self, body: bytes) -> bool:
        """Writes a part of an answer whose head is written, without waiting; False where ``send``
        would wait, or has more to do: nothing is written then."""
        connection = self._connection
        if connection.flow.write_paused or not self._in_chunks or self._disconnected:
            return False
        if self.response_complete:
            return False
        if body:  # a chunk of no bytes would end the answer
            connection.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True

    # --- the request -----------------------------------------------------------------------------

    def _wake(self) -> None:
        self._news = True
        if self._event is not None:
            self._event.set()

    async def _next(self) -> None:
        if self._event is None:
            self._event = asyncio.Event()
        self._event.clear()
        await self._event.wait()

    # --- the answer ------------------------------------------------------------------------------

    def _fail(self, why: Refusal = _FAILED) -> None:
        if self.response_started:
            self.cut()
        elif not self._disconnected:
            self._begin(why.status, refusal_headers(why))
            self._continue(why.body(), more=False)

    def _begin(self, status: int, headers: Headers) -> None:
        lines = [status_line(status)]
        self._chunked, self._left = None, 0
        for name, value in (*self._connection.state.default_headers, *headers):
            if name not in _OURS or self._frame(name, value):
                lines.append(name + b": " + value)
        if not self.keep_alive:
            lines.append(b"connection: close")
        if status in BODILESS or self.scope["method"] == "HEAD":
            lines = self._frame_nothing(status, lines)
        elif self._chunked is None:
            self._frame_unknown(lines)
        self._head = head_of(lines)
        self.response_started = True
        self.wants_continue = False

    def _frame_nothing(self, status: int, lines: list[bytes]) -> list[bytes]:
        """No body, whatever the app sends (RFC 9110, 6.4.1)."""
        self._chunked, self._left = False, _NONE
        unsaid = _UNSAID.get(status, ())
        return [line for line in lines if line.partition(b":")[0] not in unsaid]

    def _frame_unknown(self, lines: list[bytes]) -> None:
        """A body of unknown length: in chunks, which HTTP/1.0 does not know; there it ends with
        the connection."""
        self._chunked = self.scope["http_version"] != "1.0"
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        else:
            self._left = None
            self._unframed = UnframedAnswer(self._connection.loop, self._connection.transport)

    def _frame(self, name: bytes, value: bytes) -> bool:
        """Takes over what the app says of its body's end and of the connection's; False where that
        cannot be said, or is said by us."""
        if name == b"connection":
            self.keep_alive = self.keep_alive and b"close" not in value.lower()
            return False
        if name == b"transfer-encoding":
            if self.scope["http_version"] == "1.0":
                return False
            self._chunked = b"chunked" in value.lower()
        elif self._chunked is None:
            self._left = int(value)
            self._chunked = False
        return True

    def _continue(self, body: bytes, *, more: bool | None) -> None:
        """``more``: None of an answer that is cut, of which there is more that never comes."""
        head, self._head = self._head, b""
        self._write(head, self._framed(body, more=more))
        if more:
            self._in_chunks = bool(self._chunked)
            return
        if more is None:
            self.keep_alive = False
        elif self._left and self._left != _NONE:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self.response_complete = True
        self._body = []  # of a request that was answered before it was whole
        self._wake()
        if self._unframed is not None and self._is_cut(more):
            return
        if self.keep_alive:
            self._connection.on_response_complete()
        else:
            self._connection.on_last_response_complete()

    def _is_cut(self, more: bool | None) -> bool:
        if more is None:
            self.cut()
            self._connection.state.total_requests += 1
            return True
        if self._unframed is not None:
            self._unframed.end()
            self._unframed = None
        return False

    def _framed(self, body: bytes, *, more: bool | None) -> bytes:
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more or more is None else chunk + b"0\r\n\r\n"
        if self._left is not None:
            if len(body) > self._left:
                if self._left == _NONE:
                    return b""
                raise RuntimeError("the answer is longer than its Content-Length")
            self._left -= len(body)
        return body

    def _write(self, head: bytes, body: bytes) -> None:
        if head and len(body) > _JOINED:
            self._connection.transport.writelines((head, body))
        elif head or body:
            self._connection.transport.write(head + body if head else body)


def part_writer(send: Any) -> Callable[[bytes], bool] | None:
    """How parts of an answer that goes by ``send`` are written without waiting: ``write_part``;
    None where ``send`` is not a cycle's own, but somebody's who looks at what passes."""
    cycle = getattr(send, "__self__", None)
    return cycle.write_part if isinstance(cycle, RequestCycle) else None
