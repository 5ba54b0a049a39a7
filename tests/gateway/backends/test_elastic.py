"""A backend that starts its own workers hears from the gateway how many calls there are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from adapters.fake import Fake, FakeSettings
from gateway.backends.live import LiveBackend
from gateway.clock import FakeClock, settle
from gateway.shared_timer import SharedTimer
from tests.gateway.assembled import POLICY, read

BOUNDED = POLICY.replace("slots: 2", "concurrency: 1")


class Growing(Fake):
    """Keeps what it is told."""

    def watch(self, demand: Callable[[], int]) -> None:
        self.demand = demand


async def test_calls_that_wait_in_line_are_demand_and_those_that_ended_are_not() -> None:
    clock = FakeClock()
    policy = read(BOUNDED)
    spec = policy.backends["home"]
    adapter = Growing("home", cast(FakeSettings, spec.settings), clock)
    price = policy.prices[spec.common.price or ""]
    backend = LiveBackend(spec, price, adapter, clock, SharedTimer(clock))
    assert adapter.demand() == 0
    lease = await backend.lease()
    waiting = asyncio.ensure_future(backend.lease())
    await settle()
    assert adapter.demand() == 2
    backend.end(lease, "chat", None, None)
    backend.end(await waiting, "chat", None, None)
    assert adapter.demand() == 0
