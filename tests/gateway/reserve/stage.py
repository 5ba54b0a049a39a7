"""A keeper over hooks that do as they are told, by a clock that a test moves."""

from __future__ import annotations

import itertools

from gateway.active_policy import ActivePolicy
from gateway.clock import FakeClock, settle
from gateway.reserve.hooks import Action, HookOutcome
from gateway.reserve.keeper import ReserveKeeper
from gateway.reserve.rented import Rented, read_stored
from gateway.storage.base import SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.rented.memory import MemoryInstances
from tests.gateway.assembled import POLICY, read
from tests.gateway.backends.test_live import live_backend

RENTS = (
    POLICY
    + """
warm_pool:
  burst: {plan: act}
reserve:
  pods:
    backend: home
    plan: burst
    start: https://hooks.test/start
    stop: /opt/stop
    token: ${TOKEN}
    most: 2
    start_after: 60s
    stop_after: 10m
    stop_ahead: 3m
"""
)
DONE, REFUSED, UNKNOWN = (
    HookOutcome(True),
    HookOutcome(False, "no room"),
    HookOutcome(None, "no answer"),
)


class ToldHooks:
    """Come to what they are told, else are done; note all that they are asked."""

    def __init__(self) -> None:
        self.outcomes: list[HookOutcome] = []
        self.asked: list[tuple[Action, str, str]] = []
        self.tokens: set[str] = set()

    async def call(self, hook: str, action: Action, rented: Rented, token: str = "") -> HookOutcome:
        self.asked.append((action, rented.id, hook))
        self.tokens.add(token)
        return self.outcomes.pop(0) if self.outcomes else DONE

    @property
    def actions(self) -> list[Action]:
        return [action for action, _, _ in self.asked]


class Stage:
    """``advised``: calls at once for which the plan would reserve."""

    def __init__(
        self,
        clock: FakeClock,
        text: str = RENTS,
        store: MemoryInstances | None = None,
        shared: SharedStore | None = None,
        first: int = 0,
        hooks: ToldHooks | None = None,
    ) -> None:
        self.clock = clock
        self.hooks = hooks or ToldHooks()
        self.store = store or MemoryInstances(clock.time)
        self.shared = shared or MemorySharedStore(clock)
        self.advised = 0
        self.leads = True
        self.put_in_force(text)
        numbers = itertools.count(first)
        self.keeper = ReserveKeeper(
            active=lambda: self.active,
            advised=lambda active, rule: self.advised,
            leads=lambda: self.leads,
            store=self.store,
            hooks=self.hooks,
            shared=self.shared,
            clock=clock,
            make_id=lambda: f"i{next(numbers)}",
        )

    def put_in_force(self, text: str) -> None:
        policy = read(text, {"TOKEN": "secret"})
        backends = {name: live_backend(self.clock, name, POLICY) for name in policy.backends}
        self.active = ActivePolicy(policy, backends)

    async def passes(self, seconds: float, step: float = 30.0) -> None:
        for _ in range(round(seconds / step)):
            await self.clock.advance(step)
            await self.keeper.tick()
            await self.keeper.drain()
            await settle()

    def written(self) -> list[Rented]:
        """What the store knows."""
        return [read_stored(one) for one in self.store.instances]

    def states(self) -> list[str]:
        return [one.state for one in self.written()]
