"""Settlements that a store did not take: kept, tried again, and counted once whoever tries."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock, settle
from gateway.metrics import Metrics
from gateway.money.settling.settlement import Settler
from gateway.storage.base import Claim, Counted, LedgerRow, MaybeWritten, StorageUnavailable
from gateway.storage.memory import MemorySharedStore
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.types import Unit
from tests.gateway.storage.sqlite.ledger_rows import NOON, ledger_at, open_row, settled_row
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


class HangingStore(StumblingStore):
    """Keeps a settlement waiting until it may be taken."""

    lets: asyncio.Event | None = None

    def forget(self) -> None:
        assert isinstance(self._clock, FakeClock)
        super().__init__(self._clock)

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        if self.lets is not None:
            await self.lets.wait()
        return await super().settle(hold_id, claims, actual)


class DoubtfulLedger(SqliteLedger):
    """Says what is asked of it for the next settlements: taken or not, known or not."""

    writes = True
    answers = True

    def settle(self, rows: Sequence[LedgerRow]) -> Awaitable[None]:
        return self._settle(rows)

    async def _settle(self, rows: Sequence[LedgerRow]) -> None:
        if self.writes:
            await super().settle(rows)
        if not self.answers:
            raise MaybeWritten("slow") if self.writes else StorageUnavailable("down")


async def emptied(settler: Settler, store: HangingStore, ledger: SqliteLedger) -> None:
    """The store has lost its memory, and is filled from the ledger and by what waits."""
    store.forget()
    await filled(settler, store, ledger)


async def filled(settler: Settler, store: HangingStore, ledger: SqliteLedger) -> None:
    async with settler.stands_still():
        await settler.reinstate()
        sums = await ledger.spent_since(0.0)
        spent_nano = sum(one.nano_usd for one in sums)
        await store.restore([Counted(MONEY.scope, "nano_usd", MONEY.window, spent_nano)])


@settings(max_examples=40, deadline=None)
@given(
    written=st.booleans(),
    empties=st.integers(1, 2),
    steps=st.lists(
        st.sampled_from(["retry", "broken off", "fill", "emptied", "half filled"]), max_size=5
    ),
)
def test_what_waits_for_the_ledger_counts_once_whatever_comes_between(
    written: bool, empties: int, steps: list[str]
) -> None:
    """Whether the row was written or not when nobody could say so."""

    async def run() -> None:
        clock = FakeClock(NOON)
        with tempfile.TemporaryDirectory() as folder:
            ledger = DoubtfulLedger(Path(folder) / "ledger.db", clock=clock)
            store = HangingStore(clock)
            settler = settler_over(store, ledger, clock)
            await settler.settle((settled_row("c0", cost_nano=5),), (MONEY,), opened=True)
            ledger.writes, ledger.answers = written, False
            await settler.settle((settled_row("c1", cost_nano=7),), (MONEY,), opened=True)
            for _ in range(empties):
                await emptied(settler, store, ledger)
                assert await spent(store) == 12
            for step in steps:
                ledger.writes = ledger.answers = step in ("retry", "broken off")
                if step == "retry":
                    await settler.retry()
                elif step == "broken off":
                    store.lets = asyncio.Event()
                    trying = asyncio.ensure_future(settler.retry())
                    await settle()
                    trying.cancel()
                    await asyncio.wait([trying])
                    store.lets = None
                elif step == "half filled":
                    store.forget()
                    with contextlib.suppress(StorageUnavailable):
                        async with settler.stands_still():
                            await settler.reinstate()
                            raise StorageUnavailable("the sums cannot be read")
                    await settler.retry()
                    await filled(settler, store, ledger)
                elif step == "fill":
                    await filled(settler, store, ledger)
                else:
                    await emptied(settler, store, ledger)
                assert await spent(store) == 12, step
            ledger.writes = ledger.answers = True
            await settler.retry()
            assert (settler.waiting, await spent(store)) == (0, 12)
            assert sum(one.nano_usd for one in await ledger.spent_since(0.0)) == 12
            await ledger.aclose()

    asyncio.run(run())


async def test_late_rows_are_worked_off_before_calls_have_to_wait(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A call that ends meanwhile is settled at once, however many rows there are."""
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        store = HangingStore(clock)
        settler = settler_over(store, ledger, clock)
        await late(settler, store, 3)
        store.lets = asyncio.Event()
        filling = asyncio.ensure_future(filled(settler, store, ledger))
        await settle()
        await settler.settle((settled_row("c1", cost_nano=7),), (), opened=True)
        assert (settler.waiting, filling.done()) == (3, False)
        store.lets.set()
        await filling
        assert (settler.waiting, await spent(store)) == (0, 37)
