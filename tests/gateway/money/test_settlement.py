"""Every call is settled once in both stores, whenever one of them fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import FakeClock, settle
from gateway.metrics import Metrics
from gateway.money.settling.settlement import Settler
from gateway.storage.base import Claim, LedgerRow, StorageUnavailable
from gateway.storage.queries import UsageQuery
from tests.gateway.assembled import PATIENCE_S
from tests.gateway.failing_stores import FailingLedger, FailingShared, Moment, Trouble

LIMIT = 1_000_000
CLAIMS = (
    Claim("user:alice", "nano_usd", "month", LIMIT, 700),
    Claim("user:alice", "concurrent", "", 10, 1),
)


Settlement = tuple[tuple[LedgerRow, ...], tuple[Claim, ...]]
"""A call's rows, and its claims."""


class Bench:
    """A settler over two stores that fail when they are told to."""

    def __init__(self, folder: Path, clock: FakeClock, kept: int = 100) -> None:
        self.clock = clock
        self.shared_trouble, self.ledger_trouble = Trouble(), Trouble()
        self.shared = FailingShared(clock).told(self.shared_trouble)
        self.ledger = FailingLedger(
            folder / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S
        ).told(self.ledger_trouble)
        self.settler = Settler(
            shared=self.shared, ledger=self.ledger, clock=clock, metrics=Metrics(), kept=kept
        )

    async def call(self, id: str, cost: int = 500, *, opened: bool = True) -> Settlement:
        """A call that was admitted, and ends now."""
        await self.shared.admit(id, CLAIMS, 600.0)
        if opened:
            await self.ledger.open(row(id, claims=CLAIMS, hold_nano=700))
        ended = row(id, outcome="success", ended_at=self.clock.time(), cost_nano=cost)
        return (ended,), CLAIMS

    async def books(self) -> tuple[int, int, int]:
        """(calls that are held, spent or held by the counters, spent by the ledger)."""
        money, calls = await self.shared.statuses(CLAIMS)
        usage = (await self.ledger.usage(UsageQuery(group_by=()))).rows
        return 10 - calls.remaining, LIMIT - money.remaining, sum(each.cost_nano for each in usage)


def row(id: str, **fields: object) -> LedgerRow:
    values = {
        "id": id,
        "started_at": 1_767_225_600.0,
        "key_id": "k",
        "user": "alice",
        "model": "m",
        "task": "chat",
        "backend": "home",
    }
    return LedgerRow(**(values | fields))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def bench_in(folder: Path, clock: FakeClock, kept: int = 100) -> AsyncIterator[Bench]:
    bench = Bench(folder, clock, kept)
    try:
        yield bench
    finally:
        await bench.ledger.aclose()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("store", ["shared", "ledger"])
async def test_what_a_store_did_not_take_is_tried_again_and_counted_once(
    store: str, when: Moment, tmp_path: Path, clock: FakeClock
) -> None:
    """Also where it did take it and its answer alone was lost."""
    async with bench_in(tmp_path, clock) as bench:
        trouble = bench.shared_trouble if store == "shared" else bench.ledger_trouble
        settlement = await bench.call("r1")
        trouble.fails(when, "settle")
        await bench.settler.settle(*settlement, opened=True)
        assert bench.settler.waiting == 1
        await bench.settler.retry()
        assert bench.settler.waiting == 1
        trouble.ends()
        await bench.settler.retry()
        assert bench.settler.waiting == 0
        assert await bench.books() == (0, 500, 500)


async def test_both_stores_may_fail_at_once(tmp_path: Path, clock: FakeClock) -> None:
    """Each part waits for itself, and neither is lost."""
    async with bench_in(tmp_path, clock) as bench:
        settlement = await bench.call("r1")
        bench.shared_trouble.fails("before", "settle")
        bench.ledger_trouble.fails("before", "settle")
        await bench.settler.settle(*settlement, opened=True)
        assert bench.settler.waiting == 2
        bench.shared_trouble.ends()
        bench.ledger_trouble.ends()
        await bench.settler.retry()
        assert await bench.books() == (0, 500, 500)


async def test_a_call_without_a_durable_row_is_told_that_it_cannot_be_written(
    tmp_path: Path, clock: FakeClock
) -> None:
    """An answer without a row must not be given; nothing waits, since the caller was refused."""
    async with bench_in(tmp_path, clock) as bench:
        settlement = await bench.call("r1", opened=False)
        bench.ledger_trouble.fails("before", "settle")
        with pytest.raises(StorageUnavailable):
            await bench.settler.settle(*settlement, opened=False)
        assert bench.settler.waiting == 0
        assert (await bench.books())[0] == 0


@pytest.mark.parametrize(
    ("when", "charged"), [("before", (0, 0, 0)), ("after", (0, 500, 500))], ids=["not", "perhaps"]
)
async def test_a_call_whose_row_was_not_written_is_charged_in_neither_store_or_in_both(
    when: Moment, charged: tuple[int, int, int], tmp_path: Path, clock: FakeClock
) -> None:
    """Its caller is refused. What may have been written is written again before it is counted."""
    async with bench_in(tmp_path, clock) as bench:
        settlement = await bench.call("r1", opened=False)
        bench.ledger_trouble.fails(when, "settle")
        with pytest.raises(StorageUnavailable):
            await bench.settler.settle(*settlement, opened=False)
        bench.ledger_trouble.ends()
        await bench.settler.retry()
        assert await bench.books() == charged


async def test_late_settlements_are_tried_every_second_until_they_are_taken(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with bench_in(tmp_path, clock) as bench:
        settlements = [await bench.call(f"r{number}", 100) for number in range(3)]
        bench.shared_trouble.fails("before", "settle")
        for settlement in settlements:
            await bench.settler.settle(*settlement, opened=True)
        running = asyncio.ensure_future(bench.settler.run())
        await settle()
        asked = len(bench.shared_trouble.asked)
        await clock.advance(3.0)
        assert len(bench.shared_trouble.asked) == asked + 3, "one try a pass, the rest would fail"
        bench.shared_trouble.ends()
        await clock.advance(1.0)
        assert bench.settler.waiting == 0
        assert await bench.books() == (0, 300, 300)
        running.cancel()
        await asyncio.wait([running])


async def test_past_the_bound_of_what_waits_calls_are_refused_until_there_is_room(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with bench_in(tmp_path, clock, kept=2) as bench:
        settlements = [await bench.call(f"r{number}") for number in range(2)]
        bench.shared_trouble.fails("before", "settle")
        await bench.settler.settle(*settlements[0], opened=True)
        bench.settler.check()
        await bench.settler.settle(*settlements[1], opened=True)
        with pytest.raises(StorageUnavailable, match="wait"):
            bench.settler.check()
        bench.shared_trouble.ends()
        await bench.settler.retry()
        bench.settler.check()


async def test_what_a_dead_process_left_is_settled_once_at_the_amount_held(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Even where the counters cannot be reached at that moment."""
    async with bench_in(tmp_path, clock) as bench:
        await bench.shared.admit("r1", CLAIMS, 600.0)
        async with bench_in(tmp_path, clock) as dead:
            await dead.ledger.open(row("r1", claims=CLAIMS, hold_nano=700))
        bench.shared_trouble.fails("before", "settle")
        assert await bench.settler.recover() == 1
        assert await bench.settler.recover() == 0
        bench.shared_trouble.ends()
        await bench.settler.retry()
        assert await bench.books() == (0, 700, 700)
        [ended] = await bench.ledger.rows("r1")
        assert (ended.outcome, ended.cost_basis) == ("interrupted", "estimated")


async def test_a_pass_that_is_cancelled_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """The gateway ends while it tries again: what was under way is tried once more at the end."""
    async with bench_in(tmp_path, clock) as bench:
        settlement = await bench.call("r1")
        bench.ledger_trouble.fails("before", "settle")
        await bench.settler.settle(*settlement, opened=True)
        bench.ledger_trouble.ends()
        for turns in range(4):
            task = asyncio.ensure_future(bench.settler.retry())
            await settle(turns)
            task.cancel()
            await asyncio.wait([task])
        await bench.settler.retry()
        assert bench.settler.waiting == 0
        assert await bench.books() == (0, 500, 500)
