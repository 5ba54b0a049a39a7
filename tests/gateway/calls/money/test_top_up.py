"""A call's hold is kept ahead of its run, so that what is settled never passes a cap."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Reply, Usage
from gateway.calls.top_up import PATIENCE_S
from gateway.clock import FakeClock
from gateway.types import ApiError
from tests.gateway.assembled import POLICY, AssembledGateway, assembled
from tests.gateway.failing_stores import FailingShared, Moment, Trouble
from tests.waiting import until


async def until_it_ends(gateway: AssembledGateway, task: asyncio.Task[Any], seconds: float) -> None:
    """Time goes by in small steps, so that the ledger's thread, whose time is real, keeps up."""
    for _ in range(int(seconds / 0.25)):
        await gateway.clock.advance(0.25)
        await asyncio.sleep(0.001)
        if task.done():
            return
    await asyncio.wait([task], timeout=20)


async def test_a_short_call_never_asks_for_more(tmp_path: Path, clock: FakeClock) -> None:
    """Nearly all calls end before anybody must look after them."""
    trouble = Trouble()
    async with assembled(tmp_path, clock, shared=FailingShared(clock).told(trouble)) as gateway:
        gateway.fake("burst").runs_for = 0.3
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        await clock.advance(0.3)
        await task
        await clock.advance(60.0)
        assert "extend" not in trouble.asked


async def test_more_is_held_before_what_is_held_is_used_up(
    tmp_path: Path, clock: FakeClock
) -> None:
    """At every instant of a minute the hold covers what the call has cost."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").runs_for = 60.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        began = clock.monotonic()
        for _ in range(118):
            await clock.advance(0.5)
            cost = (clock.monotonic() - began) * 1_000_000
            assert state.admission.hold_nano >= cost
        await clock.advance(1.0)
        await task
        assert await gateway.spent() == 60_000_000


async def test_what_is_held_more_is_what_a_restart_would_charge(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").runs_for = 60.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        for _ in range(100):
            await clock.advance(0.5)
            await asyncio.sleep(0.001)

        async def is_written() -> bool:
            [row] = await gateway.inner.ledger.open_rows()
            return row.hold_nano >= 50_000_000

        await until(is_written, "the open row covers fifty seconds")
        await until_it_ends(gateway, task, 20.0)
        [row] = await gateway.rows(state.call.id)
        assert (row.outcome, row.cost_nano) == ("success", 60_000_000)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_stalls_is_not_an_empty_purse(
    when: Moment, tmp_path: Path, clock: FakeClock
) -> None:
    """It is asked until it answers, and the call goes on."""
    trouble = Trouble()
    async with assembled(tmp_path, clock, shared=FailingShared(clock).told(trouble)) as gateway:
        gateway.fake("burst").runs_for = 60.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        trouble.fails(when, "extend")
        await clock.advance(PATIENCE_S / 2)
        assert trouble.asked.count("extend") > 1
        trouble.ends()
        await until_it_ends(gateway, task, 60.0)
        await task
        assert await gateway.spent() == 60_000_000


async def test_a_call_whose_hold_is_used_up_is_stopped_when_the_store_stays_away(
    tmp_path: Path, clock: FakeClock
) -> None:
    """As a failure of the store, not of the caller's budget."""
    trouble = Trouble()
    async with assembled(tmp_path, clock, shared=FailingShared(clock).told(trouble)) as gateway:
        gateway.fake("burst").runs_for = 90.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        held = state.admission.hold_nano
        trouble.fails("before", "extend")
        await until_it_ends(gateway, task, 60.0)
        with pytest.raises(ApiError) as caught:
            await task
        assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
        assert caught.value.headers["x-should-retry"] == "false"
        row = await gateway.row(state.call.id)
        assert (row.outcome, row.status, row.error) == ("error", 503, "store_unavailable")
        assert 0 < row.cost_nano <= held + (PATIENCE_S + 1) * 1_000_000


async def test_a_reserved_machine_is_held_by_its_seconds(tmp_path: Path, clock: FakeClock) -> None:
    """Device seconds are limited where no dollar is."""
    text = POLICY.replace("gpu_seconds: 100000/day", "gpu_seconds: 8/day")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = 90.0
        state, task = gateway.start("chat")
        await gateway.until_asked("home")
        await until_it_ends(gateway, task, 60.0)
        with pytest.raises(ApiError) as caught:
            await task
        assert caught.value.code == "budget_exhausted"
        assert (await gateway.row(state.call.id)).gpu_us <= 8_000_000


async def test_after_another_backend_took_over_its_own_hold_is_what_grows(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The first attempt is watched no more."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").tell(BackendError(FailureClass.UNREACHABLE, "no"))
        gateway.fake("burst").runs_for = 20.0
        state, task = gateway.start("chat")
        await gateway.until_asked("burst")
        await clock.advance(19.0)
        assert state.admission.hold_nano >= 19_000_000
        await clock.advance(1.0)
        await task
        assert await gateway.spent() == 20_000_000


RUN_ALONE = POLICY.replace("bills: [start, run]", "bills: [run]")


async def test_a_call_in_the_platforms_own_queue_is_not_stopped_before_it_has_run(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The limits have no room for more than the hold, and a wait in line uses up nothing of it."""
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    async with assembled(tmp_path, clock, RUN_ALONE, shared=shared) as gateway:
        gateway.fake("burst").queues_for = 60.0
        gateway.fake("burst").runs_for = 1.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        trouble.fails("before", "extend")
        await until_it_ends(gateway, task, 70.0)
        await task
        assert "extend" not in trouble.asked
        assert (await gateway.row(state.call.id)).cost_nano == 1_000_000


async def test_a_call_that_ran_after_its_wait_is_stopped_by_what_it_ran(
    tmp_path: Path, clock: FakeClock
) -> None:
    text = RUN_ALONE.replace("spend: 5 USD/month", "spend: 0.003 USD/month")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("burst").queues_for = 20.0
        gateway.fake("burst").runs_for = 90.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        held = state.admission.hold_nano
        await until_it_ends(gateway, task, 60.0)
        with pytest.raises(ApiError):
            await task
        row = await gateway.row(state.call.id)
        assert 0 < row.cost_nano <= held
        assert row.queue_us + row.exec_us == pytest.approx(23_000_000, abs=500_000)
        assert row.queue_us == pytest.approx(20_000_000, abs=300_000)


async def test_where_a_start_is_billed_as_much_of_the_wait_counts_as_a_start_may_take(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nobody can tell a start from a wait in line, so the last nine seconds before the run may
    have been one: they are held for, and charged when the call is broken off."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("burst").queues_for = 30.0
        gateway.fake("burst").runs_for = 90.0
        state, task = gateway.start("far")
        await gateway.until_asked("burst")
        began = clock.monotonic() + 30.0
        for _ in range(100):
            await clock.advance(0.5)
            charged = max(0.0, clock.monotonic() - began)
            charged += min(9.0, clock.monotonic() - began + 30.0)
            assert state.admission.hold_nano >= round(charged * 1_000_000)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        row = await gateway.row(state.call.id)
        assert row.cold_us == 9_000_000
        assert row.exec_us == pytest.approx(20_000_000, abs=300_000)
        assert row.cost_nano == pytest.approx(29_000_000, abs=300_000)


USED = Usage(exec_s=1.5, gpu_s=1.5, reported=True)


@pytest.mark.parametrize(
    ("limit", "asked"), [("spend: 0.003 USD/month", 0), ("spend: 0.005 USD/month", 1)]
)
async def test_what_a_failed_attempt_has_used_up_is_held_again_before_the_next_one(
    limit: str, asked: int, tmp_path: Path, clock: FakeClock
) -> None:
    """Two attempts may cost as much as two calls: where that does not fit, there is no second."""
    text = POLICY.replace("spend: 5 USD/month", limit).replace(
        "bills: [start, run]", "bills: [run]"
    )
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").tell(BackendError(FailureClass.WORKER_DIED, "gone", usage=USED))
        gateway.fake("burst").tell(Reply(usage=Usage(exec_s=2.0, reported=True)))
        state = gateway.call_state()
        with contextlib.suppress(ApiError):
            await gateway.ask(state)
        assert len(gateway.fake("burst").calls) == asked
        assert await gateway.spent() == 1_500_000 + asked * 2_000_000
        assert state.admission.hold_nano >= await gateway.spent()
