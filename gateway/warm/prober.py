"""Asks each backend now and then how it is, so that readiness is known before a call needs it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.clock import Clock

log = logging.getLogger("spillgate")

_WARM_EVERY_S = 15.0
_BUSY_EVERY_S = 2.0
"""An engine that counts its calls, while it has some of ours: others may fill its line."""
_SILENT_EVERY_S = 5.0
"""One that has had a call for as long, which may wait in vain."""
_AWAITED_EVERY_S = 0.5
"""One whose workers are started for calls that wait: each is to be known as soon as it is up."""
_COLD_EVERY_S = 1.0
"""One that is not ready is asked often, and one that has failed: its good word ends its rest."""


class Prober:
    """Calls each backend's ``probe`` when it is due."""

    def __init__(self, *, active: Callable[[], ActivePolicy], clock: Clock) -> None:
        self._active = active
        self._clock = clock
        self._asked: dict[str, float] = {}
        """When each was asked last."""

    async def run(self) -> None:
        """Looks twice a second, for ever."""
        while True:
            await self.tick()
            await self._clock.sleep(0.5)

    async def tick(self) -> None:
        """Probes all that are due, at once."""
        now = self._clock.monotonic()
        backends = self._active().backends.values()
        due = [backend for backend in backends if self._is_due(backend, now)]
        if len(due) == 1:
            await self._probe(due[0])
        elif due:
            await asyncio.gather(*(self._probe(backend) for backend in due))

    def _is_due(self, backend: LiveBackend, now: float) -> bool:
        asked = self._asked.get(backend.name)
        return asked is None or now >= asked + _pause(backend, now)

    async def _probe(self, backend: LiveBackend) -> None:
        was_away = backend.standing.away
        backend.probed(await backend.adapter.probe())
        self._asked[backend.name] = self._clock.monotonic()
        if backend.standing.away != was_away:
            _tell(backend)


def _tell(backend: LiveBackend) -> None:
    if backend.standing.away:
        log.warning("%s is away: %s", backend.name, backend.standing.told or "it is not ready")
    else:
        log.info("%s is back", backend.name)


def _pause(backend: LiveBackend, now: float) -> float:
    if backend.workers.started_ahead:
        held, waits = backend.workers.held, backend.queue.waiting
        return _AWAITED_EVERY_S if waits or held.count > (held.said_up or 0) else _BUSY_EVERY_S
    waited_for = backend.standing.probed_ready is False and backend.learned.cold is None
    if waited_for or backend.standing.ill or backend.rests.health.scopes:
        return _COLD_EVERY_S
    if backend.line.told and backend.in_flight:
        return _BUSY_EVERY_S
    waits = backend.learned.cold is None and backend.leases.oldest_s(now) >= _SILENT_EVERY_S
    return _SILENT_EVERY_S if waits else _WARM_EVERY_S
