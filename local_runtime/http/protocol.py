"""HTTP/1.1 for a server, over httptools' parser: little work for each request, and an answer in
one write.

Head and body leave together, one timer watches over a connection for as long as it lives, and what
is the same from request to request is not worked out again. The gateway and the app's own server
both speak it. Nothing waits for a client without a bound: see ``ClientLimits``.

``HttpServer`` keeps the sockets, the signals and the lifespan. There is no root path, no limit of
concurrency and no access log; a WebSocket is whose who answers its request (``upgrades``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import httptools
from starlette.types import ASGIApp, Scope

from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.client_timer import ClientTimer
from local_runtime.http.cut_answers import reset_at_close
from local_runtime.http.errors import Refusal
from local_runtime.http.flow_control import FlowControl
from local_runtime.http.head import FRAMING, address_of, refusal_answer, target_of
from local_runtime.http.heads import Heads
from local_runtime.http.lingering import Lingering
from local_runtime.http.request_cycle import Cycle, RequestCycle
from local_runtime.http.server_state import ServerState
from local_runtime.http.strangers import IDENTIFY, Strangers
from local_runtime.http.unreadable import TOO_SLOW
from local_runtime.http.upgrades import UPGRADE, BodyParser, Upgrade, Upgraded

DEFAULT_LIMITS = ClientLimits()
MAX_HEAD = 64 * 1024
"""Bytes of a request's head, where its server names no other bound."""
_PROBE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""Not 102, which says the same: clients that skip 100 alone take it for the answer."""


class HttpProtocol(Heads):
    """One connection to ``app``, bounded by ``limits`` and, in the bytes of a head, ``max_head``;
    ``strangers`` are those of its server whose clients have yet to show who they are. Left out:
    whoever sends a head is known.

    A request that comes before the last is answered waits for its turn, and nothing is read
    behind it meanwhile. A client that says it will send no more is answered all the same.
    """

    transport: asyncio.Transport
    flow: FlowControl

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
        super().__init__(max_head, strangers is None)
        self.loop = asyncio.get_running_loop()
        self.state = state
        self.app_state = app_state
        """What the app's lifespan left for its requests."""
        self.parser = parser = httptools.HttpRequestParser(self)
        # A caller that ends the connection with a request, and sends more, still gets its answer.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.reading: Cycle | None = None
        self.answering: Cycle | None = None
        """The newest request, and the one whose answer is under way, or was last."""
        self.asks_who = strangers is not None
        """The app of the next request is asked to say when its client has shown who it is."""
        self.is_half_closed = False
        self.limits = limits
        self.client_timer = ClientTimer(self, limits, self.loop)
        self.lingering: Lingering | None = None
        """What is left of the connection once its last answer is written."""
        self._goes_on = True
        self._app = app
        self._waiting: deque[RequestCycle] = deque()
        """Requests behind the one that is being answered."""
        self._strangers = strangers

    # --- from the transport ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The caller is there."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self.flow = FlowControl(self.transport)
        self._server = address_of(transport.get_extra_info("sockname"))
        self._client = address_of(transport.get_extra_info("peername"))
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self.state.connections.add(self)
        if self._strangers is not None:
            self._strangers.add(self)
        self.client_timer.start()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone: whatever is under way for it is told so."""
        self.state.connections.discard(self)
        if self._strangers is not None:
            self._strangers.discard(self)
        self.client_timer.gone()
        if self.answering is not None:
            self.answering.disconnect()
        self.flow.resume_writing()
        self._waiting.clear()
        # Parser and cycles hold this connection: without a word it would wait for the collector.
        self.reading = self.answering = self.lingering = None
        del self.parser

    def pause_writing(self) -> None:
        """The caller reads too slowly."""
        self.flow.pause_writing()
        self.client_timer.cannot_write()

    def resume_writing(self) -> None:
        """The caller has caught up."""
        self.flow.resume_writing()
        self.client_timer.can_write()

    def eof_received(self) -> bool:
        """The caller sends no more: it is gone, or waits for the answer to what it sent. Once an
        answer has begun it is taken for gone: nothing can be said then to find out. TLS knows no
        such half."""
        last, current = self.reading, self.answering
        if last is None or last.more_body or self._in_head or self._scheme == "https":
            return False
        if current is None or current.response_started:
            return False
        last.keep_alive = False
        self.is_half_closed = True
        self.probe()
        self.client_timer.sent_last()
        return True

    # --- from the server -------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Takes no further request: the connection ends with the answer that is under way."""
        if self.lingering is not None:
            return
        if self.reading is None or self.reading.response_complete:
            self.end()
        else:
            self.reading.keep_alive = False

    def retire(self) -> None:
        """Takes one request more, whose answer says that it is the last: a client that does not
        know would send its next one into a connection that ends in that instant."""
        self._goes_on = False
        if self.reading is not None and not self.reading.response_started:
            self.reading.keep_alive = False

    # --- from the parser -------------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        """The head is whole: the app is asked, or the request waits for its turn. Raises
        Unreadable where it cannot be answered."""
        cycle = self._cycle(self._end_head())
        answering, self.reading = self.answering, cycle
        if answering is None or answering.response_complete:
            self.answering = cycle
            cycle.start()
        else:
            self.flow.pause_reading()
            self._waiting.append(cycle)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._unread = 0
        reading = self.reading
        assert reading is not None
        reading.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole, unless it wants another protocol: see ``_wishes_upgrade``."""
        reading = self.reading
        assert reading is not None
        if self.client_timer.part_since is not None:
            self.client_timer.received_whole()
        if not self.parser.should_upgrade():
            reading.end_body()

    # --- from a cycle ----------------------------------------------------------------------------

    def is_answering(self) -> bool:
        """There is a request that has not had its whole answer."""
        return self.answering is not None and not self.answering.response_complete

    def resume_reading(self) -> None:
        """Reads on, unless requests are there already that wait."""
        if not self._waiting:
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        """The next request has its turn."""
        self.state.total_requests += 1
        if self.transport.is_closing():
            return
        self.client_timer.quiet()
        if self._waiting:
            cycle = self.answering = self._waiting.popleft()
            cycle.start()
            self.resume_reading()
        else:
            self.flow.resume_reading()

    def on_last_response_complete(self) -> None:
        """No other request has a turn: the connection ends."""
        self.state.total_requests += 1
        self.end()

    def end(self) -> None:
        """Ends the connection behind what was written."""
        reading = self.reading
        if self._in_head or not self.flow.is_read or (reading is not None and reading.more_body):
            self.linger()
        else:
            self.transport.close()

    def linger(self) -> None:
        """Ends it, though its client may be sending still. TLS has a word for the end, and its
        transport drops by itself what comes before the client's."""
        if self.lingering is not None or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        if self.answering is not None:
            self.answering.disconnect()
            self.answering.response_complete = True
        self._waiting.clear()
        self.lingering = Lingering(self)

    # --- the request -----------------------------------------------------------------------------

    def _cycle(self, version: str) -> RequestCycle:
        """Of the request whose head was read last."""
        path, raw_path, query, authority = target_of(self.url)
        if authority is not None:
            self._take_authority(authority)
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": self._scheme,
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        if self.asks_who:
            scope[IDENTIFY] = self.identify
        return RequestCycle(
            self,
            self._app,
            scope,
            self._goes_on and version != "1.0" and self.parser.should_keep_alive(),
            self.wants_continue,
        )

    def _wishes_upgrade(self, rest: bytes) -> None:
        """A wish for another protocol may be granted by who answers the request, which is one like
        any other else (RFC 9110, 7.8). The parser takes it for ended with its head, so its body is
        read by a second one; what follows is not read: the connection ends with the answer."""
        reading = self.reading
        assert reading is not None
        reading.keep_alive = False
        framing = [name + b": " + value for name, value in self.headers if name in FRAMING]
        if not framing:
            if isinstance(reading, RequestCycle) and self.parser.get_http_version() != "1.0":
                reading.scope.setdefault(UPGRADE, Upgrade(self)).early += rest
            reading.end_body()
            return
        self.parser = BodyParser(self, framing)
        self.data_received(rest)

    def give_away(self, protocol: Upgraded) -> None:
        """The connection is ``protocol``'s: the request has its whole answer by that."""
        cycle = self.answering
        assert cycle is not None
        cycle.response_started = cycle.response_complete = True
        self.client_timer.end()
        if self._strangers is not None:
            self._strangers.discard(self)
        self.state.connections.discard(self)
        self.transport.set_protocol(protocol)
        protocol.taken(self.transport, self.state.connections)
        self.resume_reading()

    def _refuse(self, refusal: Refusal) -> None:
        """What was sent cannot be read on. An answer that has begun is only cut, never mixed with
        this, and a whole request before it has its own, which is the last."""
        if self.transport.is_closing() or self.lingering is not None:
            return
        cycle = self.answering
        if cycle is None or cycle.response_complete or self._is_half_sent(cycle):
            self.transport.write(refusal_answer(refusal))
            self.linger()
        elif cycle.response_started:
            cycle.cut()
        else:
            if self._waiting and self._waiting[-1].more_body:
                self._waiting.pop()
            last = self._waiting[-1] if self._waiting else cycle
            last.keep_alive = False
            self._in_head = True  # whatever it is, it is not whole

    @staticmethod
    def _is_half_sent(cycle: Cycle) -> bool:
        return cycle.more_body and not cycle.response_started

    def is_done(self) -> bool:
        """The client has taken everything, and has only to end the connection too."""
        ends = self.lingering is not None or self.transport.is_closing()
        return ends and not self.is_untaken()

    # --- what the client lets wait ---------------------------------------------------------------

    def identify(self) -> None:
        """The client has shown who it is."""
        self.is_known, self.asks_who = True, False
        if self._strangers is not None:
            self._strangers.discard(self)

    def is_in_head(self) -> bool:
        """The head of a request has begun, and is not whole."""
        return self._in_head

    def is_owed_body(self) -> bool:
        """The client may send the rest of a body, and has not."""
        reading = self.reading
        return reading is not None and reading.more_body and not reading.wants_continue

    def owes_nothing(self) -> bool:
        """No answer to a whole request is under way, or waits to be taken."""
        cycle = self.answering
        is_owed_none = cycle is None or cycle.response_complete or cycle.more_body
        return is_owed_none and not self.is_untaken()

    def is_untaken(self) -> bool:
        """Something waits for the client to take it."""
        return self.transport.get_write_buffer_size() > 0

    def idle_since(self) -> float:
        """By the loop's clock."""
        return self.client_timer.quiet_since

    def close_idle(self) -> None:
        """Ends the connection, whose client has sent nothing, or not enough; at once where it ends
        already, and its client takes its time."""
        if self.lingering is not None:
            self.lingering.cut()
        elif self.transport.is_closing():
            self.give_up()
        elif self.is_answering() and self.answering is not None:
            self.answering.cut()
        else:
            self.transport.close()

    def hear_end(self) -> None:
        """Whoever is not read cannot say that it sends no more."""
        if self.flow.has_ended() and not self.eof_received():
            self.give_up()

    def give_up(self) -> None:
        """Ends it at once, whatever the client has not taken."""
        reset_at_close(self.transport, True)
        self.transport.abort()

    def give_up_reading(self) -> None:
        """A head or a body does not end: said to a client that has had no answer to it."""
        if self._in_head or (self.reading is not None and self._is_half_sent(self.reading)):
            self._refuse(TOO_SLOW)
        else:
            self.close_idle()

    def probe(self) -> None:
        """Says that the answer is under way: a client that is gone resets the connection for it,
        one that reads on skips it (RFC 9110, 15.2). HTTP/1.0 knows no such word."""
        cycle = self.answering
        if cycle is None or cycle.response_started or self.transport.is_closing():
            return
        if self.parser.get_http_version() != "1.0":
            self.transport.write(_PROBE)
