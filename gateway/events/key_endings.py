"""Tells some days before a key ends that it will: in the log, and to webhooks that take keys.

What is told is in the ledger's store before it is told, so it is told once, whichever gateway finds
it, and after which restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from gateway.clock import Clock
from gateway.events.bodies import key_message
from gateway.money.text import iso
from gateway.policy.model import Policy
from gateway.storage.base import StorageUnavailable
from gateway.storage.key_records import KeyRecord
from gateway.storage.key_store import KeyStore
from gateway.storage.outbox import Outbox, ToldOnce
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_LOOK_EVERY_S = 60.0
_DAY_S = 86_400.0


class KeyEndings:
    """Of one gateway. ``policy``: the one in force."""

    def __init__(
        self, *, keys: KeyStore, outbox: Outbox, policy: Callable[[], Policy], clock: Clock
    ) -> None:
        self._keys = keys
        self._outbox = outbox
        self._policy = policy
        self._clock = clock
        self._told: set[ToldOnce] = set()
        """What the store knows; it need not be asked again."""
        self._failing = False

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Tells what is new. What a store does not say is asked again at the next look."""
        notices = self._policy().keys.notice
        if not notices:
            return
        now_at = self._clock.time()
        try:
            records = await asyncio.to_thread(self._keys.ending, now_at + max(notices))
            known = {record.principal.key_id: due(record, notices, now_at) for record in records}
            for record in records:
                fact = known[record.principal.key_id]
                if fact is not None and fact not in self._told:
                    await self._tell(fact, record, now_at)
            self._told.intersection_update(fact for fact in known.values() if fact is not None)
        except StorageUnavailable as unavailable:
            if not self._failing:
                log.error("%s; keys that end are told when it is back", unavailable)
            self._failing = True
        else:
            self._failing = False

    async def _tell(self, fact: ToldOnce, record: KeyRecord, now_at: float) -> None:
        messages = [
            key_message(name, fact, record, now_at)
            for name, endpoint in self._policy().webhooks.endpoints.items()
            if "keys" in endpoint.events
        ]
        if await self._outbox.tell(fact, messages):
            ends_at = fact.ends_at / MICRO
            log.warning(
                "the key %s of %s ends in %.1f days, at %s: whoever needs it needs another",
                record.principal.key_id,
                record.principal.user,
                (ends_at - now_at) / _DAY_S,
                iso(ends_at, "seconds"),
            )
        self._told.add(fact)


def due(record: KeyRecord, notices: Iterable[float], now_at: float) -> ToldOnce | None:
    """What is to be told of a key at ``now_at``, if anything: the last notice that has come, of
    those for which it has lived long enough. Who makes a key for an hour knows that it ends. Pure;
    instants are seconds since the epoch, notices seconds before the end."""
    ends_at = record.expires_at
    if ends_at is None or ends_at <= now_at:
        return None
    come = [one for one in notices if record.created_at < ends_at - one <= now_at]
    if not come:
        return None
    return ToldOnce(
        scope=f"key:{record.principal.key_id}",
        unit="key",
        window="",
        ends_at=round(ends_at * MICRO),
        limit=0,
        step=str(round(min(come))),
    )
