"""What runs beside the calls so that others are told of them."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence

from gateway.clock import Clock
from gateway.events.budgets import BudgetWatch
from gateway.events.keeping import OutboxKeeper
from gateway.events.key_endings import KeyEndings
from gateway.events.sender import MakeClient, WebhookSender
from gateway.metrics import Metrics
from gateway.money.spending import Spending
from gateway.policy.model import Policy
from gateway.storage.base import Claim, SharedStore
from gateway.storage.key_store import KeyStore
from gateway.storage.outbox import Outbox
from gateway.tasks import BackgroundTasks


class Notices:
    """Of one gateway. ``policy``: the one in force."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        spending: Spending,
        shared: SharedStore,
        keys: KeyStore,
        policy: Callable[[], Policy],
        client: MakeClient,
        clock: Clock,
        metrics: Metrics,
        draw: random.Random,
    ) -> None:
        self.outbox = outbox
        self._spending = spending
        self.sender = WebhookSender(
            outbox=outbox,
            settings=lambda: policy().webhooks,
            client=client,
            clock=clock,
            metrics=metrics,
            draw=draw,
        )
        self.budgets = BudgetWatch(
            spending=spending,
            shared=shared,
            outbox=outbox,
            policy=policy,
            clock=clock,
            metrics=metrics,
        )
        self.key_endings = KeyEndings(keys=keys, outbox=outbox, policy=policy, clock=clock)
        keeper = OutboxKeeper(
            outbox=outbox, settings=lambda: policy().webhooks, clock=clock, metrics=metrics
        )
        self._keeper = keeper
        self._tasks = BackgroundTasks()
        metrics.observe(keeper.readings)

    async def start(self) -> None:
        """Before the first call, so that each is told."""
        await self.sender.subscribe()
        running = (self.sender, self.budgets, self.key_endings, self._keeper)
        for each in running:
            self._tasks.run(each.run())

    def recall(self, spenders: Mapping[str, Sequence[Claim]]) -> None:
        """Keys that have spent in windows which go on, and their limits: what was reached before a
        death is told after it."""
        self._spending.give_back(dict(spenders), {})

    async def aclose(self) -> None:
        """Tells the store what the last calls have reached, and sends no more."""
        await self._tasks.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LOOK_S):
                await self.budgets.look()
        await self.sender.aclose()
        await self.outbox.aclose()


_LAST_LOOK_S = 2.0
