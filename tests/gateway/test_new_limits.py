"""A limit that a reload brings counts what its window has seen, and what is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from adapters.types import Reply, Usage
from gateway.calls.dispatcher import Answer
from gateway.clock import FakeClock, settle
from gateway.policy.model import Policy
from gateway.restore import Refill
from gateway.storage.base import Admitted, Claim, Refused, StorageUnavailable
from gateway.storage.memory import MemorySharedStore
from gateway.types import ApiError
from tests.gateway.assembled import PATIENCE_S, POLICY, AssembledGateway, assembled, read
from tests.gateway.failing_stores import FailingLedger, FailingShared, Trouble
from tests.waiting import until

RUN_ALONE = POLICY.replace("bills: [start, run]", "bills: [run]")
FREE = RUN_ALONE.replace(", spend: 5 USD/month", "")
SMALL = RUN_ALONE.replace("spend: 5 USD/month", "spend: 0.02 USD/month")


async def spend(gateway: AssembledGateway, seconds: float) -> Answer:
    """A thousandth of a dollar a second."""
    gateway.fake("burst").runs_for = seconds
    _, task = gateway.start("far")
    await gateway.until_asked("burst")
    await gateway.until_done([task], step=seconds / 4)
    return await task


async def left(gateway: AssembledGateway, scope: str) -> int:
    """Of 0.02 USD a month."""
    [status] = await gateway.inner.shared.statuses(
        [Claim(scope, "nano_usd", "month", 20_000_000, 0)]
    )
    return status.remaining


def past_caps(gateway: AssembledGateway) -> float:
    """US dollars."""
    [metric] = gateway.inner.metrics.past_caps.collect()
    return next(s.value for s in metric.samples if s.name == "spillgate_spent_past_caps_usd_total")


@pytest.mark.parametrize("before", [FREE, RUN_ALONE], ids=["no limit", "a larger one"])
async def test_a_limit_that_is_added_counts_what_was_spent_before_it(
    before: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, before) as gateway:
        await spend(gateway, 20.0)
        await gateway.inner.apply(read(SMALL))
        with pytest.raises(ApiError) as caught:
            await gateway.ask(gateway.call_state("far"))
        assert caught.value.code == "budget_exhausted"


@pytest.mark.parametrize(
    ("where", "scope"),
    [
        (
            "plans:\n  default: {requests: 1000/minute, shared: {spend: 0.02 USD/month}}",
            "plan:default",
        ),
        ("plans:\n  default: {per_key: {spend: 0.02 USD/month}}", "key:key_alice"),
        ("limits: {spend: 0.02 USD/month}\nplans:\n  default: {}", "gateway"),
    ],
)
async def test_it_does_so_in_every_scope(
    where: str, scope: str, tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, FREE) as gateway:
        await spend(gateway, 12.0)
        await gateway.inner.apply(read(RUN_ALONE.partition("plans:")[0] + where + "\n"))
        assert await left(gateway, scope) == 8_000_000


@pytest.mark.parametrize("before", [FREE, RUN_ALONE], ids=["no limit", "a larger one"])
async def test_what_is_under_way_is_held_in_the_limits_that_are_new(
    before: str, tmp_path: Path, clock: FakeClock
) -> None:
    """And is settled in them."""
    after = RUN_ALONE + "limits: {spend: 0.02 USD/month}\n"
    async with assembled(tmp_path, clock, before) as gateway:
        gateway.fake("burst").runs_for = 10.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        await gateway.inner.apply(read(after))
        assert await left(gateway, "gateway") < 20_000_000
        await gateway.until_done([task], step=1.0)
        assert await left(gateway, "gateway") == 20_000_000 - await gateway.spent()
        assert await gateway.spent() == 10_000_000
        assert not gateway.inner.dispatcher.held


class _AnswersLate(MemorySharedStore):
    """What it answers to an admission is on its way until ``arrives`` is set."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.arrives = asyncio.Event()

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        answer = await super().admit(hold_id, claims, ttl_s)
        await self.arrives.wait()
        return answer


async def test_so_is_what_the_store_is_asked_for_while_limits_change(
    tmp_path: Path, clock: FakeClock
) -> None:
    shared = _AnswersLate(clock)
    async with assembled(tmp_path, clock, RUN_ALONE, shared=shared) as gateway:
        gateway.fake("burst").runs_for = 10.0
        _, task = gateway.start("far")
        await settle()
        await gateway.inner.apply(read(RUN_ALONE + "limits: {spend: 0.02 USD/month}\n"))
        shared.arrives.set()
        await gateway.until_asked("burst")
        assert await left(gateway, "gateway") < 20_000_000
        await gateway.until_done([task], step=1.0)
        assert await left(gateway, "gateway") == 20_000_000 - await gateway.spent()


async def test_limits_are_not_changed_while_nobody_can_say_what_was_spent(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Nothing has changed then, and the same policy is taken a moment later."""
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    async with assembled(tmp_path, clock, FREE, shared=shared) as gateway:
        await spend(gateway, 20.0)
        before = gateway.inner.active
        trouble.fails("before", "restore")
        with pytest.raises(StorageUnavailable):
            await gateway.inner.apply(read(SMALL))
        assert gateway.inner.active is before
        trouble.ends()
        await gateway.inner.apply(read(SMALL))
        assert await left(gateway, "user:alice") == 0


async def test_a_settlement_that_waits_is_counted_once_by_a_limit_that_is_new(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Its row is in the ledger's sums already."""
    trouble = Trouble()
    shared = FailingShared(clock).told(trouble)
    async with assembled(tmp_path, clock, RUN_ALONE, shared=shared) as gateway:
        trouble.fails("before", "settle")
        await spend(gateway, 5.0)
        trouble.ends()
        await gateway.inner.apply(read(SMALL))
        await clock.advance(3.0)
        assert gateway.inner.settler.waiting == 0
        assert await left(gateway, "user:alice") == 15_000_000


async def test_what_was_spent_while_limits_changed_is_asked_for_until_it_is_known(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock, FREE) as gateway:
        fill, asked = gateway.inner.fill, 0
        assert fill is not None

        async def fails_twice(policy: Policy) -> None:
            nonlocal asked
            asked += 1
            if asked in (2, 3):
                raise StorageUnavailable("it did not answer")
            await fill(policy)

        gateway.inner.fill = fails_twice
        await gateway.inner.apply(read(SMALL))
        assert asked == 2
        await clock.advance(3.0)
        assert asked == 4


async def test_a_limit_that_comes_under_a_call_gives_it_no_time_past_its_hold(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It is stopped when the limit that it began under has no more, however many are added."""
    windows = [f"5 USD/{window}" for window in ("month", "week", "day", "hour", "minute")]
    wider = [
        SMALL + f"limits: {{spend: [{', '.join(windows[:count])}]}}\n" for count in range(1, 6)
    ]
    async with assembled(tmp_path, clock, SMALL) as gateway:
        gateway.fake("burst").runs_for = 60.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        for text in wider:
            await clock.advance(1.5)
            await gateway.inner.apply(read(text))
        await gateway.until_done([task], step=0.5)
        assert await gateway.spent() <= 20_000_000


async def test_a_store_that_lost_its_memory_learns_what_is_held(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Calls on their way would spend what it has given to others meanwhile."""
    shared = MemorySharedStore(clock)
    async with assembled(tmp_path, clock, SMALL, shared=shared) as gateway:
        await spend(gateway, 4.0)
        gateway.fake("burst").runs_for = 10.0
        _, task = gateway.start("far")
        await gateway.until_asked("burst")
        before = await left(gateway, "user:alice")
        shared.__init__(clock)  # type: ignore[misc]
        assert await left(gateway, "user:alice") == 20_000_000
        refill = Refill()
        refill.serves(gateway.inner)
        refill()

        async def knows() -> bool:
            return await left(gateway, "user:alice") == before < 16_000_000

        await until(knows, "it knows what was spent and what is held")
        await gateway.until_done([task], step=1.0)
        await task
        assert await left(gateway, "user:alice") == 20_000_000 - await gateway.spent()


async def test_a_charge_past_a_cap_is_counted_and_said(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It means that too little was held."""
    async with assembled(tmp_path, clock, SMALL) as gateway:
        assert past_caps(gateway) == 0
        usage = Usage(exec_s=25.0, reported=True)
        gateway.fake("burst").tell(Reply(body=b"{}", usage=usage))
        await gateway.ask(gateway.call_state("far"))
        assert past_caps(gateway) == 0.005
        assert "past a cap" in caplog.text


async def test_while_a_row_waits_to_be_written_no_limit_begins_to_count_without_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    trouble = Trouble()
    ledger = FailingLedger(tmp_path / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
    async with assembled(tmp_path, clock, FREE, ledger=ledger.told(trouble)) as gateway:
        trouble.fails("before", "settle")
        await spend(gateway, 20.0)
        with pytest.raises(StorageUnavailable):
            await gateway.inner.apply(read(SMALL))
        trouble.ends()
        await gateway.inner.apply(read(SMALL))
        assert await left(gateway, "user:alice") == 0
