"""The listener's connections, while there are descriptors for them and when there are few left.

When only the reserve is left, connections on which nothing is done for anybody make way: idle ones,
half heads, bodies that do not come, and then answers that are not taken. Whoever holds more than
his share has no further call taken (503) before others are refused; /healthz, /metrics and the
like are still answered: every request's head is read.

A call needs a second descriptor, for its backend, and each that is taken is promised one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from adapters.shortage import TOO_MANY
from gateway.api.requests.request import NOBODY
from gateway.cli.serving.crowd import Crowd
from gateway.failed_keys import network_of
from gateway.types import ApiError, Principal
from local_runtime.http.accepting import Headroom
from local_runtime.http.errors import Refusal
from local_runtime.http.head import refusal_answer
from local_runtime.http.protocol import HttpProtocol
from local_runtime.http.request_cycle import RequestCycle
from local_runtime.http.upgrades import Upgraded

_LEAVES_WITHIN_S = 2.0
"""For a client to read that it has to make way."""
NEWEST = 4
"""So many of those that came last have had no time to ask, and are not taken for idle."""
_TIME_TO_ASK_S = 0.5
"""Nor is one that came this very moment: it would lose its word, or its answer."""
_BODY_COMES_S = 0.5
"""A body of which nothing has come for so long does not come."""
_ENDS_S = 1.0
"""A client that reads what it was told ends its connection within so long."""
_UNTAKEN_S = 2.0
"""A client that has taken next to nothing for so long does not take what waits for it."""
OVERLOADED = Refusal(
    503,
    "overloaded",
    TOO_MANY,
    headers={"Retry-After": "1"},
)


class Spared(Headroom):
    """The descriptors below those that are kept for what is no connection."""

    def __init__(
        self,
        crowd: Crowd,
        connections: set[Any],
        is_others_turn: Callable[[int], bool] | None = None,
    ) -> None:
        self._crowd = crowd
        self._connections = connections
        self._is_others_turn = is_others_turn

    def is_left(self, coming: int) -> bool:
        """Whether the crowd may grow."""
        return self._crowd.is_left(coming)

    def is_others_turn(self, coming: int) -> bool:
        """Whether another process has fewer."""
        return self._is_others_turn is not None and self._is_others_turn(coming)

    def make(self) -> None:
        """Those who do nothing make way."""
        self._crowd.make_room(self._connections, asyncio.get_running_loop().time())


class ListenerProtocol(HttpProtocol):
    """One connection of the gateway."""

    crowd: Crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The caller is there; whether it may call depends on who else is."""
        super().connection_made(transport)
        descriptor = transport.get_extra_info("socket").fileno()
        self._number = self.crowd.take(descriptor, self.state.connections)

    # --- who holds it ----------------------------------------------------------------------------

    def holder(self) -> str:
        """The key of the last request, else the address."""
        principal = self._principal()
        if principal is not NOBODY:
            return principal.key_id
        return network_of(self._client[0]) if self._client else ""

    def _principal(self) -> Principal:
        cycle = self.answering
        context = cycle.scope.get("context") if isinstance(cycle, RequestCycle) else None
        return NOBODY if context is None else cast("Principal", context.principal)

    def identify(self) -> None:
        """A good key was shown. Raises ApiError 503 where its calls leave too little to others."""
        super().identify()
        crowd = self.crowd
        if not crowd.is_crowded:
            return
        if not crowd.admits(self, self.state.connections, self.loop.time()):
            raise _overloaded(self.answering is None or self.answering.more_body)
        self.asks_who = crowd.is_crowded

    def give_away(self, protocol: Upgraded) -> None:
        """It is held by whom it was."""
        protocol.of = self.holder()
        super().give_away(protocol)

    # --- what is done on it ----------------------------------------------------------------------

    def rests_since(self, now: float) -> float | None:
        """No call is under way on it, or one that its client lets wait, nor is it one of the
        newest, nor does it wait for its client to take what was written."""
        timer = self.client_timer
        if self.lingering is not None:
            return None if self.is_untaken() else self.lingering.since
        if self.is_answering():
            if not self.is_owed_body() or self.answering is not self.reading:
                return None
            stops = self.flow.is_read and not self._is_begun()
            return timer.part_at if stops and now - timer.part_at >= _BODY_COMES_S else None
        if self.transport.get_write_buffer_size():
            return None
        if self.transport.is_closing():  # of TLS both say so
            return timer.quiet_since if now - timer.quiet_since >= _ENDS_S else None
        if self._in_head:
            return timer.part_since
        since = timer.quiet_since
        if self.reading is None and (
            self._number > self.crowd.came - NEWEST or now - since < _TIME_TO_ASK_S
        ):
            return None
        return since

    def _is_begun(self) -> bool:
        return self.answering is not None and self.answering.response_started

    def untaken_since(self, now: float) -> float | None:
        """Since when its client takes nothing of what waits for it. One that has shown no key is
        doubted from the first moment on."""
        timer = self.client_timer
        if timer.is_stalled(now, _UNTAKEN_S) or (not self.is_known and self.is_untaken()):
            return timer.untaken_since
        return None

    def is_gone(self) -> bool:
        """It holds no descriptor any more."""
        if not self.transport.is_closing():
            return False
        peer = self.transport.get_extra_info("socket")
        return peer is None or peer.fileno() < 0

    # --- its end ---------------------------------------------------------------------------------

    def make_way(self) -> None:
        """Ends the connection. A client that has had no answer yet may be about to ask, and reads
        why; one that has had some knows that a connection may end between two requests."""
        if self.transport in self.crowd.leaving:
            return
        if self.lingering is not None:
            self.lingering.cut()
        elif self.transport.is_closing():
            self.transport.abort()
        elif self._in_head or self.reading is None or self.is_answering():
            if self.answering is not None:
                self.answering.disconnect()
            _Leaving(self, self.transport)
            self.transport.write(refusal_answer(OVERLOADED))
            if self.transport.can_write_eof():
                self.transport.write_eof()
        else:
            self.close_idle()

    def stop_watching(self) -> None:
        """Its client may take the time that it was told."""
        self.client_timer.end()


class _Leaving(asyncio.Protocol):
    """What is left of a connection that makes way: its client has a moment to read why. Were it
    closed at once, whatever the client sends meanwhile would take the word from it (RFC 9112,
    9.6)."""

    def __init__(self, connection: ListenerProtocol, transport: asyncio.Transport) -> None:
        self._connection = connection
        self._transport = transport
        now = connection.loop.time()
        connection.crowd.leaves(transport, now)
        connection.stop_watching()
        transport.set_protocol(self)
        self._end = connection.loop.call_at(now + _LEAVES_WITHIN_S, transport.abort)

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


def _overloaded(has_more: bool) -> ApiError:
    """The connection of a request that is whole ends with it. Else it stays, and rests: were it
    closed, the body that is still to come would take the word from its client (RFC 9112, 9.6)."""
    return ApiError(
        OVERLOADED.status,
        OVERLOADED.code,
        OVERLOADED.message,
        type="server_error",
        headers=OVERLOADED.headers if has_more else {**OVERLOADED.headers, "connection": "close"},
    )
