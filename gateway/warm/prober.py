"""Asks each backend now and then how it is, so that readiness is known before a call needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock

_WARM_EVERY_S = 15.0
_COLD_EVERY_S = 1.0
"""One that is not ready is asked often, and one that has failed: its good word ends its rest."""


class Prober:
    """Calls each backend's ``probe`` when it is due."""

    def __init__(self, *, active: Callable[[], ActivePolicy], clock: Clock) -> None:
        self._active = active
        self._clock = clock
        self._next: dict[str, float] = {}

    async def run(self) -> None:
        """Looks twice a second, for ever."""
        while True:
            await self.tick()
            await self._clock.sleep(0.5)

    async def tick(self) -> None:
        """Probes all that are due, at once."""
        now = self._clock.monotonic()
        backends = self._active().backends.values()
        due = [backend for backend in backends if self._next.get(backend.name, 0.0) <= now]
        await asyncio.gather(*(self._probe(backend) for backend in due))

    async def _probe(self, backend: LiveBackend) -> None:
        probe = await backend.adapter.probe()
        backend.probed(probe)
        waited_for = not probe.ready and backend.learned.cold is None
        often = waited_for or backend.ill or backend.health
        pause = _COLD_EVERY_S if often else _WARM_EVERY_S
        self._next[backend.name] = self._clock.monotonic() + pause
