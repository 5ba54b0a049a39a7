"""Which instances are this gateway's to look after: those on whose leases it is."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection
from typing import NamedTuple

from gateway.clock import Clock
from gateway.reserve.earlier_file import EarlierFile
from gateway.reserve.rented import FORGET_S, Rented, read_stored, stored
from gateway.reserve.writing import LEASE_S
from gateway.storage.base import StorageUnavailable
from gateway.storage.rented.base import InstanceStore

log = logging.getLogger("spillgate")

_RENEWED_EVERY_S = 15.0
OTHERS_AFTER_S = 600.0
"""So long a gateway whose policy has an instance's reserve goes before one that can stop it alone.
"""


class LeaseNews(NamedTuple):
    """What has changed."""

    lost: set[str]
    """Another gateway has these."""
    taken: list[Rented]
    """Nobody looked after these any more."""


class RentedLeases:
    """Of one process, as one ``holder``."""

    def __init__(
        self,
        store: InstanceStore,
        earlier: EarlierFile | None,
        reserves: Callable[[], Collection[str]],
        clock: Clock,
    ) -> None:
        """``reserves``: those of the policy in force."""
        self.holder = os.urandom(12).hex()
        self._store = store
        self._earlier = earlier
        self._reserves = reserves
        self._clock = clock
        self._due_at = float("-inf")
        self._failing = ""

    async def look(self, ours: Collection[str]) -> LeaseNews | None:
        """Renews what is ``ours`` and takes what nobody has; None: that is not due, or could not be
        done, and is done soon."""
        if self._clock.monotonic() < self._due_at:
            return None
        self._due_at = self._clock.monotonic() + _RENEWED_EVERY_S
        before = set(ours)
        try:
            earlier = await self._take_in()
            held = await self._store.renew(self.holder, LEASE_S)
            found = await self._store.take(self.holder, LEASE_S, self._reserves(), OTHERS_AFTER_S)
            left = [*earlier, *map(read_stored, found)]
            taken = [one for one in left if not await self._is_forgotten(one)]
        except (StorageUnavailable, OSError) as error:
            self._fail(str(error))
            return None
        self._failing = ""
        return LeaseNews(before - held, taken)

    async def _take_in(self) -> list[Rented]:
        """What the file of an earlier version says."""
        if self._earlier is None:
            return []
        found = await asyncio.to_thread(self._earlier.read)
        ours = [one for one in found if await self._store.put(self.holder, stored(one), LEASE_S)]
        await asyncio.to_thread(self._earlier.drop)
        self._earlier = None
        return ours

    async def _is_forgotten(self, one: Rented) -> bool:
        if one.ended is None or one.ended > self._clock.time() - FORGET_S:
            return False
        await self._store.drop(self.holder, one.id)
        return True

    def _fail(self, why: str) -> None:
        if why != self._failing:
            log.error("nothing is rented anew, for nobody knows what runs: %s", why)
        self._failing = why

    async def leave(self) -> None:
        """Others may go on at once."""
        try:
            await self._store.leave(self.holder)
        except StorageUnavailable:
            return  # the leases end
