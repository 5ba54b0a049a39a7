"""Which of the processes leads: a lease that it asks for again and again, and both ends of it.

All processes of a machine have one monotonic clock, so the parent and the leader mean the same
instant by the lease's end. Who does not hear of a longer one in time, because either has hung,
leads no more from then on; and not before that does another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf

from gateway.clock import Clock
from gateway.processes.messages import AsksToLead, Kept, Leads, LeadsNoMore, TailsBooked, ToParent

LEASE_S = 5.0
ASK_EVERY_S = 1.0


class LeaderLease:
    """The parent's end. Pure: time is passed in."""

    def __init__(self) -> None:
        self._leader = 0
        self._until = -inf
        self._is_closed = False

    def ask(self, process: int, now: float) -> float | None:
        """A process would lead; until when it does, or None where it does not."""
        if self._leader != process and (now < self._until or self._is_closed):
            return None
        self._leader, self._until = process, now + LEASE_S
        return self._until

    def end(self, process: int) -> None:
        """A process is gone, or has handed over."""
        if process == self._leader:
            self._leader, self._until = 0, -inf

    def close(self) -> None:
        """All are told to end: who leads does so to its end, and nobody after it."""
        self._is_closed = True


class LeaseHolder:
    """A serving process's end (``Leadership``). The parent is told by ``say``."""

    def __init__(self, machine: str, say: Callable[[ToParent], None], clock: Clock) -> None:
        self.machine = machine
        self.until = -inf
        self._say = say
        self._clock = clock
        self._told = asyncio.Event()
        self._wanted = True
        self._hear_tails: Callable[[str, int], None] = _nothing
        self._hear_kept: Callable[[str, int], None] = _nothing

    async def keep_asking(self) -> None:
        """Until this process is to lead no more."""
        while self._wanted:
            self._say(AsksToLead())
            await self._clock.sleep(ASK_EVERY_S)

    def hear(self, leads: Leads) -> None:
        """The parent's answer."""
        if self._wanted:
            self.until = leads.until
            self._told.set()

    def retire(self) -> None:
        """Another is to lead."""
        self._wanted = False
        self._told.set()

    async def gained(self) -> None:
        """As ``Leadership`` has it."""
        while not self._leads():
            self._told.clear()
            await self._told.wait()

    async def lost(self) -> None:
        """The same."""
        while self._wanted and self._leads():
            self._told.clear()
            timer = self._clock.call_later(self.until - self._clock.monotonic(), self._told.set)
            await self._told.wait()
            timer.cancel()

    def leave(self) -> None:
        """The same."""
        if not self._wanted:
            self._say(LeadsNoMore())
            self.until = -inf

    def tell_of_tails(self, backend: str, number: int) -> None:
        """The same."""
        self._say(TailsBooked(backend, number))

    def tell_of_kept(self, backend: str, workers: int) -> None:
        """The same."""
        self._say(Kept(backend, workers))

    def watch(self, tails: Callable[[str, int], None], kept: Callable[[str, int], None]) -> None:
        """The same."""
        self._hear_tails, self._hear_kept = tails, kept

    def hear_of_tails(self, booked: TailsBooked) -> None:
        """Another process leads, and has booked them."""
        self._hear_tails(booked.backend, booked.number)

    def hear_of_kept(self, kept: Kept) -> None:
        """Another process leads, and has told a platform."""
        self._hear_kept(kept.backend, kept.workers)

    def _leads(self) -> bool:
        return self._clock.monotonic() < self.until


def _nothing(backend: str, number: int) -> None:
    """Nobody watches."""
