"""Counters are filled while calls end: nothing waits for the sums, and everything counts once."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.money.counted import Limited
from gateway.money.settling.settlement import Settler
from gateway.money.settling.windows import Windows
from gateway.storage.base import Claim, Counted, LedgerRow, RowKind
from gateway.storage.spent import Spent
from gateway.types import MICRO, Unit
from tests.gateway.money.test_late_settlements import (
    MONEY,
    DoubtfulLedger,
    HangingStore,
    settler_over,
    spent,
)
from tests.gateway.storage.sqlite.ledger_rows import NOON, settled_row

LIMITS: Limited = {"month": {("user", "nano_usd")}}
NANO = 7


class EmptiedStore(HangingStore):
    """As a server's: what ends before it is filled again is in the ledger's sums, or is held."""

    is_filled = True

    def forget(self) -> None:
        super().forget()
        self.is_filled = False

    async def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> int:
        return await super().settle(hold_id, claims, actual) if self.is_filled else 0

    async def restore(self, spent: Iterable[Counted]) -> None:
        await super().restore(spent)
        self.is_filled = True


class Counters:
    """A settler over both stores, and what it was told of calls."""

    def __init__(self, folder: str, clock: FakeClock) -> None:
        self.clock = clock
        self.ledger = DoubtfulLedger(Path(folder) / "ledger.db", clock=clock)
        self.store = EmptiedStore(clock)
        self.settler: Settler = settler_over(self.store, self.ledger, clock)
        self.calls = 0

    async def ends(self, *, writes: bool = True, answers: bool = True) -> None:
        """A call ends; its row is written or not, and the ledger says so or not."""
        self.ledger.writes, self.ledger.answers = writes, answers
        row = settled_row(f"c{self.calls}", user="a", cost_nano=NANO, started_at=self.clock.time())
        self.calls += 1
        await self.settler.settle((row,), (MONEY,), opened=True)

    async def happens(self, step: str) -> None:
        """What may happen while sums are read."""
        if step == "retried":
            self.ledger.writes = self.ledger.answers = True
            await self.settler.retry()
        elif step == "begun again":
            self.ledger.writes, self.ledger.answers = True, False
            await self.settler.retry()
        else:
            writes, answers = "unwritten" not in step, "in doubt" not in step
            await self.ends(writes=writes, answers=writes and answers)

    async def filled(self, steps: list[str]) -> None:
        windows = Windows(LIMITS, self.clock.time())
        async with self.settler.sums(windows.queries) as (sums, noted):
            for step in steps:
                await self.happens(step)
            async with self.settler.stands_still():
                await self.settler.reinstate(noted)
                counted = windows.counted(sums, noted.rows, self.clock.time())
                await self.store.restore(counted)


STEPS = st.lists(
    st.sampled_from(["ends", "in doubt", "unwritten", "retried", "begun again"]), max_size=4
)


@settings(max_examples=40, deadline=None)
@given(before=STEPS, meanwhile=STEPS, after=STEPS, empties=st.booleans())
def test_what_ends_while_sums_are_read_counts_once(
    before: list[str], meanwhile: list[str], after: list[str], empties: bool
) -> None:
    """In a store that has lost its memory, and in one that knows all."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            counters = Counters(folder, FakeClock(NOON))
            for step in before:
                await counters.happens(step)
            if empties:
                counters.store.forget()
            await counters.filled(meanwhile)
            assert await spent(counters.store) == NANO * counters.calls
            for step in after:
                await counters.happens(step)
            await counters.happens("retried")
            assert await spent(counters.store) == NANO * counters.calls
            await counters.ledger.aclose()

    asyncio.run(run())


async def test_a_call_that_ends_while_sums_are_read_does_not_wait_for_them(
    tmp_path: Path, clock: FakeClock
) -> None:
    counters = Counters(str(tmp_path), clock)
    async with counters.settler.sums(Windows(LIMITS, clock.time()).queries) as (sums, noted):
        await counters.ends()
        assert [row.id for row in noted.rows] == ["c0"]
        assert sums == [[]]
    await counters.ends()
    assert len(noted.rows) == 1
    await counters.ledger.aclose()


def row(id: str, began: float, kind: RowKind = "call") -> LedgerRow:
    return settled_row(id, user="a", cost_nano=NANO, started_at=began, kind=kind)


def test_a_window_that_ends_while_its_sums_are_read_begins_with_what_came_later() -> None:
    """Of a rolling one nothing ends."""
    midnight = NOON - NOON % 86_400 + 86_400
    limits: Limited = {"day": {("user", "nano_usd")}, "24h": {("user", "nano_usd")}}
    windows = Windows(limits, midnight - 1)
    rows = [row("a", midnight - 0.5), row("b", midnight + 0.5), row("c", midnight, "idle")]
    sums = [[_spent(one.step_us, midnight)] for one in windows.queries]
    counted = windows.counted(sums, rows, midnight + 1)
    assert sum(one.amount for one in counted if one.window == "day") == NANO
    assert sum(one.amount for one in counted if one.window == "24h") == 100 + 2 * NANO


def _spent(step_us: int, midnight: float) -> Spent:
    step = round((midnight - 60) * MICRO) // step_us if step_us else 0
    return Spent(user="a", nano_usd=100, step=step)
