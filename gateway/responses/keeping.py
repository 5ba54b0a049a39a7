"""Keeps responses for those who go on from them, within the policy's time and size."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.policy.sections.store import ResponseSettings
from gateway.responses.conversation import Items, output_of
from gateway.storage.base import StorageUnavailable
from gateway.storage.responses.base import KeptResponse, ResponseStore

log = logging.getLogger("spillgate")

_PRUNE_EVERY_S = 60.0
_PRUNED_AT_ONCE = 100


class KeptResponses:
    """Of one process."""

    def __init__(self, store: ResponseStore, settings: ResponseSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def keep(self, owner: str, answer: dict[str, Any], before: Items) -> bool:
        """Whether it is kept: one that is too large is not, nor one while the store is away, for
        the answer is worth more than that one can go on from it."""
        kept = KeptResponse(
            id=answer["id"],
            owner=owner,
            answer=msgspec.json.encode(answer).decode(),
            items=msgspec.json.encode([*before, *output_of(answer)]).decode(),
        )
        if kept.size > self._settings.largest:
            return False
        try:
            await self._store.keep(kept, self._settings.keep, self._settings.per_key)
        except StorageUnavailable as unavailable:
            log.error("response %s is not kept: %s", kept.id, unavailable)
            return False
        return True

    async def find(self, owner: str, id: str) -> KeptResponse | None:
        """Raises StorageUnavailable."""
        return await self._store.find(owner, id)

    async def delete(self, owner: str, id: str) -> bool:
        """Raises StorageUnavailable."""
        return await self._store.delete(owner, id)

    async def is_not_for(self, owner: str, id: str) -> bool:
        """Whether it is another's, or was deleted. Raises StorageUnavailable."""
        return await self._store.is_not_for(owner, id)

    async def run(self) -> None:
        """Drops what is old, for ever."""
        while True:
            pruned = 0
            with contextlib.suppress(StorageUnavailable):  # there is time
                pruned = await self._store.prune(_PRUNED_AT_ONCE)
            await self._clock.sleep(0.1 if pruned >= _PRUNED_AT_ONCE else _PRUNE_EVERY_S)

    async def aclose(self) -> None:
        await self._store.aclose()
