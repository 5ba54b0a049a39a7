"""What waits is rolled up, and four weeks that are over are summed up, while a gateway runs: beside
the writer, a batch at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from gateway.clock import Clock
from gateway.storage.base import StorageUnavailable
from gateway.storage.postgres.connections import Connection
from gateway.storage.postgres.rollups import roll_up, sum_up_four_weeks

Apart = Callable[[Callable[[Connection], Awaitable[Any]]], Awaitable[Any]]
"""Does something on a connection that is made for it. Raises StorageUnavailable."""

_EVERY_S = 15.0
_WORTH_ROLLING_UP = 10_000
"""Rows. Together they cost the less, and each report reads those that wait."""
_LONGEST_UNROLLED_S = 60.0
"""Then fewer are rolled up too."""
_BETWEEN_BATCHES_S = 0.1
_FOUR_WEEKS_EVERY_S = 60.0
"""How often four weeks that are over are looked for, to be summed once more."""


class RollingUp:
    """Of one gateway; at one database, one at a time does it."""

    def __init__(self, apart: Apart, clock: Clock) -> None:
        self._apart = apart
        self._clock = clock
        self._rolled_up_at = clock.monotonic()
        self._four_weeks_at = self._rolled_up_at

    async def run(self) -> None:
        """For ever."""
        while True:
            rows = 0
            with contextlib.suppress(StorageUnavailable):
                rows = await self._step()
            await self._clock.sleep(_BETWEEN_BATCHES_S if rows else _EVERY_S)

    async def _step(self) -> int:
        now = self._clock.monotonic()
        long_ago = now - self._rolled_up_at >= _LONGEST_UNROLLED_S
        rows: int = await self._apart(partial(roll_up, least=1 if long_ago else _WORTH_ROLLING_UP))
        if rows:
            self._rolled_up_at = now
        elif now - self._four_weeks_at >= _FOUR_WEEKS_EVERY_S:
            self._four_weeks_at = now
            await self.sum_up_four_weeks()
        return rows

    async def roll_up(self) -> int:
        """One batch; how many rows that were. Raises StorageUnavailable."""
        rows: int = await self._apart(roll_up)
        return rows

    async def sum_up_four_weeks(self) -> bool:
        """The newest that are over; whether there were any. Raises StorageUnavailable."""
        found: bool = await self._apart(partial(sum_up_four_weeks, now=self._clock.time()))
        return found
