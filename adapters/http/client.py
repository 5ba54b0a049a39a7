"""A pooled HTTP/1.1 client for one backend host.

No redirects, no cookies. It asks for no compression, and undoes
what comes all the same.
Nothing is ever sent twice: a pooled connection that is found closed before a byte was written
is replaced, and after that a lost answer is AMBIGUOUS. All time comes from the Clock; deadlines
and idle connections are looked after by one task that wakes every ``TICK`` seconds while
connections are open, which costs a call nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

from adapters.base import Clock
from adapters.errors import (
    BackendError,
    FailureClass,
    is_closed,
    said_of,
    unreachable,
    was_closed,
)
from adapters.http.connection import JOINED, Exchange, HttpConnection
from adapters.http.response import Body, Response
from adapters.proxies import Proxy
from adapters.round_trips import RoundTrips
from adapters.shortage import has_room, is_ours, last_for_calls, shortage
from adapters.trust import ClientCertificate, trust_context
from adapters.tunnel import connect
from adapters.types import TRACE_HEADER
from adapters.waiting import before, mark_seen

TICK = 0.05
"""How late a deadline may be noticed, in seconds."""
NEVER = float("inf")
LONGEST_S = 3600.0
"""The longest that a request may take which was given no deadline, in seconds."""


class Origin:
    """Where a base URL points: host, port, TLS, and the path that every target begins with.

    Raises ValueError for what is no URL of http or https, or holds more than these.
    """

    __slots__ = ("authority", "host", "port", "prefix", "secure")

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{base_url!r} is not an http:// or https:// URL")
        if parts.username or parts.query or parts.fragment:
            raise ValueError(f"{base_url!r} may hold only scheme, host, port and path")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        self.prefix = parts.path.rstrip("/")
        self.authority = parts.netloc


def render_head(
    method: str, origin: Origin, path: str, headers: Mapping[str, str] | None = None
) -> bytes:
    """The head of a request, all but Content-Length; made once for each kind of call.

    Raises ValueError for a header that would break out of its line.
    """
    lines = [f"{method} {origin.prefix}{path} HTTP/1.1", f"Host: {origin.authority}"]
    given = headers or {}
    lines += [f"{name}: {value}" for name, value in given.items()]
    if not any(name.lower() == "accept-encoding" for name in given):
        lines.append("Accept-Encoding: identity")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header or a path holds a line break")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


ROOM_S = 0.5
"""The longest that a call waits for a descriptor to be free."""


class Client:
    """Connections to one host, at most ``max_connections``, first come first served.

    ``keep_alive`` is how long an unused connection is kept, in seconds: it must be shorter than
    the server's own time (uvicorn closes after 5 s), or a request meets the close on its way.
    ``stall_timeout`` is the longest silence, in seconds, inside a body that has begun; one whose
    status refuses the call is waited for no longer than ``connection.REFUSAL_S``.
    """

    def __init__(
        self,
        origin: Origin,
        clock: Clock,
        *,
        max_connections: int = 256,
        connect_timeout: float = 5.0,
        keep_alive: float = 4.0,
        stall_timeout: float = NEVER,
        max_response: int = 64 * 1024 * 1024,
        ca_file: str | None = None,
        certificate: ClientCertificate | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Raises ValueError where no call could ever get a connection."""
        if max_connections < 1:
            raise ValueError(f"max_connections is {max_connections}, and must be at least 1")
        self._origin = origin
        self._clock = clock
        self._max_connections = max_connections
        self._connect_timeout = connect_timeout
        self._keep_alive = keep_alive
        self._stall_timeout = stall_timeout
        self._max_response = max_response
        self._ca_file = ca_file
        self._certificate = certificate
        self.proxy = proxy
        self._idle: dict[HttpConnection, None] = {}
        self._open: set[HttpConnection] = set()
        self._connecting = 0
        self._waiters: deque[tuple[float, asyncio.Future[HttpConnection | None]]] = deque()
        self._stirred = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None
        self._closed = False
        self._last_for_calls = last_for_calls()
        self.round_trips = RoundTrips()
        """Of requests without a body: they ask how something stands, and run no model."""

    def __repr__(self) -> str:
        return (
            f"<Client {self._origin.authority}: {self.in_use} active, "
            f"{len(self._idle)} idle, {len(self._waiters)} waiting>"
        )

    @property
    def in_use(self) -> int:
        """Connections with an exchange on its way."""
        return len(self._open) - len(self._idle)

    def start(self) -> None:
        """Must run on the loop that the calls will run on."""
        if self._sweeper is None:
            self._loop = asyncio.get_running_loop()
            self._sweeper = self._loop.create_task(self._sweep())

    async def aclose(self) -> None:
        """Closes every connection; calls in flight fail. May be called twice."""
        self._closed = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(is_closed())
        for connection in list(self._open):
            connection.fail(was_closed())
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.wait([sweeper])
        # A transport closes its socket in the loop's next turn.
        await asyncio.sleep(0)

    async def request(
        self, head: bytes, body: bytes | None = None, *, deadline: float = NEVER
    ) -> Response:
        """One exchange, answered whole. Raises BackendError; any status is an answer."""
        until = self._latest() if deadline == NEVER else deadline
        connection = self._take() or await self._lease(until)
        exchange = connection.begin(_request(head, body), deadline=until, whole=True)
        if body is None:
            exchange.sent_at = self._clock.monotonic()
        try:
            return cast("Response", await exchange.answer)
        except BaseException:
            exchange.abort()
            raise

    async def stream(
        self, head: bytes, body: bytes | None = None, *, deadline: float = NEVER
    ) -> Body:
        """One exchange up to the head of its answer; the body is read or closed by the caller."""
        until = self._latest() if deadline == NEVER else deadline
        connection = self._take() or await self._lease(until)
        exchange = connection.begin(_request(head, body), deadline=until, whole=False)
        try:
            return cast("Body", await exchange.answer)
        except BaseException:
            exchange.abort()
            raise
        finally:
            del exchange.answer  # it would hold the body, which holds the exchange

    async def submit(
        self, head: bytes, body: bytes, *, deadline: float = NEVER
    ) -> asyncio.Future[Response]:
        """Sends, and gives the answer as a future that outlives the task that awaits it: for a
        submit whose answer alone names the remote job. It ends by ``deadline`` at the latest."""
        until = self._latest() if deadline == NEVER else deadline
        connection = self._take() or await self._lease(until)
        exchange = connection.begin(_request(head, body), deadline=until, whole=True)
        exchange.answer.add_done_callback(mark_seen)
        return cast("asyncio.Future[Response]", exchange.answer)

    # --- told by connections ---------------------------------------------------------------

    def released(self, connection: HttpConnection) -> None:
        """An exchange is complete: whoever waits for a connection gets this one."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(connection)
            return
        connection.idle_since = self._clock.monotonic()
        self._idle[connection] = None

    def lost(self, connection: HttpConnection) -> None:
        """A connection is gone: whoever waits may make another in its place."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._offer_place()

    def answering(self, exchange: Exchange) -> None:
        """The first byte of an answer to a request without a body."""
        if exchange.sent_at is not None:
            self.round_trips.observe(self._clock.monotonic() - exchange.sent_at)
            exchange.sent_at = None  # an interim answer is followed by another one

    # --- inside ----------------------------------------------------------------------------

    def _latest(self) -> float:
        return self._clock.monotonic() + LONGEST_S

    def _take(self) -> HttpConnection | None:
        """The idle connection that was used last, so that the others can grow old."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
        return None

    async def _lease(self, deadline: float) -> HttpConnection:
        while True:
            if self._closed or self._sweeper is None:
                raise is_closed()
            if len(self._open) + self._connecting < self._max_connections:
                self._connecting += 1
                return await self._connect(deadline)
            connection = await self._wait_turn(deadline)
            if connection is None:
                return await self._connect(deadline)
            if connection.usable:
                return connection

    async def _wait_turn(self, deadline: float) -> HttpConnection | None:
        """A connection that is free again, or None: a place to connect, already counted."""
        waiter: asyncio.Future[HttpConnection | None] = self._loop.create_future()
        self._waiters.append((deadline, waiter))
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise

    def _pass_on(self, place: HttpConnection | None) -> None:
        if place is None:
            self._connecting -= 1
            self._offer_place()
        elif place.usable:
            self.released(place)

    def _offer_place(self) -> None:
        if len(self._open) + self._connecting >= self._max_connections:
            return
        waiter = self._next_waiter()
        if waiter is not None:
            self._connecting += 1
            waiter.set_result(None)

    def _next_waiter(self) -> asyncio.Future[HttpConnection | None] | None:
        while self._waiters:
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    async def _connect(self, deadline: float) -> HttpConnection:
        """Opens a connection in a place that is already counted."""
        if self._closed:
            self._connecting -= 1
            raise is_closed()
        if not has_room(self._last_for_calls):
            await self._wait_for_room(deadline)
        self._stirred.set()
        connection = HttpConnection(self, self._loop, max_response=self._max_response)
        until = min(deadline, self._clock.monotonic() + self._connect_timeout)
        self._open.add(connection)
        self._connecting -= 1
        try:
            await before(self._clock, until, self._reach(connection))
        except TimeoutError:
            connection.abort()
            raise self._unreachable("no connection in time") from None
        except (OSError, ValueError) as error:
            connection.abort()
            ours = isinstance(error, OSError) and is_ours(error)
            raise shortage(said_of(error)) if ours else self._unreachable(said_of(error)) from None
        except BaseException:
            connection.abort()
            raise
        if not connection.usable:
            raise self._unreachable("the connection was closed as soon as it was made")
        if connection.descriptor >= self._last_for_calls:
            connection.abort()
            raise _crowded()
        return connection

    def _unreachable(self, why: str) -> BackendError:
        return unreachable(self._origin.host, self._origin.port, why)

    async def _wait_for_room(self, deadline: float) -> None:
        """A call that was taken waits a moment for its second descriptor: the connections of calls
        that were refused are about to be closed."""
        until = min(deadline, self._clock.monotonic() + ROOM_S)
        try:
            while not has_room(self._last_for_calls):
                if self._clock.monotonic() >= until:
                    raise _crowded()
                await self._clock.sleep(ROOM_S / 10)
        except BaseException:
            self._pass_on(None)
            raise

    async def _reach(self, connection: HttpConnection) -> None:
        origin = self._origin
        context = trust_context(self._ca_file, self._certificate) if origin.secure else None
        await connect(lambda: connection, origin.host, origin.port, context, self.proxy)

    async def _sweep(self) -> None:
        while True:
            if not self._open:
                self._stirred.clear()
                await self._stirred.wait()
            await self._clock.sleep(TICK)
            self._expire(self._clock.monotonic())

    def _expire(self, now: float) -> None:
        for connection in list(self._open):
            connection.look(now, self._stall_timeout)
        stale = now - self._keep_alive
        for connection in [c for c in self._idle if c.idle_since <= stale]:
            connection.abort()
        if any(deadline <= now for deadline, _ in self._waiters):
            self._turn_away(now)

    def _turn_away(self, now: float) -> None:
        """Those who have waited for a place until their deadline."""
        waiting, self._waiters = self._waiters, deque()
        for deadline, waiter in waiting:
            if waiter.done():
                continue
            if deadline <= now:
                waiter.set_exception(_no_turn())
            else:
                self._waiters.append((deadline, waiter))


def _request(head: bytes, body: bytes | None) -> bytes | tuple[bytes, bytes]:
    if trace := TRACE_HEADER.get():
        head += trace
    if body is None:
        return head + b"\r\n"
    if len(body) > JOINED:
        return b"%bContent-Length: %d\r\n\r\n" % (head, len(body)), body
    return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def _crowded() -> BackendError:
    return shortage("no descriptors but the reserve are left")


def _no_turn() -> BackendError:
    return BackendError(
        FailureClass.OVERLOADED,
        "Every connection to the backend stayed in use until the call's deadline.",
    )
