"""Tells when limits of money and device time are nearly spent, spent, or have refused somebody.

A call pays for this with one entry of a dictionary. Every few seconds the limits of those who have
called since are looked up in the shared store, all in one step, and what was spent, without what is
merely held, is compared with the shares that the policy names. A fact is in the ledger's store
before it is told, so it is told once, whichever gateway finds it, and after which restart.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from gateway.clock import Clock
from gateway.events.bodies import amount, budget_message
from gateway.metrics import Metrics
from gateway.money.spending import LimitKey, Spending
from gateway.policy.model import Policy
from gateway.storage.base import Claim, SharedStore, StorageUnavailable, WindowSpent
from gateway.storage.counters import PAID
from gateway.storage.outbox import Outbox, ToldOnce
from gateway.types import MICRO

log = logging.getLogger("spillgate")

_LOOK_EVERY_S = 5.0
_REFUSED = "refused"


class BudgetWatch:
    """Of one gateway. ``policy``: the one in force."""

    def __init__(
        self,
        *,
        spending: Spending,
        shared: SharedStore,
        outbox: Outbox,
        policy: Callable[[], Policy],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._spending = spending
        self._shared = shared
        self._outbox = outbox
        self._policy = policy
        self._clock = clock
        self._metrics = metrics
        self._told: dict[ToldOnce, None] = {}
        """Facts that the store knows; it need not be asked again."""
        self._failing = False

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            await self.look()
            await self._clock.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        """Tells what is new. What a store does not say is asked again at the next look."""
        by_key, refused = self._spending.take()
        claims = self._watched([*by_key.values(), tuple(refused.values())])
        if not claims:
            return
        try:
            for found in await self._shared.spent(list(claims.values())):
                await self._tell(found, refused)
        except BaseException as error:  # a cancellation too
            self._spending.give_back(by_key, refused)
            if not isinstance(error, StorageUnavailable):
                raise
            if not self._failing:
                log.error("%s; budgets are watched again when it is back", error)
            self._failing = True
        else:
            self._failing = False
            self._forget()

    def _watched(self, calls: Iterable[Sequence[Claim]]) -> dict[LimitKey, Claim]:
        kinds = self._policy().alerts.of
        return {
            (claim.scope, claim.unit, claim.window): claim
            for claims in calls
            for claim in claims
            if claim.unit in PAID and claim.scope.partition(":")[0] in kinds
        }

    async def _tell(self, found: WindowSpent, refused: dict[LimitKey, Claim]) -> None:
        for fact in facts(found, self._policy().alerts.at, refused):
            if fact not in self._told:
                endpoints = self._policy().webhooks.endpoints
                messages = [
                    budget_message(name, fact, found.spent, self._clock.time())
                    for name, endpoint in endpoints.items()
                    if "budget" in endpoint.events
                ]
                if await self._outbox.tell(fact, messages):
                    self._say(fact, found.spent)
                self._told[fact] = None

    def _say(self, fact: ToldOnce, spent: int) -> None:
        kind, _, name = fact.scope.partition(":")
        self._metrics.notices.alerts.labels(kind, fact.step).inc()
        unit = "USD" if fact.unit == "nano_usd" else "GPU-seconds"
        what = "had no room for a call" if fact.step == _REFUSED else f"is spent to {fact.step} %"
        log.warning(
            "budget: the limit of %s, %s %s a %s, %s: %s %s are spent",
            f"{kind} {name}" if name else f"the {kind}",
            amount(fact, fact.limit),
            unit,
            fact.window,
            what,
            amount(fact, spent),
            unit,
        )

    def _forget(self) -> None:
        now_us = round(self._clock.time() * MICRO)
        self._told = {fact: None for fact in self._told if fact.ends_at > now_us}


def facts(
    found: WindowSpent, shares: Iterable[int], refused: Iterable[LimitKey]
) -> Iterator[ToldOnce]:
    """What is true of a limit: each share (percent) that its window has spent, and whether it
    refused a call. Pure."""
    claim = found.claim
    steps = [str(share) for share in shares if found.spent * 100 >= claim.limit * share > 0]
    if (claim.scope, claim.unit, claim.window) in refused:
        steps.append(_REFUSED)
    for step in steps:
        yield ToldOnce(
            scope=claim.scope,
            unit=claim.unit,
            window=claim.window,
            ends_at=found.ends_at,
            limit=claim.limit,
            step=step,
        )
