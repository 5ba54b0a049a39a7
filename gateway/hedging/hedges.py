"""What the hedges of one gateway share: how long backends take, and how many hedges there were."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import inf

import msgspec

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.calls.attempt import Attempt
from gateway.calls.state import CallState
from gateway.hedging.answer_quantiles import AnswerQuantiles
from gateway.hedging.rules import HedgeShare, may_hedge, second_choice
from gateway.metrics import Registry, SeldomCounter
from gateway.policy.sections.hedge import HedgeSettings
from gateway.routing.router import Quote


class HedgeForeseen(msgspec.Struct, frozen=True):
    """Of a call that is slow."""

    after_seconds: float | None
    """How long the first backend has; null while too little is known of it."""
    backend: str | None
    """That would be asked then, were it now; null where none could begin at once."""
    share: float
    """Percent of the route's calls that may be hedged."""


class Hedges:
    """Of all routes."""

    def __init__(self, registry: Registry) -> None:
        """``registry`` gets a counter of them."""
        self._counter = SeldomCounter(
            "spillgate_hedges",
            "Slow calls for which a second backend was asked, or should have been",
            ("backend", "result"),
            registry=registry,
        )
        self._times = defaultdict[tuple[str, str, bool], AnswerQuantiles](AnswerQuantiles)
        self._shares = defaultdict[str, HedgeShare](HedgeShare)

    def call(self, route: str, now: float) -> None:
        """A call of the route began that may be hedged; monotonic seconds."""
        self._shares[route].call(now)

    def due_at(self, settings: HedgeSettings, attempt: Attempt) -> float:
        """When a second backend is asked, in monotonic seconds; inf while nobody can say. A cold
        start that was expected is no reason."""
        call, backend = attempt.call, attempt.backend
        after_s = self.after_s(settings, backend, call.model, stream=call.stream)
        cold = backend.learned.cold
        start_s = cold.p95 if attempt.lease.expected_cold and cold is not None else 0.0
        return inf if after_s is None else attempt.asked_at + start_s + after_s

    def after_s(
        self, settings: HedgeSettings, backend: LiveBackend, model: str, *, stream: bool
    ) -> float | None:
        """Seconds that the backend has for such a call; None while too little is known."""
        if isinstance(settings.after, str):
            return self._times[backend.name, model, stream].after(settings.after)
        return settings.after

    def learn(self, attempt: Attempt, now: float) -> None:
        """An attempt was answered, or left, at a monotonic instant."""
        call = attempt.call
        if not attempt.lease.expected_cold:
            seen = self._times[attempt.backend.name, call.model, call.stream]
            seen.observe(now - attempt.asked_at)

    def foreseen(
        self, active: ActivePolicy, state: CallState, quotes: Sequence[Quote], now: float
    ) -> HedgeForeseen | None:
        """What would become of a call that is sent to the first of the quotes and is slow there;
        None where it is asked of one backend at a time. ``now``: monotonic seconds."""
        settings = active.hedge(state.route)
        if settings is None or not quotes:
            return None
        first = active.backends[quotes[0].backend]
        if not may_hedge(active, state, first, quotes[0]):
            return None
        found = second_choice(active, state, quotes[1:], now)
        return HedgeForeseen(
            self.after_s(settings, first, state.call.model, stream=state.call.stream),
            None if found is None else found[0].backend,
            settings.share,
        )

    def has_share(self, active: ActivePolicy, route: str, now: float) -> bool:
        """Whether one more of the route's calls may be hedged; takes none."""
        settings = active.hedge(route)
        return settings is not None and self._shares[route].has(now, settings.share)

    def take_share(self, active: ActivePolicy, route: str, now: float) -> None:
        """One more is."""
        settings = active.hedge(route)
        if settings is not None:
            self._shares[route].take(now, settings.share)

    def count(self, backend: str, result: str) -> None:
        """One more has come to this."""
        self._counter.labels(backend, result).inc()
