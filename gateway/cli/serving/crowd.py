"""The connections of one listener together: how many there may be, and who makes way for whom."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from adapters.shortage import has_room, lowest_free, reserve_of
from gateway.cli.serving.shares import FRESH_S, AtRest, first_to_go, may_have
from local_runtime.descriptors import limit

log = logging.getLogger("spillgate")

CLOSED_AT_ONCE = 32
"""So many make way together, or an eighth of those that rest: to find them takes a look at all."""
_MOST_LEAVING = 128
"""Who is told to leave after these cuts short the time of the first."""
_TIME_TO_READ_S = 0.25
"""For a client to read that it has to make way, where others wait for its place."""
_ON_ITS_WAY_S = 0.1
"""An answer may be no longer than this: TLS takes what is written a moment later, then its end, and
a client whose connection is cut meanwhile loses both."""
_SELDOM = 20
"""A count takes at most one part in so many of the time."""
_WARNS_EVERY_S = 1.0
_OF_A_CALL = 2
"""Descriptors: one on either side."""


class HeldConnection(Protocol):
    """One connection."""

    transport: asyncio.Transport
    is_known: bool
    asks_who: bool

    def holder(self) -> str:
        """The id of the key that was shown last, else the address."""
        ...

    def is_answering(self) -> bool:
        """There is a request that has not had its whole answer."""
        ...

    def rests_since(self, now: float) -> float | None:
        """Since when nothing is done on it for anybody; None where something is."""
        ...

    def untaken_since(self, now: float) -> float | None:
        """Since when its client takes nothing of what waits for it."""
        ...

    def is_gone(self) -> bool:
        """It holds no descriptor any more."""
        ...

    def make_way(self) -> None:
        """Ends it, with a word where its client can read one, for which it has a moment."""
        ...

    def give_up(self) -> None:
        """Ends it at once."""
        ...


class Headcount:
    """Who holds what, at one instant."""

    def __init__(
        self,
        connections: Iterable[HeldConnection],
        leaving: dict[asyncio.Transport, float],
        now: float,
    ) -> None:
        self.total = 0
        """Descriptors, with those of the backends that the calls may ask."""
        self.busy: Counter[str] = Counter()
        """By holder, without what rests."""
        self.resting: list[AtRest[HeldConnection]] = []
        self.untaken: list[AtRest[HeldConnection]] = []
        for one in connections:
            if one.is_gone():
                continue
            held = _OF_A_CALL if one.is_answering() else 1
            self.total += held
            if one.transport in leaving:
                continue
            if (since := one.rests_since(now)) is not None:
                self.resting.append(AtRest(one, one.holder(), one.is_known, since))
            elif (since := one.untaken_since(now)) is not None:
                self.untaken.append(AtRest(one, one.holder(), one.is_known, since))
            elif one.is_answering():
                self.busy[one.holder()] += held

    def take(self, connection: HeldConnection, descriptors: int) -> None:
        """So many more, for a call that was not there yet; or less, of one that is not taken."""
        self.busy[connection.holder()] += descriptors
        self.total += descriptors


class Crowd:
    """What the connections share."""

    def __init__(self) -> None:
        self.limit = limit()
        reserve = reserve_of(self.limit)
        self.last_for_calls = self.limit - reserve
        """Up to here calls and their connections to backends are promised room."""
        self.roomy = 3 * self.last_for_calls // 4
        """Below it nobody can have more than his share."""
        self.last_for_heads = self.limit - 3 * reserve // 4
        """From here on no connection is taken before another is gone: a backend's is, up to half of
        the reserve, whatever rests meanwhile."""
        self.most_coming = 3 * self.last_for_calls // 4
        """Connections that agree on TLS."""
        self.own = 0
        """Descriptors of the gateway itself: what was open when the first connection came."""
        self.came = 0
        """Connections so far."""
        self.refused = 0
        """Connections that were told 503."""
        self.is_crowded = False
        """Each call is asked whether there is room for it."""
        self.leaving: dict[asyncio.Transport, float] = {}
        """Since when, by the loop's clock: connections that were told 503, and end when their
        clients have read it. The oldest come first."""
        self._count: Headcount | None = None
        self._count_until = 0.0
        self._warned = float("-inf")

    # --- who comes -------------------------------------------------------------------------------

    def take(self, descriptor: int, connections: set[HeldConnection]) -> int:
        """One more has come, with this descriptor; its number."""
        self.own = self.own or descriptor
        self.came += 1
        if not self.is_crowded and self._is_close(descriptor, connections):
            self.is_crowded = True
            for each in connections:
                each.asks_who = True
        return self.came

    def leaves(self, transport: asyncio.Transport, now: float) -> None:
        """One more was told to."""
        self.refused += 1
        while len(self.leaving) >= _MOST_LEAVING:
            self._cut_leaving()
        self.leaving[transport] = now

    def _is_close(self, descriptor: int, connections: set[HeldConnection]) -> bool:
        return max(descriptor, self.own + _OF_A_CALL * len(connections)) >= self.roomy

    # --- who may stay ----------------------------------------------------------------------------

    def admits(
        self, connection: HeldConnection, connections: set[HeldConnection], now: float
    ) -> bool:
        """Whether a call may begin, for which others may have to make way."""
        if not self._is_close(lowest_free(), connections):
            self.is_crowded = False
            return True
        count = self._counted(connections, now, connection)
        others = max(self.own, lowest_free() - count.total)
        if not may_have(count.busy, connection.holder(), self.last_for_calls - others):
            count.take(connection, -_OF_A_CALL)
            self._refuse(now)
            return False
        if others + count.total > self.last_for_calls:
            old = [one for one in count.resting if one.is_known or now - one.since >= FRESH_S]
            self._close(count, old, _OF_A_CALL, now)
        return True

    def _counted(
        self, connections: set[HeldConnection], now: float, connection: HeldConnection
    ) -> Headcount:
        """With this call; not older than may be."""
        if self._count is None or now >= self._count_until:
            began = time.thread_time()
            self._count = Headcount(connections, self.leaving, now)
            self._count_until = now + _SELDOM * (time.thread_time() - began)
        else:
            self._count.take(connection, _OF_A_CALL)
        return self._count

    def _refuse(self, now: float) -> None:
        self.refused += 1
        if now >= self._warned + _WARNS_EVERY_S:
            self._warned = now
            log.warning("of %d descriptors few are left: calls are refused", self.limit)

    # --- who makes way ---------------------------------------------------------------------------

    def is_left(self, coming: int) -> bool:
        """Whether a descriptor is left beside those for what is no connection, and for those that
        agree on TLS, ``coming``, which have a share of their own. The number of the last that was
        taken does not say it: it may have been let go below many in use."""
        return coming <= self.most_coming and has_room(self.last_for_heads)

    def make_room(self, connections: set[HeldConnection], now: float) -> None:
        """For those that wait to be taken."""
        if self.leaving:
            while self._told_long_ago(now):
                self._cut_leaving()
            return
        count = Headcount(connections, self.leaving, now)
        most = max(CLOSED_AT_ONCE, len(count.resting) // 8)
        self._close(count, count.resting, most, now)

    def _close(
        self, count: Headcount, resting: list[AtRest[HeldConnection]], most: int, now: float
    ) -> None:
        """What rests, else what is not taken. A call, which finds a part of the reserve, asks none
        to go who has just come and may be about to ask too."""
        found = first_to_go(resting, most, now)
        if found:
            gone = {id(one) for one in found}
            count.resting = [one for one in count.resting if id(one) not in gone]
            for one in found:
                if one.connection.rests_since(now) is not None:
                    one.connection.make_way()
        else:
            ripe = [one for one in count.untaken if now - one.since >= _ON_ITS_WAY_S]
            found = first_to_go(ripe, most, now)
            gone = {id(one) for one in found}
            count.untaken = [one for one in count.untaken if id(one) not in gone]
            for one in found:
                one.connection.give_up()
        count.total -= len(found)

    def _told_long_ago(self, now: float) -> bool:
        return bool(self.leaving) and next(iter(self.leaving.values())) <= now - _TIME_TO_READ_S

    def _cut_leaving(self) -> None:
        oldest = next(iter(self.leaving))
        del self.leaving[oldest]
        oldest.abort()
