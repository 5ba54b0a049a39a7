"""One HTTP/1.1 connection to a backend.

Written for calls that are passed on: one write for a request, one wake-up for a whole answer, the
parser in C (httptools, which is llhttp). A connection carries one exchange at a time, and whoever
asked holds that exchange, never the connection: it ends with the answer, so that nobody can close
or hurry a connection that carries another's call by then. The connection knows when an answer is
complete (Content-Length, the last chunk, or the close of a body that the close delimits, RFC 9112
section 6.3) and calls everything else a cut.

    request written, connection gone, no byte back    AMBIGUOUS
    bytes came, and then a cut                        TRUNCATED
    bytes came that are no HTTP, or too many          FAILED
    the deadline passed, or its body stopped coming   TIMEOUT
    closed by our own end                             AMBIGUOUS
    any of these after the head of a refusal          what that refusal means
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools
import msgspec

from adapters.errors import BackendError, FailureClass, malformed, was_closed
from adapters.http.encodings import Decoder, decoder_for
from adapters.http.response import Body, Response

MAX_QUIET = 128 * 1024
"""Bytes that may arrive without any body among them: heads, trailers, chunk extensions."""

JOINED = 64 * 1024
"""Up to so many bytes a body is joined to its head; a larger one is handed to the kernel beside it,
and not copied."""

REFUSAL_S = 5.0
"""What a refusal says is waited for no longer, in seconds after its head was seen: its status has
said already that the call is not served."""

_UNREADABLE = "The backend's answer could not be read."
_FIRST_FINAL_STATUS = 200
_FIRST_REFUSAL = 300


class ConnectionOwner(Protocol):
    """The pool, told by a connection what becomes of it."""

    def released(self, connection: HttpConnection) -> None:
        """The exchange is complete and another may follow."""
        ...

    def lost(self, connection: HttpConnection) -> None:
        """The connection is of no more use; told exactly once."""
        ...

    def answering(self, exchange: Exchange) -> None:
        """The first byte of the answer to a timed exchange is here."""
        ...


class Exchange(msgspec.Struct, eq=False):
    """One request and its answer: the only hold that whoever asked has on a connection.

    It ends exactly once, by a whole answer or by an error, and ``answer`` is resolved by then: no
    later than ``deadline``, an instant of the Clock's monotonic scale. Then it is ``over``, and all
    that it can still do is to keep a connection from being used again that nobody has used since.
    """

    _connection: HttpConnection
    answer: asyncio.Future[Response | Body]
    """Of a Response (``whole``) or, at its head, a Body."""
    deadline: float
    whole: bool
    over: bool = False
    sent_at: float | None = None
    """When it was sent, where it is timed."""

    def abort(self) -> None:
        """Nobody waits for the answer any more."""
        if not self.over:
            self._connection.fail(_left())

    def retire(self) -> None:
        """Its connection is not to be trusted; one that another exchange has taken since stays."""
        if self._connection.exchange is self:
            self._connection.abort()

    def resume(self) -> None:
        """Reads the socket again, where that was paused."""
        if not self.over:
            self._connection.resume()


class HttpConnection(asyncio.Protocol):
    """One connection; the pool makes it, ``begin`` starts an exchange."""

    __slots__ = (
        "_body",
        "_decoder",
        "_headers",
        "_loop",
        "_made",
        "_max_response",
        "_owner",
        "_parser",
        "_parts",
        "_paused",
        "_quiet",
        "_size",
        "_status",
        "_transport",
        "exchange",
        "idle_since",
        "progress",
        "quiet_since",
        "seen",
        "usable",
    )

    def __init__(
        self, owner: ConnectionOwner, loop: asyncio.AbstractEventLoop, *, max_response: int
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._max_response = max_response
        self._parser = httptools.HttpResponseParser(self)
        self._made = False
        self.exchange: Exchange | None = None
        """The one that is on its way, or was the last."""
        self._body: Body | None = None
        self._decoder: Decoder | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._paused = False
        self._size = self._quiet = self._status = 0
        self.usable = True
        self.idle_since = self.quiet_since = 0.0
        self.progress = self.seen = 0

    # --- for the pool ----------------------------------------------------------------------

    def begin(
        self, request: bytes | tuple[bytes, bytes], *, deadline: float, whole: bool
    ) -> Exchange:
        """Writes a request, or its head and its body; no other exchange may be on its way."""
        self._body = self._decoder = None
        self._size = self._quiet = self._status = 0
        exchange = Exchange(self, self._loop.create_future(), deadline, whole)
        self.exchange = exchange
        if isinstance(request, tuple):
            self._transport.writelines(request)
        else:
            self._transport.write(request)
        return exchange

    @property
    def busy(self) -> bool:
        """An exchange is on its way."""
        return self.exchange is not None and not self.exchange.over

    @property
    def descriptor(self) -> int:
        """Of its socket; -1 where the transport has none."""
        socket = self._transport.get_extra_info("socket")
        return -1 if socket is None else int(socket.fileno())

    def fail(self, error: BackendError) -> None:
        """Ends the exchange, where there is one, with an error, and closes. A refusal whose head is
        whole stays that refusal, without the rest of its body."""
        exchange = self.exchange
        if exchange is not None and not exchange.over:
            exchange.over = True
            body, self._body = self._body, None
            if body is not None:
                body.end(error)
            elif exchange.answer.done():
                pass  # whoever asked has left
            elif self._status >= _FIRST_REFUSAL:
                exchange.answer.set_result(Response(self._status, self._headers, b""))
            else:
                exchange.answer.set_exception(error)
                exchange.answer.exception()  # whoever asked may be leaving in this very turn
        self._discard()
        if self._made:
            self._transport.abort()

    def abort(self) -> None:
        """Closes at once, a connection of no use or of no more use."""
        self.fail(was_closed())

    def look(self, now: float, longest_s: float) -> None:
        """Ends an exchange that has had its time, or whose body has brought nothing for so long.
        Asked at intervals; a reader that is slow itself is not the server's silence."""
        exchange = self.exchange
        if exchange is None or exchange.over:
            return
        if self._status >= _FIRST_REFUSAL:
            exchange.deadline = min(exchange.deadline, now + REFUSAL_S)
        if not self._has_begun or self._paused or self.progress != self.seen:
            self.seen = self.progress
            self.quiet_since = now
        if exchange.deadline <= now:
            self.fail(BackendError(FailureClass.TIMEOUT, "The backend did not answer in time."))
        elif self.quiet_since <= now - longest_s:
            self.fail(BackendError(FailureClass.TIMEOUT, "The backend's answer stopped coming."))

    @property
    def _has_begun(self) -> bool:
        """Whether a body is on its way: of a whole answer, which may be long in the making after
        its head, its first byte."""
        return self._body is not None or self._size > 0

    def resume(self) -> None:
        """Reads the socket again, where that was paused."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    # --- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is open, or it was given up meanwhile."""
        self._transport = cast("asyncio.Transport", transport)
        self._made = True
        if not self.usable:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes of the answer; of no answer, and the connection is closed."""
        if self.exchange is None or self.exchange.over:
            self.abort()
            return
        self._quiet += len(data)
        self.progress += 1
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(malformed(_UNREADABLE, detail=f"not HTTP/1.1: {error}"))
            return
        if self._quiet > MAX_QUIET:
            self.fail(malformed(_UNREADABLE, detail="its head or trailer is too large"))
        elif self._body is not None and self._body.tell() and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the socket is closed, which ends some bodies and cuts the others."""
        if self.busy:
            if exc is None and self._close_delimited():
                self._complete(reusable=False)
            else:
                self.fail(self._cut(exc))
        self._discard()
        # Parser and exchange hold this connection: without a word it would wait for the collector.
        self.exchange = None
        del self._parser

    # --- httptools -------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """httptools: the first byte of an answer."""
        self._headers = []
        self._parts = []
        exchange = self.exchange
        if exchange is None or exchange.over:
            self.abort()
        elif exchange.sent_at is not None:
            self._owner.answering(exchange)

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """httptools: the head is whole; of a stream, the body is handed over."""
        self._status = self._parser.get_status_code()
        exchange = self.exchange
        if exchange is None or exchange.over or self._status < _FIRST_FINAL_STATUS:
            return
        if not exchange.whole:
            self._body = Body(exchange, self._status, self._headers)
            _resolve(exchange, self._body)
        try:
            self._decoder = decoder_for(self._headers)
        except BackendError as error:
            self.fail(error)

    def on_body(self, data: bytes) -> None:
        """httptools: a piece of the body."""
        self._quiet = 0
        if self.exchange is None or self.exchange.over:
            return
        if self._decoder is not None:
            data = self._decoded(self._decoder, data)
            if not data:
                return
        if self._body is not None:
            self._body.feed(data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._max_response:
            self.fail(malformed(f"The backend's answer is larger than {self._max_response} bytes."))

    def on_message_complete(self) -> None:
        """httptools: the last byte of an answer."""
        exchange = self.exchange
        if exchange is None or exchange.over:
            return
        if self._status >= _FIRST_FINAL_STATUS:
            self._complete(reusable=self._parser.should_keep_alive())

    # --- inside ----------------------------------------------------------------------------

    def _decoded(self, decoder: Decoder, data: bytes) -> bytes:
        """What a piece of a compressed body holds; nothing of one that cannot be undone."""
        try:
            if self._body is not None:
                return decoder.feed(data)
            return decoder.feed(data, self._max_response - self._size)
        except BackendError as error:
            self.fail(error)
            return b""

    def _complete(self, *, reusable: bool) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self._decoder is not None and not self._decoder.complete:
            self.fail(self._cut(None))
            return
        exchange.over = True
        body, self._body = self._body, None
        if body is not None:
            body.end()
        else:
            parts = self._parts
            whole = parts[0] if len(parts) == 1 else b"".join(parts)
            _resolve(exchange, Response(self._status, self._headers, whole))
        if self._paused:
            self.resume()
        # An answer that came before all of the request was written leaves the rest of it behind.
        if reusable and self.usable and not self._transport.get_write_buffer_size():
            self._owner.released(self)
        else:
            self.abort()

    def _discard(self) -> None:
        if self.usable:
            self.usable = False
            self._owner.lost(self)

    def _close_delimited(self) -> bool:
        return self._status >= _FIRST_FINAL_STATUS and not any(
            name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )

    def _cut(self, exc: Exception | None) -> BackendError:
        detail = "" if exc is None else f"{type(exc).__name__}: {exc}"
        if self._status >= _FIRST_FINAL_STATUS:
            return BackendError(
                FailureClass.TRUNCATED, "The backend's answer broke off.", detail=detail
            )
        return BackendError(
            FailureClass.AMBIGUOUS,
            "The backend closed the connection without an answer; the call may have run.",
            detail=detail,
            reused=self.idle_since > 0.0,
        )


def _resolve(exchange: Exchange, answer: Response | Body) -> None:
    if not exchange.answer.done():  # else whoever asked has left
        exchange.answer.set_result(answer)


def _left() -> BackendError:
    return BackendError(
        FailureClass.AMBIGUOUS, "The call was left before it was answered; it may have run."
    )
