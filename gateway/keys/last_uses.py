"""When each key was used last: noted in memory, and written together once a minute.

Those of the last minute are lost where a process is killed; one that ends writes them.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable
from gateway.storage.key_store import KeyStore

log = logging.getLogger("spillgate")

EVERY_S = 60.0


class LastUses:
    """Of one gateway process."""

    def __init__(self, keys: KeyStore, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self.noted: dict[str, float] = {}
        """Key id -> seconds since the epoch, of what is not written yet."""

    async def run(self) -> None:
        """Writes them now and then, until it is cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """What cannot be written is kept for the next time."""
        if not self.noted:
            return
        uses = self.noted.copy()
        self.noted.clear()
        try:
            await asyncio.to_thread(self._keys.note_uses, uses)
        except StorageUnavailable as unavailable:
            for key_id, at in uses.items():
                self.noted.setdefault(key_id, at)
            log.warning("when keys were used last is not written: %s", unavailable)
