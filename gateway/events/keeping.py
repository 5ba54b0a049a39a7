"""Looks after the outbox: what waits for too long is said and dropped, and an endpoint that takes
nothing for days is asked no more."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from gateway.clock import Clock
from gateway.metrics import Metrics, Reading
from gateway.policy.sections.webhooks import WebhookSettings
from gateway.storage.base import StorageUnavailable
from gateway.storage.outbox import EndpointState, Outbox

log = logging.getLogger("spillgate")

_LOOK_EVERY_S = 30.0
_PRUNE_EVERY = 20
"""Looks between two in which what is old is dropped."""
_DELIVERIES = 1_000
"""Attempts that are kept of each receiver."""
_LATE_S = 3_600.0
"""What waits for longer is worth a line of the log, once an hour."""


class OutboxKeeper:
    """Of one gateway. ``settings``: those in force."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        settings: Callable[[], WebhookSettings],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._looks = 0
        self._said: dict[str, float] = {}
        self._states: tuple[EndpointState, ...] = ()

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """One look; what the store does not say now, the next one finds."""
        try:
            await self._look()
        except StorageUnavailable:
            return  # the sender says so

    async def _look(self) -> None:
        settings = self._settings()
        if self._looks % _PRUNE_EVERY == 0:
            dropped = await self._outbox.prune(settings.keep, _DELIVERIES)
            for name, number in dropped.items():
                self._lost(name, number)
        self._looks += 1
        if not settings.endpoints:
            return
        states = await self._outbox.states()
        self._states = tuple(one for one in states if one.name in settings.endpoints)
        for state in self._states:
            await self._judge(state, settings)

    def _lost(self, name: str, number: int) -> None:
        known = name if name in self._settings().endpoints else "removed"
        self._metrics.notices.dropped.labels(known).inc(number)
        log.error(
            "webhook %s: %d messages have waited for longer than webhooks.keep and are dropped; "
            "`spillgate webhooks redeliver` notes usage of a time again",
            name,
            number,
        )

    async def _judge(self, state: EndpointState, settings: WebhookSettings) -> None:
        if state.disabled_at is not None:
            return
        if state.failing_s is not None and state.failing_s > settings.disable_after:
            if await self._outbox.disable(state.name):
                log.error(
                    "webhook %s has taken nothing for %.1f days: it is disabled until "
                    "`spillgate webhooks enable`",
                    state.name,
                    state.failing_s / 86_400,
                )
        elif state.oldest_s > _LATE_S and self._clock.monotonic() >= self._said.get(state.name, 0):
            self._said[state.name] = self._clock.monotonic() + _LATE_S
            log.warning(
                "webhook %s: %d messages wait, the oldest for %.1f hours; they are dropped after "
                "%.1f days",
                state.name,
                state.waiting,
                state.oldest_s / 3600,
                settings.keep / 86_400,
            )

    def readings(self) -> Iterable[Reading]:
        """Gauges, as of the last look."""
        for state in self._states:
            label = {"endpoint": state.name}
            yield "spillgate_outbox_messages", "What waits", label, float(state.waiting)
            yield "spillgate_outbox_age_seconds", "Age of the oldest", label, state.oldest_s
            disabled = float(state.disabled_at is not None)
            yield "spillgate_webhook_disabled", "1: asked no more", label, disabled
