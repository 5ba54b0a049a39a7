"""The parts of a gateway that decide over calls and money, put together as in one that runs."""

from __future__ import annotations

import random

from gateway.active_policy import ActivePolicy
from gateway.backends.live import LiveBackend
from gateway.calls.dispatcher import Dispatcher
from gateway.calls.slow_clients import SlowClients
from gateway.hedging.hedging import hedge_calls
from gateway.metrics import Metrics
from gateway.money.settling.settlement import Settler
from gateway.policy.model import Policy
from gateway.replay.virtual.backends import Simulated
from gateway.replay.virtual.loop import VirtualClock
from gateway.storage.base import Ledger
from gateway.storage.memory import MemorySharedStore
from gateway.together import Alone
from gateway.warm.account import WarmAccount
from gateway.warm.idle_tails import IdleTails
from gateway.warm.keeper import WarmKeeper
from gateway.warm.kept import MemoryKept
from gateway.warm.lead import Lead
from gateway.warm.minimums import WorkerMinimums
from gateway.warm.plans import WorkerPlans
from gateway.warm.prober import Prober


class VirtualGateway:
    """Of one policy, over simulated backends by their names."""

    def __init__(
        self,
        policy: Policy,
        backends: dict[str, Simulated],
        ledger: Ledger,
        clock: VirtualClock,
        draw: random.Random,
    ) -> None:
        shared, metrics = MemorySharedStore(clock), Metrics()
        clients = policy.server.clients
        slow = SlowClients(shared, per_key=clients.per_key, in_all=clients.in_all)
        self.settler = Settler(shared=shared, ledger=ledger, clock=clock, metrics=metrics)
        self.dispatcher = Dispatcher(
            shared=shared,
            ledger=ledger,
            settler=self.settler,
            clock=clock,
            metrics=metrics,
            random_source=draw,
            slow_clients=slow,
        )
        hedge_calls(self.dispatcher, ledger, clock, metrics)
        live = {
            name: LiveBackend(
                spec,
                policy.prices[spec.common.price] if spec.common.price else None,
                backends[name],
                clock,
                self.dispatcher.timer,
                draw.random,
            )
            for name, spec in policy.backends.items()
        }
        for name, backend in live.items():
            backends[name].charged = backend.charged
        self.active = ActivePolicy(policy, live)
        self._warm(ledger, shared, clock, metrics)

    def _warm(
        self, ledger: Ledger, shared: MemorySharedStore, clock: VirtualClock, metrics: Metrics
    ) -> None:
        minimums = WorkerMinimums(kept=MemoryKept(), clock=clock)
        self.plans = WorkerPlans(
            active=lambda: self.active,
            calls=self.dispatcher.admitting.held,
            lead=Lead(shared, clock),
            clock=clock,
        )
        self.dispatcher.entering.begun = self.plans.begun
        self.keeper = WarmKeeper(
            active=lambda: self.active,
            account=WarmAccount(shared=shared, ledger=ledger, settler=self.settler, clock=clock),
            minimums=minimums,
            clock=clock,
            metrics=metrics,
            plans=self.plans,
        )
        self.tails = IdleTails(
            active=lambda: self.active,
            held=lambda name: name in minimums.kept(),
            ledger=ledger,
            clock=clock,
            leadership=Alone("replay"),
        )
        self.prober = Prober(active=lambda: self.active, clock=clock)

    async def aclose(self) -> None:
        """What was set at platforms is taken back, and all is settled."""
        await self.keeper.aclose()
        await self.tails.aclose()
        await self.dispatcher.aclose()
        await self.settler.retry()
        for backend in self.active.backends.values():
            await backend.adapter.aclose()
