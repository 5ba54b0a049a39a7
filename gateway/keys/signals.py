"""What a signal made the gateway do is in the audit log, like what an administrator did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from gateway.clock import Clock
from gateway.storage.audit import Act, AuditLog
from gateway.storage.base import StorageUnavailable

log = logging.getLogger("spillgate")

_LONGEST = 300
"""Characters of a reason."""


class SignalledActs:
    """Of one gateway, or of the parent of several processes. ``policy``: the version in force."""

    def __init__(self, keys: AuditLog, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    async def record(self, act: str, signal: str, policy: str, problems: Sequence[str]) -> None:
        """``problems``: why nothing was changed; empty: it was. Who can send a signal could also
        end the gateway, so what cannot be recorded is done all the same, and logged."""
        outcome = f"refused: {problems[0]}" if problems else "done"
        entry = Act(
            at=self._clock.time(),
            actor=f"signal:{signal}",
            act=act,
            details={"policy": policy},
            outcome=outcome[:_LONGEST],
        )
        try:
            await asyncio.to_thread(self._keys.record, entry)
        except StorageUnavailable as unavailable:
            log.error("the audit log lacks that %s is %s: %s", act, outcome, unavailable)
