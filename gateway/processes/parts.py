"""What one process has of what all have together: its part of bounds, of calls, and the lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gateway.backends.shared_bound import SharedBound
from gateway.backends.use_in_all import UseInAll
from gateway.clock import Clock
from gateway.processes.leaders import LeaseHolder
from gateway.processes.messages import (
    GivesBack,
    Granted,
    Kept,
    Leads,
    Recalled,
    TailsBooked,
    ToParent,
    UsedByOthers,
    Uses,
    Wants,
)


class PartsOfAll:
    """Of one process, which tells the parent by ``say``; ``hears`` is for the parent's answers, by
    their kinds."""

    def __init__(
        self, say: Callable[[ToParent], None], of: int, machine: str, clock: Clock
    ) -> None:
        """``of``: how many processes serve; ``machine``: a name of all of them."""
        self._say = say
        self._of = of
        self._clock = clock
        self._bounds: dict[tuple[str, int], SharedBound] = {}
        self._uses: dict[str, UseInAll] = {}
        self.lease = LeaseHolder(machine, say, clock)
        self.hears: dict[type, Callable[[Any], None]] = {
            Granted: self._grant,
            Recalled: self._recall,
            Leads: self.lease.hear,
            TailsBooked: self.lease.hear_of_tails,
            Kept: self.lease.hear_of_kept,
            UsedByOthers: self._hear_of_use,
        }

    def bound(self, backend: str, calls: int) -> SharedBound:
        """This process's part of a bound on the calls at a backend; the same one again for a
        backend that a reload has made anew with the same bound."""
        bound = self._bounds.get((backend, calls))
        if bound is None:
            bound = self._bounds[backend, calls] = SharedBound(
                fair=max(1, calls // self._of),
                want=lambda wanted: self._say(Wants(backend, calls, wanted)),
                give=lambda count: self._say(GivesBack(backend, calls, count)),
            )
        return bound

    def use(self, backend: str) -> UseInAll:
        """The calls of all processes at a backend."""
        use = self._uses.get(backend)
        if use is None:
            use = self._uses[backend] = UseInAll(
                tell=lambda own: self._say(Uses(backend, own)), soon=_soon, clock=self._clock
            )
        return use

    def _grant(self, granted: Granted) -> None:
        bound = self._bounds[granted.backend, granted.bound]
        bound.grant(granted.more, pressed=granted.pressed)

    def _recall(self, recalled: Recalled) -> None:
        self._bounds[recalled.backend, recalled.bound].recall(recalled.left)

    def _hear_of_use(self, used: UsedByOthers) -> None:
        self.use(used.backend).hear(used.use, first=used.first)


def _soon(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(work)
