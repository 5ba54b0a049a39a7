"""Settlements that a store did not take: kept, tried again, and counted once whoever tries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gateway.clock import FakeClock, settle
from gateway.metrics import Metrics
from gateway.money.settlement import Settler
from gateway.storage.base import Claim, StorageUnavailable
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.types import Unit
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row
from tests.waiting import until

MONEY = Claim("user:a", "nano_usd", "month", 1000, 10)


class StumblingStore(MemorySharedStore):
    """A memory store that can be down, and then finds out by a ping that it is up again."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.down = False
        self.trouble = ""

    @property
    def failing(self) -> str:
        return self.trouble

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        await asyncio.sleep(0)
        self._answer()
        return await super().settle(hold_id, claims, actual)

    async def ping(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.trouble = "it is down" if self.down else ""
        if self.down:
            raise StorageUnavailable(self.trouble)


def settler_over(store: StumblingStore, ledger: SqliteLedger, clock: FakeClock) -> Settler:
    return Settler(shared=store, ledger=ledger, clock=clock, metrics=Metrics())


async def late(settler: Settler, store: StumblingStore, count: int) -> None:
    """``count`` settlements of 10 that the store was too late for."""
    store.down = True
    for number in range(count):
        ended = settled_row(f"h{number}", cost_nano=10)
        await settler.settle((ended,), (MONEY,), opened=True)
    assert settler.waiting == count
    store.down = False


async def spent(store: StumblingStore) -> int:
    (status,) = await store.statuses([MONEY])
    return MONEY.limit - status.remaining


async def test_passes_that_run_at_once_lose_no_settlement_and_double_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    """One a second, one when an emptied store is filled, one at the end: they may meet."""
    store, ledger = StumblingStore(clock), SqliteLedger(tmp_path / "ledger.db")
    settler = settler_over(store, ledger, clock)
    await late(settler, store, 5)
    await asyncio.gather(settler.retry(), settler.retry(), settler.retry())
    assert settler.waiting == 0
    assert await spent(store) == 50
    await ledger.aclose()


async def test_a_pass_that_is_refused_keeps_what_is_left(tmp_path: Path, clock: FakeClock) -> None:
    store, ledger = StumblingStore(clock), SqliteLedger(tmp_path / "ledger.db")
    settler = settler_over(store, ledger, clock)
    await late(settler, store, 2)
    store.down = True
    await settler.retry()
    assert settler.waiting == 2
    store.down = False
    await settler.retry()
    assert (settler.waiting, await spent(store)) == (0, 20)
    await ledger.aclose()


async def test_a_store_that_is_back_is_noticed_though_no_call_comes(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Readiness keeps calls away from a gateway whose store fails; it must not do so for ever."""
    store, ledger = StumblingStore(clock), SqliteLedger(tmp_path / "ledger.db")
    settler = settler_over(store, ledger, clock)
    store.down = True
    store.trouble = "it is down"
    running = asyncio.create_task(settler.run())
    await clock.advance(3.0)
    assert store.failing
    store.down = False
    await clock.advance(1.0)
    await settle()
    assert not store.failing
    running.cancel()
    await asyncio.wait([running])
    await ledger.aclose()


async def test_what_another_gateway_leaves_open_when_it_dies_is_settled_by_who_lives(
    tmp_path: Path, clock: FakeClock
) -> None:
    """At the amount held; its own calls, which are on their way, are left alone."""
    store, ledger = StumblingStore(clock), SqliteLedger(tmp_path / "ledger.db")
    settler = settler_over(store, ledger, clock)
    await ledger.open(open_row("own"))
    dies = SqliteLedger(tmp_path / "ledger.db")
    await dies.open(open_row("left", hold_nano=7))
    running = asyncio.create_task(settler.run())
    await clock.advance(6.0)
    assert [row.id for row in await ledger.take_abandoned()] == []
    await dies.aclose()

    async def is_settled() -> bool:
        await clock.advance(1.0)
        [row] = await ledger.rows("left")
        return (row.outcome, row.cost_nano) == ("interrupted", 7)

    await until(is_settled, "it is settled")
    assert [row.id for row in await ledger.open_rows()] == ["own"]
    running.cancel()
    await asyncio.wait([running])
    await ledger.aclose()
