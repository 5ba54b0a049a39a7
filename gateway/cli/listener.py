"""The listener's connections, while there are descriptors for them and when there are few left.

When only the reserve is left, connections on which no call runs are closed, the longest idle
first. Where there are none, a call on a new connection is refused with 503, and /healthz,
/metrics and the like are still answered.

A call needs a second descriptor, for its backend. Of connections that come all at once, only as
many are promised one as there would be: a call on any other is refused while the calls that run
need what is left.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.shortage import TOO_MANY, last_for_calls, reserve_of
from gateway.api.middleware import PUBLIC
from local_runtime.descriptors import limit
from local_runtime.http.errors import Refusal
from local_runtime.http.head import refusal_answer
from local_runtime.http.protocol import HttpProtocol

log = logging.getLogger("spillgate")

CLOSED_AT_ONCE = 32
"""Idle connections that make room together: to find them takes a look at all."""
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
        self.own = 0
        """Descriptors of the gateway itself: what was open when the first connection came."""
        self.refused = 0
        """Connections that were told 503."""
        self.closed_idle = 0

    def make_room(self, connections: set[ListenerProtocol], but: ListenerProtocol) -> bool:
        """Closes idle connections; False where there are none."""
        idle = [one for one in connections if one is not but and one.is_idle()]
        found = heapq.nsmallest(CLOSED_AT_ONCE, idle, key=ListenerProtocol.idle_since)
        for connection in found:
            connection.transport.close()
        self.closed_idle += len(found)
        return bool(found)


class ListenerProtocol(HttpProtocol):
    """One connection of the gateway."""

    crowd: Crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The caller is there; whether it may call depends on who else is."""
        super().connection_made(transport)
        descriptor = transport.get_extra_info("socket").fileno()
        crowd = self.crowd
        crowd.own = crowd.own or descriptor
        connections = self.state.connections
        if descriptor < crowd.comfortable or crowd.make_room(connections, self):
            if crowd.own + 2 * len(connections) >= crowd.comfortable:
                self._app = _Refusing(self._app, self._is_one_too_many)
            return
        if descriptor < crowd.last_for_calls:
            self._app = _Refusing(self._app, self._turn_away)
        else:
            self._turn_away()
            self.transport.write(refusal_answer(OVERLOADED))
            self.transport.close()

    def _turn_away(self) -> bool:
        crowd = self.crowd
        log.warning("of %d descriptors only the reserve is left: calls are refused", crowd.limit)
        crowd.refused += 1
        return True

    def _is_one_too_many(self) -> bool:
        """Whether the calls that run could not each have a descriptor more beside this one."""
        crowd, connections = self.crowd, self.state.connections
        calls = sum(one.is_answering() for one in connections)
        if crowd.own + len(connections) + calls < crowd.last_for_calls:
            return False
        return self._turn_away()

    def is_idle(self) -> bool:
        """No call is under way on it, nor has one begun to arrive."""
        return not self._in_head and not self.is_answering() and not self._unread


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
