"""Which of several gateways plans: one that holds a lease in the store that they share."""

from __future__ import annotations

import os

from gateway.clock import Clock
from gateway.money.scopes import WARM_POOL
from gateway.storage.base import Admitted, Claim, SharedStore, StorageUnavailable

RENEWED_EVERY_S = 5.0
LASTS_S = 20.0
_SURE_S = LASTS_S / 2
"""For so long after a renewal it is certain that no other gateway has the lease."""
_CLAIM = Claim(WARM_POOL, "concurrent", "", 1, 1)


class Lead:
    """Platforms have one minimum of workers, so one gateway sets it."""

    def __init__(self, shared: SharedStore, clock: Clock) -> None:
        self._shared = shared
        self._clock = clock
        self._id = f"plan_{os.urandom(12).hex()}"
        self._held_since: float | None = None
        """When the lease was taken or renewed last, in monotonic seconds."""
        self._asked = float("-inf")
        self.other_leads = False
        """Another gateway had the lease when it was asked for last."""
        self._took_over = False

    @property
    def leads(self) -> bool:
        """Whether this gateway may tell platforms what to keep."""
        held = self._held_since
        return held is not None and self._clock.monotonic() - held < _SURE_S

    @property
    def is_due(self) -> bool:
        """Whether the store is to be asked by now."""
        return self._clock.monotonic() - self._asked >= RENEWED_EVERY_S

    async def keep(self) -> None:
        """Takes the lease where nobody has it, and renews it, when that is due. While the store
        does not answer it is held no longer than is certain."""
        if not self.is_due:
            return
        now = self._asked = self._clock.monotonic()
        try:
            if self.leads:
                await self._shared.reinstate(self._id, (_CLAIM,), LASTS_S)
                self._held_since = now
            else:
                await self._take(now)
        except StorageUnavailable:
            return

    async def _take(self, now: float) -> None:
        if self._held_since is not None:
            self._held_since = None
            await self._shared.release(self._id)
        self._id = f"plan_{os.urandom(12).hex()}"
        if isinstance(await self._shared.admit(self._id, (_CLAIM,), LASTS_S), Admitted):
            self._held_since = now
            self._took_over = self._took_over or self.other_leads
            self.other_leads = False
        else:
            self.other_leads = True

    def took_over(self) -> bool:
        """Whether it has the lease of another gateway since this was asked last."""
        taken, self._took_over = self._took_over, False
        return taken

    async def give_up(self) -> None:
        """Another gateway may lead at once."""
        if self._held_since is None:
            return
        self._held_since = None
        try:
            await self._shared.release(self._id)
        except StorageUnavailable:
            return
