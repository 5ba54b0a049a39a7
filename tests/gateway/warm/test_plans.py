"""Workers that are planned by the calls that come: started for calls that wait, and let go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from adapters.errors import BackendError, FailureClass
from gateway.api.admin.backends import backend_rows
from gateway.clock import FakeClock, settle
from gateway.money.scopes import ACCOUNT
from gateway.readings import readings
from gateway.storage.base import SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.queries import UsageQuery, UsageRow
from gateway.warm.lead import LASTS_S, Lead
from gateway.warm.plans import WorkerPlans
from tests.gateway.assembled import POLICY, AssembledGateway, assembled, read
from tests.gateway.warm.platform import START_S, Platform

ACT = POLICY + "warm_pool:\n  burst: {plan: act, most: 3}\n"


@contextlib.asynccontextmanager
async def planned(
    folder: Path, text: str = ACT, shared: Callable[[FakeClock], SharedStore] = MemorySharedStore
) -> AsyncIterator[tuple[AssembledGateway, Platform]]:
    clock = FakeClock()
    async with assembled(folder, clock, text, shared=shared(clock)) as gateway:
        platform = Platform(gateway)
        await platform.passes(16.0)
        yield gateway, platform


def plans_of(gateway: AssembledGateway) -> WorkerPlans:
    plans = gateway.inner.plans
    assert plans is not None
    return plans


async def test_a_call_waits_for_the_worker_that_is_started_for_it(tmp_path: Path) -> None:
    """It is sent when the platform says that it is up, and pays for no start."""
    async with planned(tmp_path) as (gateway, platform):
        burst = gateway.fake("burst")
        burst.runs_for = 1.0
        state, task = gateway.start("far")
        await platform.until(lambda: burst.minimum == 1)
        assert burst.calls == []
        look = plans_of(gateway).last("burst")
        assert look is not None
        [far] = [pool for pool in look.pools if pool.models == ("far",)]
        assert (far.seen.load, far.seen.waiting, far.at_home) == (1, 1, 0)
        assert look.minimum.because == "call_waits"
        await platform.until(task.done)
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.reason, row.cold_us) == ("success", "COLD", 0)
        assert row.queue_us >= START_S * 1_000_000


async def test_a_worker_that_nobody_needs_is_let_go_and_each_second_is_a_row(
    tmp_path: Path,
) -> None:
    async with planned(tmp_path) as (gateway, platform):
        gateway.fake("burst").runs_for = 1.0
        _, task = gateway.start("far")
        await platform.until(task.done)
        await platform.until(lambda: platform.told[-1] == 0, within_s=120.0)
        held: list[UsageRow] = []
        while not held:
            await platform.passes(0.5)
            told = await gateway.inner.ledger.usage(UsageQuery(group_by=("user",)))
            held = [row for row in told.rows if row.group["user"] == ACCOUNT]
        assert held[0].gpu_us > 4_000_000


async def test_calls_in_the_line_of_a_reserved_backend_take_a_worker_that_is_up(
    tmp_path: Path,
) -> None:
    """Which of the two is free first was not known when they came."""
    text = ACT.replace("slots: 2,", "slots: 1, concurrency: 1,")
    async with planned(tmp_path, text) as (gateway, platform):
        home, burst = gateway.fake("home"), gateway.fake("burst")
        home.runs_for, burst.runs_for = 60.0, 1.0
        states = [gateway.start() for _ in range(2)]
        await settle()
        assert states[1][0].backend is gateway.inner.active.backends["home"]
        await platform.until(states[1][1].done)
        row = await gateway.row(states[1][0].call.id)
        assert (row.backend, row.outcome, row.cold_us) == ("burst", "success", 0)
        await gateway.until_done([states[0][1]], 5.0)


async def test_a_plan_that_observes_tells_nobody(tmp_path: Path) -> None:
    async with planned(tmp_path, ACT.replace("act", "observe")) as (gateway, platform):
        burst = gateway.fake("burst")
        burst.runs_for = 3.0
        _, task = gateway.start("far")
        await platform.passes(1.0)
        assert len(burst.calls) == 1, "calls go as they go without a plan"
        look = plans_of(gateway).last("burst")
        assert look is not None
        assert any(pool.models == ("far",) and pool.seen.load == 1 for pool in look.pools)
        assert burst.minimum is None
        await gateway.until_done([task], 0.5)


async def test_no_more_are_kept_than_the_policy_allows(tmp_path: Path) -> None:
    async with planned(tmp_path) as (gateway, platform):
        gateway.fake("burst").runs_for = 30.0
        tasks = [gateway.start("far")[1] for _ in range(9)]
        await platform.passes(20.0)
        assert max(platform.told) == 3
        assert gateway.fake("burst").most_running == 3
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_platform_that_cannot_be_told_gets_calls_at_once(tmp_path: Path) -> None:
    """It starts workers by its own rule then."""
    async with planned(tmp_path) as (gateway, platform):
        burst = gateway.fake("burst")
        burst.runs_for = 1.0
        burst.cannot_scale = BackendError(FailureClass.UNREACHABLE, "no answer")
        _, task = gateway.start("far")
        await platform.until(task.done)


async def test_a_limit_that_has_no_room_for_held_workers_sends_calls_at_once(
    tmp_path: Path,
) -> None:
    text = ACT + "limits: {warm_pool: {spend: 0.001 USD/day}}\n"
    async with planned(tmp_path, text) as (gateway, platform):
        gateway.fake("burst").runs_for = 1.0
        _, task = gateway.start("far")
        await platform.until(task.done)
        assert set(platform.told) == {0}


async def test_a_reload_that_ends_the_plan_sends_the_calls_that_wait(tmp_path: Path) -> None:
    async with planned(tmp_path) as (gateway, platform):
        gateway.fake("burst").runs_for = 1.0
        _, task = gateway.start("far")
        await platform.until(lambda: gateway.fake("burst").minimum == 1)
        await gateway.inner.apply(read(POLICY))
        await platform.until(task.done)
        await platform.until(lambda: platform.told[-1] == 0)


async def test_calls_are_sent_all_the_same_where_no_worker_comes(tmp_path: Path) -> None:
    """The platform says that it keeps none, whatever it is told: a call that waits for far longer
    than a start takes is sent."""
    async with planned(tmp_path) as (gateway, _):
        burst = gateway.fake("burst")
        burst.runs_for = 1.0
        _, task = gateway.start("far")
        for _ in range(120):
            burst.warm_workers = 0
            await gateway.clock.advance(0.25)
            await settle()
            await asyncio.sleep(0.001)
        await gateway.until_done([task], 0.25)
        assert burst.calls


async def test_a_gateway_that_ends_takes_back_what_it_keeps(tmp_path: Path) -> None:
    async with planned(tmp_path) as (gateway, platform):
        gateway.fake("burst").runs_for = 1.0
        _, task = gateway.start("far")
        burst = gateway.fake("burst")
        await platform.until(lambda: burst.minimum == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert burst.minimum == 0


async def test_one_gateway_of_several_leads_until_it_is_gone() -> None:
    clock = FakeClock()
    store = MemorySharedStore(clock)
    first, second = Lead(store, clock), Lead(store, clock)
    for _ in range(12):
        await first.keep()
        await second.keep()
        assert (first.leads, second.leads) == (True, False)
        await clock.advance(LASTS_S / 4)
    for _ in range(6):
        await second.keep()
        await clock.advance(LASTS_S / 4)
    assert (first.leads, second.leads) == (False, True)
    await second.give_up()
    await first.keep()
    assert (first.leads, second.leads) == (True, False)


async def test_the_last_look_is_shown_to_admins_and_in_the_metrics(tmp_path: Path) -> None:
    """With what was seen, so that a person can do the sum again."""
    async with planned(tmp_path) as (gateway, platform):
        gateway.fake("burst").runs_for = 1.0
        _, task = gateway.start("far")
        await platform.passes(2.0)
        [burst] = [row for row in backend_rows(gateway.inner) if row["backend"] == "burst"]
        plan = burst["plan"]
        assert (plan["workers"], plan["because"]) == (1, "call_waits")
        assert {"calls": 1, "waiting": 1, "start": 1}.items() <= plan["models"][-1].items()
        assert {
            labels["what"]: value
            for name, _, labels, value in readings(gateway.inner)
            if name == "spillgate_plan"
        }["workers"] == 1.0
        await platform.until(task.done)
