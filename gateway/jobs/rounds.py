"""The rounds of whoever works on leases: they are renewed, what is old is dropped, and what there
is to do is looked for; at once when somebody says so, and else every second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable

log = logging.getLogger("spillgate")

LEASE_S = 20.0
_RENEW_EVERY_S = 5.0
_LOOK_EVERY_S = 1.0
_PRUNED_AT_ONCE = 500


class LeaseStore(Protocol):
    """A store that lends what is in it. Both raise StorageUnavailable."""

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        """Those that are still this worker's -> whether they are to be canceled."""
        ...

    async def prune(self, forget_s: float, most: int) -> int:
        """Drops what ended so long ago; how many it has looked at."""
        ...


class Leased(Protocol):
    """Work on a lease."""

    def stop(self, cause: Literal["canceled", "handed_over"]) -> None:
        """Breaks it off, or leaves it to others."""
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
        self._name = name
        self._what = what
        self._store = store
        self._runs = runs
        self._work = work
        self._clock = clock
        self._prune_every_s = prune_every_s
        self._forget_s = forget_s
        self._wake = asyncio.Event()
        self._renew_at = 0.0
        self._prune_at = 0.0
        self.is_over = False
        self._failing = ""

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def end(self) -> None:
        """There are no more rounds."""
        self.is_over = True
        self.wake()

    def renew_soon(self) -> None:
        """Somebody may want one of them stopped: the next round asks."""
        self._renew_at = 0.0

    async def run(self) -> None:
        """Until ``end``."""
        while not self.is_over:
            self._wake.clear()
            await self.look()
            timer = self._clock.call_later(_LOOK_EVERY_S, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    async def look(self) -> None:
        """One round. A store that fails is waited for, and that is said once."""
        try:
            await self._renew()
            await self._prune()
            await self._work()
        except StorageUnavailable as unavailable:
            if str(unavailable) != self._failing:
                log.error("%s: %s; they wait for the store", self._what, unavailable)
            self._failing = str(unavailable)
        else:
            self._failing = ""

    async def _renew(self) -> None:
        """Those that are somebody else's now are left; those that are to be canceled are."""
        now = self._clock.monotonic()
        if now < self._renew_at:
            return
        self._renew_at = now + _RENEW_EVERY_S
        asked = dict(self._runs)
        mine = await self._store.renew(self._name, list(asked), LEASE_S)
        for id, run in asked.items():
            if id not in mine:
                run.stop("handed_over")
            elif mine[id]:
                run.stop("canceled")

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            pruned = await self._store.prune(self._forget_s, _PRUNED_AT_ONCE)
            self._prune_at = now + (0.0 if pruned >= _PRUNED_AT_ONCE else self._prune_every_s)
