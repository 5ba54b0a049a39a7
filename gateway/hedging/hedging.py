"""Calls are asked of a second backend where the first is slow, as their routes say."""

from __future__ import annotations

from collections import deque

from gateway.active_policy import ActivePolicy
from gateway.calls.attempt import Attempt
from gateway.calls.completion import Completion
from gateway.calls.dispatcher import Begin, Dispatcher, Hedged
from gateway.calls.failover import Failover
from gateway.calls.state import CallState
from gateway.calls.top_up import TopUp
from gateway.clock import Clock
from gateway.hedging.hedges import Hedges
from gateway.hedging.race import Race, RaceParts
from gateway.hedging.rules import may_hedge
from gateway.hedging.sides import Brought
from gateway.metrics import Metrics
from gateway.routing.router import Quote
from gateway.storage.base import Ledger


class Hedging:
    """Of one gateway."""

    def __init__(self, parts: RaceParts) -> None:
        self._parts = parts

    async def ask(
        self,
        active: ActivePolicy,
        state: CallState,
        attempt: Attempt,
        untried: deque[Quote],
        begin: Begin,
    ) -> Brought | None:
        """The first answer of ``attempt`` and, where that is slow, of a second one, whose quote is
        taken out of ``untried``; the state is that of the one that gave it. None where the call is
        asked of one backend at a time: then nobody was asked. Raises BackendError as an attempt
        alone does: then the state is that of the one that failed last."""
        settings = active.hedge(state.route)
        if settings is None or not untried:
            return None
        if not may_hedge(active, state, attempt.backend, attempt.quote):
            return None
        hedges = self._parts.hedges
        hedges.call(state.route, attempt.asked_at)
        race = Race(self._parts, active, state, attempt, untried, begin)
        state.is_raced = True
        try:
            return await race.run(hedges.due_at(settings, attempt))
        finally:
            state.is_raced = False


def hedge_calls(dispatcher: Dispatcher, ledger: Ledger, clock: Clock, metrics: Metrics) -> Hedges:
    """The dispatcher's calls are hedged from here on, where their routes say so."""
    hedges = Hedges(metrics.registry)
    shared = (hedges, ledger, clock, dispatcher.timer, dispatcher.background)
    asks_too = dispatcher.entering.asks_too

    def hedged(failover: Failover, completion: Completion, top_up: TopUp) -> Hedged:
        return Hedging(RaceParts(failover, completion, top_up, *shared, asks_too)).ask

    dispatcher.hedge_by(hedged)
    return hedges
