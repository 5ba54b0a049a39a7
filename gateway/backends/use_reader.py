"""How much backends were used, for prices that depend on it: read from the ledger again and again.

The ledger is shared by every process of a gateway, so all of them see the same use; what was
settled in the last half minute is not in it yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from gateway.backends.live import LiveBackend
from gateway.clock import Clock
from gateway.money.tariffs import WindowUse
from gateway.storage.base import Ledger, StorageUnavailable
from gateway.storage.queries import UsageQuery, UsageRow
from gateway.types import MICRO
from gateway.windows import bounds

log = logging.getLogger("spillgate")

EVERY_S = 30.0


class UseReader:
    """``backends``: those of the policy in force."""

    def __init__(
        self, *, backends: Callable[[], Iterable[LiveBackend]], ledger: Ledger, clock: Clock
    ) -> None:
        self._backends = backends
        self._ledger = ledger
        self._clock = clock

    async def run(self) -> None:
        """For ever. While the ledger does not answer, what was read last counts."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self.read()

    async def read(self) -> None:
        """Once; asks nothing where no price depends on use."""
        wanted: dict[str, list[LiveBackend]] = {}
        for backend in self._backends():
            for window in backend.charged.tariff.windows():
                wanted.setdefault(window, []).append(backend)
        try:
            for window, backends in wanted.items():
                await self._read(window, backends)
        except StorageUnavailable as unavailable:
            log.error("the ledger does not say how much backends were used: %s", unavailable)

    async def _read(self, window: str, backends: list[LiveBackend]) -> None:
        start_us, end_us = bounds(window, round(self._clock.time() * MICRO))
        query = UsageQuery(since=start_us / MICRO, until=end_us / MICRO, group_by=("backend",))
        rows = {row.group["backend"]: row for row in (await self._ledger.usage(query)).rows}
        for backend in backends:
            found = WindowUse(end_us / MICRO, _counts(rows.get(backend.name)))
            tariff = backend.charged.tariff
            tariff.uses = {**tariff.uses, window: found}


def _counts(row: UsageRow | None) -> Mapping[str, int]:
    if row is None:
        return {}
    return {
        "tokens": row.input_tokens + row.output_tokens,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "calls": row.calls,
        "seconds": row.gpu_us // MICRO,
    }
