"""Of a limit it is told once in its window how much is spent, whoever finds out, and when."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.settings import Secret
from gateway.clock import FakeClock
from gateway.events.budgets import BudgetWatch, facts
from gateway.metrics import Metrics
from gateway.money.spending import Spending
from gateway.policy.model import Policy
from gateway.policy.sections.webhooks import AlertSettings, WebhookEndpoint, WebhookSettings
from gateway.storage.base import Claim, SharedStore, StorageUnavailable, WindowSpent
from gateway.storage.memory import MemorySharedStore
from gateway.storage.outbox import Outbox
from tests.gateway.events.receivers import SECRET
from tests.gateway.storage.books import OpenBooks

USD = 1_000_000_000
MONTH = Claim("user:alice", "nano_usd", "month", 10 * USD, 0)
DAY = Claim("gateway", "gpu_us", "day", 100_000_000, 0)
OPS = WebhookEndpoint(
    url="https://ops.example.com/hooks", secret=Secret(SECRET), events=("budget",)
)


def policy(**alerts: object) -> Policy:
    return Policy(
        version="v",
        webhooks=WebhookSettings(endpoints={"ops": OPS}),
        alerts=AlertSettings(**alerts),  # type: ignore[arg-type]
    )


class Watched:
    """A gateway's spending and the watch over it."""

    def __init__(
        self, shared: SharedStore, outbox: Outbox, clock: FakeClock, policy: Policy
    ) -> None:
        self.spending = Spending()
        self.metrics = Metrics()
        self._shared = shared
        self._calls = 0
        self.watch = BudgetWatch(
            spending=self.spending,
            shared=shared,
            outbox=outbox,
            policy=lambda: policy,
            clock=clock,
            metrics=self.metrics,
        )

    async def spend(self, nano_usd: int, *claims: Claim, gpu_us: int = 0) -> None:
        self._calls += 1
        used = claims or (MONTH,)
        hold_id = f"{id(self)}-{self._calls}"
        await self._shared.settle(hold_id, used, {"nano_usd": nano_usd, "gpu_us": gpu_us})
        self.spending.by_key["key_alice"] = used


async def told(outbox: Outbox) -> list[str]:
    """Of each message that waits: type and percent."""
    found = [json.loads(one.body) for one in await outbox.take("ops", 100, 60.0)]
    return [f"{one['type']} {one['data']['percent']}" for one in found]


async def test_each_share_is_told_once_in_its_window(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        one = Watched(MemorySharedStore(clock), outbox, clock, policy())
        await one.spend(4 * USD)
        await one.watch.look()
        assert await told(outbox) == []
        await one.spend(1 * USD)
        await one.watch.look()
        assert await told(outbox) == ["budget.threshold 50"]
        await one.spend(1 * USD)
        await one.watch.look()
        assert await told(outbox) == []
        await one.spend(4 * USD)
        await one.watch.look()
        assert await told(outbox) == ["budget.threshold 80", "budget.threshold 100"]


async def test_the_next_window_is_told_anew(open_books: OpenBooks, clock: FakeClock) -> None:
    async with open_books() as (_, outbox, *_):
        one = Watched(MemorySharedStore(clock), outbox, clock, policy(at=(50,)))
        for _ in range(2):
            await one.spend(0, DAY, gpu_us=60_000_000)
            await one.watch.look()
            await one.watch.look()
            clock.move(86_400.0)
        assert await told(outbox) == ["budget.threshold 50", "budget.threshold 50"]


async def test_a_limit_is_told_with_its_figures(
    open_books: OpenBooks, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with open_books() as (_, outbox, *_):
        one = Watched(MemorySharedStore(clock), outbox, clock, policy(at=(80,)))
        await one.spend(8 * USD + 1)
        await one.watch.look()
        [message] = await outbox.take("ops", 10, 60.0)
    assert json.loads(message.body)["data"] == {
        "scope": "user",
        "name": "alice",
        "unit": "usd",
        "window": "month",
        "resets_at": "2026-02-01T00:00:00Z",
        "limit": "10",
        "spent": "8.000000001",
        "percent": 80,
    }
    said = "budget: the limit of user alice, 10 USD a month, is spent to 80 %"
    assert f"{said}: 8.000000001 USD are spent" in caplog.text
    shown = one.metrics.render().decode()
    assert 'spillgate_budget_alerts_total{scope="user",step="80"} 1.0' in shown


async def test_of_several_gateways_and_after_a_restart_one_tells(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    shared = MemorySharedStore(clock)
    async with open_books() as (_, outbox, *_), open_books() as (_, other, *_):
        one, two = (Watched(shared, store, clock, policy()) for store in (outbox, other))
        await one.spend(3 * USD)
        await two.spend(3 * USD)
        await one.watch.look()
        await two.watch.look()
        restarted = Watched(shared, outbox, clock, policy())
        await restarted.spend(0)
        await restarted.watch.look()
        assert await told(outbox) == ["budget.threshold 50"]


async def test_what_is_held_is_not_spent(open_books: OpenBooks, clock: FakeClock) -> None:
    async with open_books() as (_, outbox, *_):
        shared = MemorySharedStore(clock)
        held = Claim(MONTH.scope, MONTH.unit, MONTH.window, MONTH.limit, 9 * USD)
        await shared.admit("held", [held], 60.0)
        one = Watched(shared, outbox, clock, policy())
        await one.spend(1)
        await one.watch.look()
        assert await told(outbox) == []


async def test_that_a_limit_refused_somebody_is_told_once(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        one = Watched(MemorySharedStore(clock), outbox, clock, policy())
        for _ in range(3):
            one.spending.refuse(MONTH)
            await one.watch.look()
        assert await told(outbox) == ["budget.refused None"]


async def test_scopes_that_the_policy_leaves_out_are_not_told(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        one = Watched(MemorySharedStore(clock), outbox, clock, policy(of=("gateway",)))
        await one.spend(10 * USD, MONTH, DAY, gpu_us=100_000_000)
        await one.watch.look()
        found = [json.loads(m.body)["data"]["scope"] for m in await outbox.take("ops", 9, 60.0)]
        assert set(found) == {"gateway"}


async def test_a_store_that_stalls_delays_what_is_told_and_loses_nothing(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    class Stalling(MemorySharedStore):
        stalls = True

        async def spent(self, claims: Sequence[Claim]) -> tuple[WindowSpent, ...]:
            if self.stalls:
                raise StorageUnavailable("the shared store is away")
            return await super().spent(claims)

    shared = Stalling(clock)
    async with open_books() as (_, outbox, *_):
        one = Watched(shared, outbox, clock, policy(at=(50,)))
        await one.spend(5 * USD)
        one.spending.refuse(DAY)
        await one.watch.look()
        shared.stalls = False
        await one.watch.look()
        assert sorted(await told(outbox)) == ["budget.refused None", "budget.threshold 50"]


# --- the comparison ------------------------------------------------------------------------------


@given(
    limit=st.integers(0, 10**15),
    spent=st.integers(0, 2 * 10**15),
    shares=st.lists(st.integers(1, 100), max_size=5),
)
def test_a_share_is_reached_exactly_when_as_much_is_spent(
    limit: int, spent: int, shares: list[int]
) -> None:
    claim = Claim("user:a", "nano_usd", "month", limit, 0)
    found = [int(fact.step) for fact in facts(WindowSpent(claim, spent, 1), shares, ())]
    assert found == [share for share in shares if limit and spent * 100 >= limit * share]
