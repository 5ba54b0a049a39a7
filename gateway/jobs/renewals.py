"""Leases kept while their work goes on, however long what else is asked of the store takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable

log = logging.getLogger("spillgate")

LEASE_S = 20.0
_RENEW_EVERY_S = 5.0
_LOOK_EVERY_S = 1.0
_ANSWERS_WITHIN_S = 7.0
"""Then it is asked anew: twice, before a lease is over that was renewed five seconds ago."""


class RenewsLeases(Protocol):
    """A store that lends what is in it."""

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        """Those that are still this worker's -> whether they are to be canceled. Raises
        StorageUnavailable."""
        ...


class Leased(Protocol):
    """Work on a lease."""

    def stop(self, cause: Literal["canceled", "handed_over"]) -> None:
        """Breaks it off, or leaves it to others."""
        ...


class LeaseRenewals:
    """Of one worker, which is ``name`` in its leases of ``runs``, by their ids.

    ``what``  they are, in the plural, for the log.
    """

    def __init__(
        self,
        *,
        name: str,
        what: str,
        store: RenewsLeases,
        runs: Mapping[str, Leased],
        clock: Clock,
    ) -> None:
        self._name = name
        self._what = what
        self._store = store
        self._runs = runs
        self._clock = clock
        self._due_at = 0.0
        self._wake = asyncio.Event()
        self._is_over = False
        self._failing = ""

    def soon(self) -> None:
        """Somebody may want one of them stopped: it is asked within a second."""
        self._due_at = 0.0

    def end(self) -> None:
        """Nothing is renewed any more."""
        self._is_over = True
        self._wake.set()

    async def run(self) -> None:
        """Until ``end``."""
        while not self._is_over:
            if self._clock.monotonic() >= self._due_at:
                await self._look()
            timer = self._clock.call_later(_LOOK_EVERY_S, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            if not self._is_over:
                self._wake.clear()

    async def _look(self) -> None:
        """A store that fails is asked again within a second, and that is said once."""
        self._due_at = self._clock.monotonic() + _RENEW_EVERY_S
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                await self._renew()
        except (StorageUnavailable, TimeoutError) as error:
            self._due_at = 0.0
            why = str(error) or "the store did not answer in time"
            if why != self._failing:
                log.error("%s: %s; their leases are renewed later", self._what, why)
            self._failing = why
        else:
            self._failing = ""

    async def _renew(self) -> None:
        """Those that are somebody else's now are left; those that are to be canceled are."""
        asked = dict(self._runs)
        if not asked:
            return
        mine = await self._store.renew(self._name, list(asked), LEASE_S)
        for id, run in asked.items():
            if id not in mine:
                run.stop("handed_over")
            elif mine[id]:
                run.stop("canceled")
