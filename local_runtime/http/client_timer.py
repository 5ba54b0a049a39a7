"""How long one connection's client may let it wait, by one timer that lives as long as it does.

A timer that was cancelled with each request would be made anew for the next: this one only looks,
when it is due, whether anything is. A request that comes in one piece costs it nothing.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from local_runtime.http.client_limits import ClientLimits
from local_runtime.http.cut_answers import reset_at_close
from local_runtime.http.flow_control import FlowControl

_PROBE_FIRST_S, _PROBE_LAST_S = 0.05, 5.0


class Awaited(Protocol):
    """What is asked of the connection."""

    transport: asyncio.Transport
    flow: FlowControl
    is_known: bool
    is_half_closed: bool

    def is_answering(self) -> bool:
        """There is a request that has not had its whole answer."""
        ...

    def is_in_head(self) -> bool:
        """The head of a request has begun."""
        ...

    def is_owed_body(self) -> bool:
        """The client is to send the rest of a body."""
        ...

    def give_up_reading(self) -> None:
        """What has begun to come does not end."""
        ...

    def close_idle(self) -> None:
        """Nothing comes."""
        ...

    def hear_end(self) -> None:
        """Finds out whether a client that is not read sends no more."""
        ...

    def probe(self) -> None:
        """Finds out whether a client that sends no more still reads."""
        ...


class ClientTimer:
    """The clock of one connection."""

    __slots__ = (
        "_bytes",
        "_connection",
        "_limits",
        "_loop",
        "_not_read_before_s",
        "_probe_s",
        "_timer",
        "_untaken",
        "part_at",
        "part_since",
        "quiet_since",
        "untaken_since",
    )

    def __init__(
        self, connection: Awaited, limits: ClientLimits, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._loop = loop
        self.quiet_since = loop.time()
        """When the last answer was given, or a head or body was whole."""
        self.part_since: float | None = None
        """Since when a head or a body is there in part."""
        self.part_at = self.quiet_since
        """When something came of it."""
        self._bytes = 0
        """Of that body."""
        self._not_read_before_s = 0.0
        self.untaken_since: float | None = None
        """Since when so many bytes wait for the client to take them."""
        self._untaken = 0
        self._probe_s = _PROBE_FIRST_S
        self._timer: asyncio.TimerHandle | None = None

    # --- from the connection ---------------------------------------------------------------------

    def start(self) -> None:
        """The client is there."""
        self._watch(self.quiet_since)

    def end(self) -> None:
        """The client may take its time from now on."""
        if self._timer is not None:
            self._timer.cancel()

    def gone(self) -> None:
        """The client is gone, and the connection, which would wait for the collector with a timer
        that holds it."""
        self.end()
        del self._connection

    def quiet(self) -> None:
        """An answer is given: the next request may begin."""
        self.quiet_since = self._loop.time()

    def received_part(self, size: int) -> None:
        """So many bytes came, and a head or a body is not whole."""
        self.part_at = self._loop.time()
        if self.part_since is None:
            self.part_since = self.part_at
            self._bytes = 0
            self._not_read_before_s = self._connection.flow.not_read_s()
        self._bytes += size

    def received_whole(self) -> None:
        """A head, or a body, is whole that came in parts."""
        self.part_since = None
        self.quiet_since = self._loop.time()

    def sent_last(self) -> None:
        """The client sends no more, and waits for an answer, or is gone."""
        self._probe_s = _PROBE_FIRST_S
        self.end()
        self._timer = self._loop.call_later(self._probe_s, self._on_timer)

    def cannot_write(self) -> None:
        """The client does not take what is written."""
        self._measure(self._loop.time())

    def can_write(self) -> None:
        """It took it."""
        self.untaken_since = None

    # --- the timer -------------------------------------------------------------------------------

    def _watch(self, now: float, due: float = float("inf")) -> None:
        latest = now + self._limits.look_every_s
        self._timer = self._loop.call_at(min(due, latest), self._on_timer)

    def _on_timer(self) -> None:
        now, connection = self._loop.time(), self._connection
        if self.is_stalled(now, self._limits.write_s):
            reset_at_close(connection.transport, True)
            connection.transport.abort()
        elif connection.transport.is_closing():
            self._watch(now)
        elif connection.is_half_closed:
            self._probe(now)
        elif self.part_since is not None:
            self._look_at_part(now, self.part_since)
            connection.hear_end()
        elif connection.is_answering():
            self._watch(now)
            connection.hear_end()
        else:
            self._look_at_idle(now)

    def _look_at_idle(self, now: float) -> None:
        limits = self._limits
        idle_s = limits.idle_s if self._connection.is_known else limits.first_head_s
        due = self.quiet_since + idle_s
        if due <= now:
            self._connection.close_idle()
        self._watch(now, due if due > now else float("inf"))

    def _look_at_part(self, now: float, since: float) -> None:
        connection, limits = self._connection, self._limits
        if connection.is_in_head():
            if connection.is_answering():  # the next request has its time once it has its turn
                self.part_since = since = now
            due = since + limits.head_s
        elif not connection.is_answering():  # it has its answer, and nobody wants the rest
            due = max(since, self.quiet_since) + limits.body_s
        elif connection.is_owed_body():
            not_read_s = connection.flow.not_read_s() - self._not_read_before_s
            due = since + limits.body_s + self._bytes / limits.rate + not_read_s
        else:  # it waits for leave to send it
            self.part_since = now
            due = now + limits.body_s
        if due <= now:
            connection.give_up_reading()
        self._watch(now, due if due > now else float("inf"))

    def _probe(self, now: float) -> None:
        if self._connection.is_answering():
            self._connection.probe()
        self._probe_s = min(2 * self._probe_s, _PROBE_LAST_S)
        self._watch(now, now + self._probe_s)

    # --- what the client has to take -------------------------------------------------------------

    def _measure(self, now: float) -> None:
        self.untaken_since = now
        self._untaken = self._connection.transport.get_write_buffer_size()

    def is_stalled(self, now: float, within_s: float) -> bool:
        """Whether the client has had so long and taken next to nothing. Only a buffer that
        nobody adds to says so."""
        connection, limits = self._connection, self._limits
        transport = connection.transport
        fills = connection.is_answering() and not connection.flow.write_paused
        if fills and not transport.is_closing():
            self.untaken_since = None
            return False
        if self.untaken_since is None:
            if transport.is_closing() or transport.get_write_buffer_size():
                self._measure(now)
            return False
        if now < self.untaken_since + within_s:
            return False
        left = transport.get_write_buffer_size()
        took_enough = self._untaken - left >= within_s * limits.rate
        if took_enough or not (left or transport.is_closing()):
            self.untaken_since = None
            return False
        return True
