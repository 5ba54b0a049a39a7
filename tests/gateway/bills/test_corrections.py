"""Corrections: the ledger's totals become the bill's, by rows of their own, whatever comes late."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.errors import BackendError, FailureClass
from adapters.fake import Fake
from adapters.types import Bill, BillLine
from gateway.bills.booking import book, open_causes
from gateway.bills.causes import CauseName
from gateway.bills.comparison import Comparison
from gateway.bills.corrections import NAMES
from gateway.bills.kept_bills import KeptBills
from gateway.bills.periods import DAY, HOUR, Period
from gateway.bills.reconciler import Unpriced, compare
from gateway.bills.watch import BillWatch
from gateway.clock import FakeClock
from gateway.money.committed import IDLE
from gateway.policy.model import Policy
from gateway.storage.base import LedgerRow
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.assembled import PATIENCE_S, POLICY, read
from tests.waiting import until

MIDNIGHT = 1_767_225_600
"""2026-01-01, at which the test's clock begins."""
NANO = 10**9


class Billed(Fake):
    """A fake whose platform states bills."""

    lines: tuple[BillLine, ...] = ()
    failure: BackendError | None = None
    asked = 0

    async def bill(self, start: float, end: float) -> Bill:
        self.asked += 1
        if self.failure is not None:
            raise self.failure
        return Bill(start=start, end=end, lines=self.lines)


def a_day(number: int, nano: int | None, seconds: float | None = None, **more: Any) -> BillLine:
    start = float(MIDNIGHT + number * DAY)
    return BillLine(start=start, end=start + DAY, cost_nano=nano, seconds=seconds, **more)


class Books:
    """A ledger, and the bills of one backend."""

    def __init__(self, folder: Path, clock: FakeClock, text: str = POLICY) -> None:
        self.policy: Policy = read(text)
        self.clock = clock
        self.ledger = SqliteLedger(folder / "ledger.db", clock=clock, write_timeout_s=PATIENCE_S)
        spec = self.policy.backends["burst"]
        self.backend = Billed("burst", spec.settings, clock)
        self.watch = BillWatch(
            policy=lambda: self.policy,
            backends=lambda: {"burst": self.backend},
            ledger=self.ledger,
            kept=KeptBills(folder / "bills.db"),
            clock=clock,
        )
        self._calls = 0

    async def call(self, day: int, nano: int, seconds: float = 0.0, **fields: Any) -> None:
        self._calls += 1
        values: dict[str, Any] = {
            "id": f"req_{self._calls}",
            "outcome": "success",
            "started_at": MIDNIGHT + day * DAY + 60.0,
            "key_id": "key_alice",
            "user": "alice",
            "model": "chat",
            "task": "chat",
            "backend": "burst",
            "cost_nano": nano,
            "gpu_us": round(seconds * 10**6),
        }
        await self.ledger.settle([LedgerRow(**(values | fields))])

    async def compared(self, days: int, *lines: BillLine) -> Comparison:
        period = Period(MIDNIGHT, MIDNIGHT + days * DAY)
        bill = Bill(start=period.start, end=period.end, lines=lines)
        return await compare(self.policy, self.policy.backends["burst"], bill, period, self.ledger)

    async def booked(self, days: int, *lines: BillLine) -> int:
        found = await self.compared(days, *lines)
        return await book(found, self.ledger, now_at=MIDNIGHT + days * DAY, version="v")

    async def spent(self, *group_by: str) -> dict[tuple[str, ...], int]:
        rows = (await self.ledger.usage(UsageQuery(group_by=group_by))).rows
        return {tuple(row.group[name] for name in group_by): row.cost_nano for row in rows}


async def test_what_is_booked_makes_the_days_of_the_ledger_those_of_the_bill(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    await books.call(0, NANO, 1000.0)
    await books.call(1, 2 * NANO, 2000.0)
    lines = (a_day(0, NANO + 500, 1500.0), a_day(1, NANO, 1000.0, parts={"fee": 7}))
    assert await books.booked(2, *lines) > 0
    assert await books.spent("day") == {
        ("2026-01-01",): NANO + 500,
        ("2026-01-02",): NANO,
    }
    by_kind = await books.spent("kind")
    assert by_kind["call",] == 3 * NANO
    assert by_kind["correction",] == 500 - NANO
    await books.ledger.aclose()


async def test_idle_time_is_nobodys_and_each_cause_has_a_row(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    await books.call(0, NANO, 1000.0)
    await books.booked(1, a_day(0, 2 * NANO, 1500.0, parts={"fee": 10**8}))
    assert await books.spent("kind", "reason", "user") == {
        ("call", "", "alice"): NANO,
        ("correction", "idle", IDLE): 500_000_000,
        ("correction", "price", "system:corrections"): 400_000_000,
        ("correction", "fees", "system:corrections"): 100_000_000,
    }
    found = await books.compared(1, a_day(0, 2 * NANO, 1500.0, parts={"fee": 10**8}))
    assert (found.open, found.corrected, found.difference) == (0, NANO, NANO)
    await books.ledger.aclose()


async def test_what_is_booked_is_not_booked_again(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock)
    await books.call(0, NANO, 1000.0)
    line = a_day(0, 3 * NANO, 1200.0)
    assert await books.booked(1, line) == 2
    assert await books.booked(1, line) == 0
    await books.ledger.aclose()


async def test_a_bill_that_says_otherwise_later_is_another_row(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    await books.booked(1, a_day(0, 100))
    await books.booked(1, a_day(0, 40))
    await books.booked(1)
    rows = await books.ledger.rows("correction_burst_2026-01-01_1")
    assert [row.cost_nano for row in rows] == [-60]
    assert await books.spent("day") == {("2026-01-01",): 0}
    await books.ledger.aclose()


async def test_a_day_that_has_not_ended_is_not_booked(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock)
    found = await books.compared(1, a_day(0, 100))
    assert await book(found, books.ledger, now_at=MIDNIGHT + DAY - 1.0, version="v") == 0
    await books.ledger.aclose()


async def test_who_compared_before_another_booked_books_nothing_twice(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    line = a_day(0, 3 * NANO, 1200.0, parts={"fee": 7})
    first, second = [await books.compared(1, line) for _ in range(2)]
    for found in (first, second):
        await book(found, books.ledger, now_at=MIDNIGHT + DAY, version="v")
    assert await books.spent("day") == {("2026-01-01",): 3 * NANO}
    await books.ledger.aclose()


async def test_of_many_who_book_at_once_each_cause_is_booked_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    found = await books.compared(1, a_day(0, 3 * NANO, 1200.0, parts={"fee": 7}))
    several: tuple[tuple[CauseName, ...], ...] = (("fees",), NAMES, ("idle", "fees"), ("price",))
    await asyncio.gather(
        *(
            book(found, books.ledger, now_at=MIDNIGHT + DAY, version="v", causes=causes)
            for causes in several * 3
        )
    )
    assert await books.spent("reason") == {
        (cause.name,): cause.nano for cause in found.days[0].causes
    }
    await books.ledger.aclose()


async def test_causes_that_are_not_chosen_stay_open(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock)
    line = a_day(0, 3 * NANO, 1200.0, parts={"fee": 7})
    found = await books.compared(1, line)
    fees: tuple[CauseName, ...] = ("fees",)
    await book(found, books.ledger, now_at=MIDNIGHT + DAY, version="v", causes=fees)
    left = await books.compared(1, line)
    assert (left.corrected, left.open) == (7, 3 * NANO - 7)
    assert set(open_causes(left.days[0])) == {"price", "idle"}
    assert await books.booked(1, line) == 2
    assert (await books.compared(1, line)).open == 0
    await books.ledger.aclose()


async def test_corrections_count_for_no_limit(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock)
    await books.call(0, 5)
    await books.booked(1, a_day(0, 100))
    [spent] = await books.ledger.spent_since(MIDNIGHT)
    assert (spent.user, spent.nano_usd) == ("alice", 5)
    await books.ledger.aclose()


async def test_seconds_alone_are_priced_by_the_policy_or_not_at_all(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    found = await books.compared(1, a_day(0, None, 1000.0))
    assert (found.billed, found.priced_here) == (NANO, True)
    books.policy = read(POLICY.replace("per_second: 0.001, bills: [start, run]", "per_call: 1"))
    with pytest.raises(Unpriced, match="has no per_second"):
        await books.compared(1, a_day(0, None, 1000.0))
    await books.ledger.aclose()


amounts = st.integers(-(10**12), 10**12)


@settings(max_examples=15, deadline=None)
@given(
    bills=st.lists(
        st.tuples(amounts, st.none() | st.integers(0, 10**5), st.integers(0, 10**6)),
        min_size=1,
        max_size=4,
    ),
    calls=st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**5)), max_size=4),
)
def test_after_any_bills_and_late_calls_the_total_is_the_last_bill(
    bills: list[tuple[int, int | None, int]], calls: list[tuple[int, int]]
) -> None:
    """Rows settle between two bookings; each booking makes up for what the one before could not
    know."""

    async def check(folder: Path) -> None:
        books = Books(folder, FakeClock())
        late = iter(calls)
        for nano, seconds, fee in bills:
            for cost, ran in [next(late, (0, 0))]:
                await books.call(0, cost, float(ran))
            line = a_day(0, nano, seconds, parts={"fee": fee})
            await books.booked(1, line)
            assert sum((await books.spent("day")).values()) == nano
            assert (await books.compared(1, line)).open == 0
        await books.ledger.aclose()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder)))


# --- while the gateway runs ---------------------------------------------------------------------

WATCHED = POLICY + "reconcile: {every: 6h, days: 2, threshold: 5%}\n"


async def test_bills_are_asked_as_often_as_the_policy_says(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock, WATCHED)
    task = asyncio.create_task(books.watch.run())
    await clock.advance(0.0)
    await clock.advance(299.0)
    assert books.backend.asked == 0
    await clock.advance(2.0)
    await until(lambda: bool(list(books.watch.readings())), "the first bill is compared")
    assert books.backend.asked == 1
    await clock.advance(6 * HOUR - 600)
    assert books.backend.asked == 1
    await clock.advance(900)
    assert books.backend.asked == 2
    task.cancel()
    await books.ledger.aclose()


async def test_without_a_word_in_the_policy_nobody_is_asked(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    task = asyncio.create_task(books.watch.run())
    await clock.advance(0.0)
    await clock.advance(3 * DAY)
    assert books.backend.asked == 0
    task.cancel()
    await books.ledger.aclose()


async def test_a_large_difference_is_a_warning_and_a_gauge(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books(tmp_path, clock, WATCHED)
    clock.move(2 * DAY + 60)
    await books.call(0, NANO, 1000.0)
    books.backend.lines = (a_day(0, int(1.04 * NANO), 1040.0),)
    with caplog.at_level(logging.WARNING):
        await books.watch.look()
    assert caplog.messages == []
    books.backend.lines = (a_day(0, 2 * NANO, 2000.0),)
    with caplog.at_level(logging.WARNING):
        await books.watch.look()
    assert "burst: billed 2 USD" in caplog.messages[0]
    assert "1 USD are in no row; spillgate usage --reconcile burst says why" in caplog.messages[0]
    gauges = {name: value for name, _, _, value in books.watch.readings()}
    assert gauges == {"spillgate_bill_usd": 2.0, "spillgate_bill_difference_usd": 1.0}
    assert "correction" not in {kind for (kind,) in await books.spent("kind")}
    await books.ledger.aclose()


async def test_differences_are_booked_where_the_policy_says_so(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock, WATCHED.replace("5%", "5%, book: true"))
    clock.move(2 * DAY + 60)
    books.backend.lines = (a_day(0, 2 * NANO, 2000.0), a_day(1, 1, None))
    await books.watch.look()
    assert await books.spent("day", "user") == {
        ("2026-01-01", IDLE): 2 * NANO,
        ("2026-01-02", "system:corrections"): 1,
    }
    assert {value for _, _, _, value in books.watch.readings()} == {2.000000001, 0.0}
    await books.ledger.aclose()


async def test_a_page_s_file_that_cannot_be_written_holds_up_no_correction(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books(tmp_path, clock, WATCHED.replace("5%", "5%, book: true"))
    clock.move(2 * DAY + 60)
    (tmp_path / "bills.db").write_text("no database at all, but text " * 40)
    books.backend.lines = (a_day(0, 2 * NANO, 2000.0),)
    with caplog.at_level(logging.WARNING):
        await books.watch.look()
    assert (await books.spent("kind"))["correction",] == 2 * NANO
    assert "burst: its bill is not kept for the console" in caplog.messages[-1]
    gauges = {name: value for name, _, _, value in books.watch.readings()}
    assert gauges["spillgate_bill_difference_usd"] == 0.0
    await books.ledger.aclose()


async def test_a_bill_that_cannot_be_had_is_a_warning_and_ends_nothing(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    books = Books(tmp_path, clock, WATCHED)
    clock.move(2 * DAY)
    books.backend.failure = BackendError(FailureClass.CREDENTIAL, "The key is not theirs.")
    await books.watch.look()
    assert caplog.messages == ["burst: no bill could be compared: The key is not theirs."]
    assert list(books.watch.readings()) == []
    await books.ledger.aclose()
