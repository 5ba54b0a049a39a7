"""Uvicorn's HTTP protocol, with less work for each request and an answer in one write.

Head and body leave together, one timer watches over a connection for as long as it lives, and
what is the same from request to request is not worked out again. Uvicorn's own way of it takes a
third of the CPU of a whole call. The gateway and the app's own server both speak it; the options of
Uvicorn that they leave alone are not looked at: ``root_path``, ``limit_concurrency``, WebSockets,
its access log.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from local_runtime.app.request import BODILESS
from local_runtime.http_errors import Refusal

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_STATUSES = frozenset(HTTPStatus)
_PRINTED = bytes(code for code in range(256) if code == 9 or (code >= 32 and code != 127))
_JOINED = 64 * 1024
"""Up to this many bytes it is cheaper to copy a body than to write twice."""


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    tasks: set[asyncio.Task[None]]
    task: asyncio.Task[None]
    _head = b""
    """Of the answer, until the first part of its body is there: ASGI asks a server to wait."""

    async def run_asgi(self, app: Any) -> None:
        try:
            await super().run_asgi(app)
        finally:
            self.tasks.discard(self.task)

    async def send(self, message: Any) -> None:
        """Raises RuntimeError for what ASGI does not allow."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = "http.response.body" if self.response_started else "http.response.start"
        if message["type"] != kind or self.response_complete:
            raise RuntimeError(f"{message['type']} was sent where it has no place")
        if self.response_started:
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            self._begin(message["status"], message.get("headers", ()))

    def _begin(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        lines = [_status_line(status)]
        for name, value in (*self.default_headers, *headers):
            if name == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            lines.append(name + b": " + value)
            if name in _FRAMING:
                self._frame(name, value)
        if not self.keep_alive:
            lines.append(b"connection: close")
        if self.chunked_encoding is None and status not in BODILESS:
            self.chunked_encoding = self.scope["method"] != "HEAD"
            if self.chunked_encoding:
                lines.append(b"transfer-encoding: chunked")
        self._head = _head_of(lines)
        self.response_started = True
        self.waiting_for_100_continue = False

    def _frame(self, name: bytes, value: bytes) -> None:
        if name == b"transfer-encoding":
            self.chunked_encoding = b"chunked" in value.lower()
        elif self.chunked_encoding is None:
            self.expected_content_length = int(value)
            self.chunked_encoding = False

    def _continue(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, b""
        self._write(head, self._framed(body, more=more))
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _framed(self, body: bytes, *, more: bool) -> bytes:
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            return b""
        if self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            return chunk if more else chunk + b"0\r\n\r\n"
        if len(body) > self.expected_content_length:
            raise RuntimeError("the answer is longer than its Content-Length")
        self.expected_content_length -= len(body)
        return body

    def _write(self, head: bytes, body: bytes) -> None:
        if head and len(body) > _JOINED:
            self.transport.write(head)
            self.transport.write(body)
        elif head or body:
            self.transport.write(head + body if head else body)


@functools.cache
def _status_line(status: int) -> bytes:
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    return f"HTTP/1.1 {status} {phrase}".encode()


def _head_of(lines: list[bytes]) -> bytes:
    """Raises RuntimeError where a header holds a control character: it could end the head early."""
    head = b"\r\n".join(lines)
    if head.translate(None, _PRINTED) != b"\r\n" * (len(lines) - 1):
        raise RuntimeError("a header of the answer holds a control character")
    return head + b"\r\n\r\n"


@functools.lru_cache(maxsize=256)
def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """The path, unquoted and as it came, and the query of a request's target."""
    parsed = httptools.parse_url(url)
    path = parsed.path.decode("ascii")
    return unquote(path) if "%" in path else path, parsed.path, parsed.query or b""


_MOST_HEAD = 64 * 1024
_NO_HTTP = Refusal(400, "invalid_http", "What was sent is not a valid HTTP/1.1 request.")
_TOO_LARGE = Refusal(431, "headers_too_large", "The request's headers are too large.")


def _answer_of(refusal: Refusal) -> bytes:
    body = refusal.body()
    lines = [
        _status_line(refusal.status),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    return _head_of(lines) + body


class _Body:
    """Hears the body of the request whose head another parser has read."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete


class LeanHttp(HttpToolsProtocol):
    """One connection. It is closed when ``timeout_keep_alive`` seconds bring neither the head of a
    request nor more of its body; while an answer is under way it is not."""

    _quiet_since = 0.0
    _unread = 0
    """Bytes that came since the last end of a head or part of a body: they wait in the parser."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._quiet_since = self.loop.time()
        self._look_after(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._unread += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(_NO_HTTP)
        if self._unread > (self.config.h11_max_incomplete_event_size or _MOST_HEAD):
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        super().on_body(body)

    def _stay(self, rest: bytes) -> None:
        """A wish for another protocol is not granted, and the request is one like any other
        (RFC 9110, 7.8). The parser takes it for ended with its head, so its body is read by a
        second one; what follows is not read: the connection ends with the answer."""
        cycle = cast(Cycle, self.cycle)
        cycle.keep_alive = False
        framing = [
            name + b": " + value for name, value in self.scope["headers"] if name in _FRAMING
        ]
        if not framing:
            return
        cycle.more_body = True
        cycle.message_event.clear()
        self.parser = httptools.HttpRequestParser(_Body(self))
        head = b"\r\n".join([b"POST / HTTP/1.1", b"connection: close", *framing])
        self.data_received(head + b"\r\n\r\n" + rest)

    def _refuse(self, refusal: Refusal) -> None:
        """What was sent cannot be read on. An answer that has begun is only cut, never mixed with
        this."""
        if self.transport.is_closing():
            return
        if not self._is_answering():
            self.transport.write(_answer_of(refusal))
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    def on_headers_complete(self) -> None:
        self._unread = 0
        before = self.cycle
        self.cycle = cycle = self._cycle_of(self._scope_of())
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def _scope_of(self) -> Any:
        """What ASGI tells of the request whose head was read last."""
        path, raw_path, query = _target(self.url)
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        return self.scope

    def _cycle_of(self, scope: Any) -> Cycle:
        return Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        own = cast(Cycle, cycle)
        own.tasks = self.tasks
        own.task = self.loop.create_task(own.run_asgi(app))
        self.tasks.add(own.task)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._quiet_since = self.loop.time()

    def _unset_keepalive_if_required(self) -> None:
        """Called when data has come. A timer that was cancelled here would be made anew for every
        request; it is only told that the body of a request goes on."""
        if self.cycle is not None and self.cycle.more_body:
            self._quiet_since = self.loop.time()

    def _look_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        left = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if self._is_answering():
            self._look_after(self.timeout_keep_alive)
        elif left > 0:
            self._look_after(left)
        elif not self.transport.is_closing():
            self.transport.close()

    def _is_answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body
