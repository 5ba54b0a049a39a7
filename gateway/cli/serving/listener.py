"""The listener's connections, while there are descriptors for them and when there are few left.

When only the reserve is left, connections on which no call runs are closed, the longest idle
first. Where there are none, a call on a new connection is refused with 503, and /healthz,
/metrics and the like are still answered: every request's head is read. Connections whose heads
have not come are the first to go when those that are to be refused come quicker than they leave.

A call needs a second descriptor, for its backend. Of connections that come all at once, only as
many are promised one as there would be: a call on any other is refused while the calls that run
need what is left.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.shortage import TOO_MANY, has_room, last_for_calls, reserve_of
from gateway.api.middleware import PUBLIC
from local_runtime.descriptors import limit
from local_runtime.http.accepting import Headroom
from local_runtime.http.errors import Refusal
from local_runtime.http.head import refusal_answer
from local_runtime.http.protocol import HttpProtocol
from local_runtime.http.strangers import Strangers

log = logging.getLogger("spillgate")

CLOSED_AT_ONCE = 32
"""Idle connections that make room together: to find them takes a look at all."""
HEADLESS_AT_ONCE = 16
_LEAVES_WITHIN_S = 2.0
"""For a client to read that it has to make way."""
_MOST_LEAVING = 128
"""Who is told to leave after these cuts short the time of the first."""
_LEAVES_IN_A_CROWD_S = 0.25
"""The same where others wait to be taken."""
NEWEST = 4
"""So many of those that came last have had no time to ask, and are not taken for idle."""
OVERLOADED = Refusal(
    503,
    "overloaded",
    TOO_MANY,
    headers={"Retry-After": "1", "connection": "close"},
)


class Crowd:
    """What the listener's connections share: how many there may be, and who had to go."""

    def __init__(self) -> None:
        self.limit = limit()
        self.last_for_calls = last_for_calls()
        self.comfortable = self.limit - reserve_of(self.limit)
        self.last_for_heads = self.limit - reserve_of(self.limit) // 4
        """From here on no connection is taken before another is gone."""
        self.own = 0
        """Descriptors of the gateway itself: what was open when the first connection came."""
        self.came = 0
        """Connections so far."""
        self.refused = 0
        """Connections that were told 503."""
        self.closed_idle = 0
        self.leaving: dict[asyncio.Transport, float] = {}
        """Since when, by the loop's clock: connections that were told 503, and end when their
        clients have read it. The oldest come first."""

    def close_idle(
        self, connections: Iterable[ListenerProtocol], at_once: int = CLOSED_AT_ONCE
    ) -> bool:
        """Closes idle ones; False where there are none."""
        idle = [one for one in connections if one.is_idle()]
        found = heapq.nsmallest(at_once, idle, key=ListenerProtocol.idle_since)
        for connection in found:
            connection.make_way()
        self.closed_idle += len(found)
        return bool(found)


class Spared(Headroom):
    """The descriptors below those that are kept for what is no connection."""

    def __init__(
        self,
        crowd: Crowd,
        connections: set[ListenerProtocol],
        new: Strangers,
        is_others_turn: Callable[[int], bool] | None = None,
    ) -> None:
        self._crowd = crowd
        self._connections = connections
        self._new = new
        self._is_others_turn = is_others_turn

    def is_left(self) -> bool:
        """Whether a descriptor is left beside those for what is no connection. The number of the
        last that was taken does not say it: it may have been let go below many in use."""
        return has_room(self._crowd.last_for_heads)

    def is_others_turn(self, coming: int) -> bool:
        """Whether another process has fewer."""
        return self._is_others_turn is not None and self._is_others_turn(coming)

    def make(self) -> None:
        """Idle connections go, else those on which no whole head has come."""
        leaving = self._crowd.leaving
        if leaving:
            asked_before = asyncio.get_running_loop().time() - _LEAVES_IN_A_CROWD_S
            for transport in [each for each, since in leaving.items() if since <= asked_before]:
                transport.abort()
            return
        if not self._crowd.close_idle(self._connections):
            for _ in range(HEADLESS_AT_ONCE):
                self._new.close_oldest()


class ListenerProtocol(HttpProtocol):
    """One connection of the gateway."""

    crowd: Crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The caller is there; whether it may call depends on who else is."""
        descriptor = transport.get_extra_info("socket").fileno()
        crowd, connections = self.crowd, self.state.connections
        crowd.own = crowd.own or descriptor
        crowd.came += 1
        self._number = crowd.came
        super().connection_made(transport)
        if max(descriptor, crowd.own + 2 * len(connections)) >= crowd.comfortable:
            self._app = _Refusing(self._app, self._is_one_too_many)

    def make_way(self) -> None:
        """Ends the connection. A client that has had no answer yet may be about to ask, and reads
        why; one that has had some knows that a connection may end between two requests."""
        if self.transport in self.crowd.leaving:
            return
        if not self.transport.is_closing() and (self._in_head or self.reading is None):
            _Leaving(self, self.transport)
            self.transport.write(refusal_answer(OVERLOADED))
            if self.transport.can_write_eof():
                self.transport.write_eof()
        else:
            self.close_idle()

    def _is_one_too_many(self) -> bool:
        """Whether the calls that run could not each have a descriptor more beside this one, and
        nobody is idle who can make way for it."""
        crowd, connections = self.crowd, self.state.connections
        calls = sum(one.is_answering() for one in connections)
        if crowd.own + len(connections) + calls < crowd.last_for_calls:
            return False
        if crowd.close_idle(connections, at_once=2):
            return False
        log.warning("of %d descriptors only the reserve is left: calls are refused", crowd.limit)
        crowd.refused += 1
        return True

    def is_idle(self) -> bool:
        """No call is under way on it, nor has one begun to arrive, nor is it one of the newest,
        nor about to end."""
        if self._in_head or self._unread or self.is_answering() or self.transport.is_closing():
            return False
        if self.transport in self.crowd.leaving:
            return False
        return self.reading is not None or self._number <= self.crowd.came - NEWEST


class _Leaving(asyncio.Protocol):
    """What is left of a connection that makes way: its client has a moment to read why. Were it
    closed at once, whatever the client sends meanwhile would take the word from it (RFC 9112,
    9.6)."""

    def __init__(self, connection: ListenerProtocol, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        crowd = connection.crowd
        crowd.refused += 1
        while len(crowd.leaving) >= _MOST_LEAVING:
            oldest = next(iter(crowd.leaving))
            del crowd.leaving[oldest]
            oldest.abort()
        crowd.leaving[transport] = connection.loop.time()
        transport.set_protocol(self)
        self._end = connection.loop.call_later(_LEAVES_WITHIN_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        """It comes too late."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or had its time."""
        self._end.cancel()
        self._connection.crowd.leaving.pop(self._transport, None)
        self._connection.connection_lost(exc)


def protocol_of(crowd: Crowd) -> type[ListenerProtocol]:
    """The class of a listener's connections."""
    return type("ListenerProtocol", (ListenerProtocol,), {"crowd": crowd})


class _Refusing:
    """Stands before the app on a connection whose calls there may be no descriptors for."""

    def __init__(self, app: ASGIApp, refuses: Callable[[], bool]) -> None:
        self._app = app
        self._refuses = refuses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in PUBLIC or not self._refuses():
            await self._app(scope, receive, send)
            return
        headers = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": _BODY})


_BODY = OVERLOADED.body()
_HEADERS = {
    **OVERLOADED.headers,
    "content-type": "application/json",
    "content-length": str(len(_BODY)),
}
