"""Open rows of gateways that are gone."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.storage.base import Ledger, LedgerRow

log = logging.getLogger("spillgate")


class AbandonedRows:
    """They are this gateway's to settle."""

    def __init__(self, ledger: Ledger, interrupt: Callable[[LedgerRow], Awaitable[None]]) -> None:
        """``interrupt`` settles one, or raises ValueError for one that is nonsense."""
        self._ledger = ledger
        self._interrupt = interrupt
        self._hopeless: set[str] = set()
        """Those that no settlement can end."""
        self.told: Callable[[Sequence[LedgerRow]], Awaitable[None]] = _told
        """Is told of rows that were settled, as they were."""

    async def settle(self) -> int:
        """All of them; how many were settled. Raises StorageUnavailable."""
        settled: list[LedgerRow] = []
        for row in await self._ledger.take_abandoned():
            if row.id in self._hopeless:
                continue
            try:
                await self._interrupt(row)
                settled.append(row)
            except ValueError as error:  # one bad row must not keep the gateway from starting
                log.error("ledger: the open row %s stays open: %s", row.id, error)
                self._hopeless.add(row.id)
        if settled:
            await self.told(settled)
        return len(settled)


async def _told(rows: Sequence[LedgerRow]) -> None:
    """Nobody wants to know."""
