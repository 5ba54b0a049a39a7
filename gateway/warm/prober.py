"""Asks each backend now and then how it is, so that readiness is known before a call needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock

_WARM_EVERY_S = 15.0
_COLD_EVERY_S = 1.0
"""A backend that was never ready is asked often: somebody waits for it at the start."""


class Prober:
    def __init__(self, *, current: Callable[[], ActivePolicy], clock: Clock) -> None:
        self._current = current
        self._clock = clock
        self._next: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await self.tick()
            await self._clock.sleep(0.5)

    async def tick(self) -> None:
        """Probes all that are due, at once."""
        now = self._clock.monotonic()
        standings = self._current().backends.values()
        due = [standing for standing in standings if self._next.get(standing.name, 0.0) <= now]
        await asyncio.gather(*(self._probe(standing) for standing in due))

    async def _probe(self, standing: LiveBackend) -> None:
        probe = await standing.adapter.probe()
        standing.probed(probe)
        pause = _WARM_EVERY_S if probe.ready or standing.cold is not None else _COLD_EVERY_S
        self._next[standing.name] = self._clock.monotonic() + pause
