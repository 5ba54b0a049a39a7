"""Which of the waiting calls is next: late binding, so that a call takes whatever is free first.
Pure; a few steps a call, by the logarithm of how many wait.

1. Whoever is not late yet goes before those who are: one that is late anyhow must not make the next
   one late as well.
2. Of these the one of the highest priority, and then the user who has had least: each of his calls
   is behind his earlier ones by what they take of a worker, and nobody gains from having waited
   idle. Source: start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996.
3. One that has waited five times as long as it may is passed over no more by later calls of its own
   user, and of others only every second time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from enum import Enum
from math import inf
from typing import Generic, TypeVar

import msgspec

C = TypeVar("C")
"""A call that waits; hashable, and in the line once."""

NORMAL = 1
"""The rank of a call of normal priority; 0 is low."""
HIGHEST = 2
"""That of a call of high priority."""
LINES = -1
"""That of a batch's lines, which are behind all others, late or not, and have no turn of theirs."""
_STARVES_AFTER = 5
_FEW = 64


class Place(msgspec.Struct, frozen=True):
    """What a call's place in line depends on."""

    slo_s: float = 10.0
    """How long it may wait."""
    rank: int = NORMAL
    user: str = ""
    work_s: float = 0.0
    """Seconds of a worker that it should take."""
    patience_s: float = inf
    """Of a batch's line: how long it may wait for others to need no slot."""


class _Standing(Enum):
    IN_TIME = 0
    LATE = 1
    GONE = 2


class _Entry(Generic[C]):
    __slots__ = ("call", "late_at", "number", "place", "since", "standing", "starves_at", "tag")

    def __init__(self, call: C, place: Place, since: float, tag: float, number: int) -> None:
        self.call = call
        self.place = place
        self.since = since
        self.late_at = since + place.slo_s
        self.starves_at = since + _STARVES_AFTER * place.slo_s
        self.tag = tag
        self.number = number
        self.standing = _Standing.IN_TIME

    @property
    def order(self) -> tuple[int, float, float, int]:
        return -self.place.rank, self.tag, self.since, self.number


_Heap = list[tuple[tuple[float, ...], _Entry[C]]]


class Line(Generic[C]):
    """The calls that wait. Instants are seconds of any steady clock, and only grow."""

    __slots__ = (
        "_aging",
        "_entries",
        "_in_time",
        "_late",
        "_number",
        "_starving",
        "_turn",
        "_users",
    )

    def __init__(self, slo_s: float = 10.0) -> None:
        """``slo_s``: of calls that say nothing else of their places."""
        self._entries: dict[C, _Entry[C]] = {}
        self._in_time: _Heap[C] = []
        self._late: _Heap[C] = []
        self._aging: _Heap[C] = []
        self._starving: _Heap[C] = []
        self._number = 0
        self._turn = False
        """Whether one that starves was passed over last."""
        self._users = _Users(Place(slo_s))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, call: object) -> bool:
        return call in self._entries

    def add(self, call: C, now: float, place: Place | None = None) -> None:
        """A call that came at ``now``, or did so before and waited elsewhere."""
        found = self._users.unknown if place is None else place
        number = self._number = self._number + 1
        entry = _Entry(call, found, now, self._users.tag(found), number)
        self._entries[call] = entry
        heapq.heappush(self._in_time, (entry.order, entry))
        heapq.heappush(self._aging, ((entry.late_at, number), entry))
        if found.rank > LINES:
            heapq.heappush(self._starving, ((entry.starves_at, number), entry))

    def take(self, now: float, least: int = LINES) -> C:
        """The next one, which leaves the line; ``least``: of this rank or a higher one. Raises
        IndexError where none such waits."""
        self._age(now)
        first = _head(self._in_time, _Standing.IN_TIME)
        if first is None or first.place.rank == LINES:
            late = _head(self._late, _Standing.LATE)
            if first is None or (late is not None and late.place.rank > LINES):
                first = late
        if first is None or first.place.rank < least:
            raise IndexError("nobody waits")
        oldest = _head(self._starving)
        if oldest is not None and oldest.starves_at < now:
            first = oldest if self._is_turn_of(oldest, first) else first
        self._leave(first)
        self._users.serve(first.tag)
        return first.call

    def remove(self, call: C) -> bool:
        """It waits no more; False for one that did not."""
        entry = self._entries.get(call)
        if entry is None:
            return False
        self._leave(entry)
        return True

    def last(self, count: int) -> list[C]:
        """So many from the end of the line, the very last first; they stay."""
        late_last = heapq.nlargest(
            count, self._entries.values(), key=lambda one: (one.standing.value, one.order)
        )
        return [entry.call for entry in late_last]

    def __iter__(self) -> Iterator[C]:
        """All of them, in no order."""
        return iter(self._entries)

    def before(self, call: C) -> int:
        """How many stand before it, were nobody to come any more. Raises KeyError where it does not
        wait."""
        own = self._entries[call]
        place = own.standing.value, own.order
        return sum((one.standing.value, one.order) < place for one in self._entries.values())

    def oldest(self) -> float | None:
        """Since when the one waits that has waited longest; None where none waits. Exact among
        calls that may wait equally long."""
        entry = _head(self._starving)
        if entry is not None:
            return entry.since
        return min((one.since for one in self._entries.values()), default=None)

    def used(self, user: str, seconds: float) -> None:
        """A call of the user took so many seconds more of a worker than it should, or fewer."""
        self._users.used(user, seconds)

    def _age(self, now: float) -> None:
        aging = self._aging
        while aging and aging[0][0][0] < now:
            _, entry = heapq.heappop(aging)
            if entry.standing is _Standing.IN_TIME:
                entry.standing = _Standing.LATE
                heapq.heappush(self._late, (entry.order, entry))

    def _is_turn_of(self, oldest: _Entry[C], first: _Entry[C]) -> bool:
        own = oldest.place.user == first.place.user and oldest.place.rank >= first.place.rank
        if own:
            return True
        self._turn = not self._turn
        return self._turn

    def _leave(self, entry: _Entry[C]) -> None:
        del self._entries[entry.call]
        entry.standing = _Standing.GONE
        most = 2 * len(self._entries) + _FEW
        for heap in (self._in_time, self._late, self._aging, self._starving):
            if len(heap) > most:
                heap[:] = [one for one in heap if one[1].standing is not _Standing.GONE]
                heapq.heapify(heap)


def _head(heap: _Heap[C], standing: _Standing | None = None) -> _Entry[C] | None:
    """The first that is still there: of this standing, where one is given."""
    while heap:
        found = heap[0][1].standing
        if found is not _Standing.GONE and (standing is None or found is standing):
            return heap[0][1]
        heapq.heappop(heap)
    return None


class _Users:
    """What each user's next call is behind."""

    __slots__ = ("_served", "_until", "unknown")

    def __init__(self, unknown: Place) -> None:
        self.unknown = unknown
        self._served = 0.0
        """The tag of the last call that was taken."""
        self._until: dict[str, float] = {}

    def tag(self, place: Place) -> float:
        user = place.user
        begins = max(self._served, self._until.get(user, 0.0))
        self._until[user] = begins + place.work_s
        if len(self._until) > 2 * _FEW:
            served = self._served
            self._until = {one: until for one, until in self._until.items() if until > served}
        return begins

    def serve(self, tag: float) -> None:
        self._served = max(self._served, tag)

    def used(self, user: str, seconds: float) -> None:
        if user in self._until:
            self._until[user] += seconds
