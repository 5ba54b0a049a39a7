"""The rounds of whoever works on leases: what is old is dropped, and what there is to do is looked
for; at once when somebody says so, and else every second. Leases are renewed beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.clock import Clock
from gateway.jobs.renewals import Leased, LeaseRenewals, RenewsLeases
from gateway.storage.base import StorageUnavailable

log = logging.getLogger("spillgate")

_LOOK_EVERY_S = 1.0
_PRUNED_AT_ONCE = 500


class LeaseStore(RenewsLeases, Protocol):
    """One that forgets what is old as well."""

    async def prune(self, forget_s: float, most: int) -> int:
        """Drops what ended so long ago; how many it has looked at. Raises StorageUnavailable."""
        ...


class LeaseRounds:
    """Of one worker, which is ``name`` in its leases of ``runs``, by their ids.

    ``what``  they are, in the plural, for the log.
    ``work``  finds what there is to do, and begins it. May raise StorageUnavailable.
    """

    def __init__(
        self,
        *,
        name: str,
        what: str,
        store: LeaseStore,
        runs: Mapping[str, Leased],
        work: Callable[[], Awaitable[None]],
        clock: Clock,
        prune_every_s: float,
        forget_s: float,
    ) -> None:
        self._what = what
        self._store = store
        self._work = work
        self._clock = clock
        self._prune_every_s = prune_every_s
        self._forget_s = forget_s
        self._wake = asyncio.Event()
        self._prune_at = 0.0
        self.is_over = False
        self._failing = ""
        self._renewals = LeaseRenewals(name=name, what=what, store=store, runs=runs, clock=clock)

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def end(self) -> None:
        """There are no more rounds; what is on its way keeps its leases until ``close``."""
        self.is_over = True
        self.wake()

    def close(self) -> None:
        """Nothing is on its way any more."""
        self.end()
        self._renewals.end()

    def renew_soon(self) -> None:
        """Somebody may want one of them stopped: it is asked within a second."""
        self._renewals.soon()

    async def run(self) -> None:
        """Until ``close``."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._renewals.run())
            both.create_task(self._go_round())

    async def _go_round(self) -> None:
        while not self.is_over:
            self._wake.clear()
            await self.look()
            timer = self._clock.call_later(_LOOK_EVERY_S, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    async def look(self) -> None:
        """One round. A store that fails is waited for, and that is said once."""
        try:
            await self._prune()
            await self._work()
        except StorageUnavailable as unavailable:
            if str(unavailable) != self._failing:
                log.error("%s: %s; they wait for the store", self._what, unavailable)
            self._failing = str(unavailable)
        else:
            self._failing = ""

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            pruned = await self._store.prune(self._forget_s, _PRUNED_AT_ONCE)
            self._prune_at = now + (0.0 if pruned >= _PRUNED_AT_ONCE else self._prune_every_s)
