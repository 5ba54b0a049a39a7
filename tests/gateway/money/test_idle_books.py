"""Users and overhead make the bill, to the nano-dollar, for every hour; also when nobody called."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.money.committed import HOUR_S, IDLE, bill
from gateway.money.idle_books import IdleBooks
from gateway.policy.model import Policy
from gateway.storage.base import LedgerRow
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.assembled import PATIENCE_S, POLICY, read

HOURLY = 2_690_000_001
EPOCH = 1_767_225_600
"""2026-01-01, a whole hour, at which the test's clock begins."""
COMMITTED = """
commitments:
  gpu: {backend: home, per_hour: 2.690000001, start: 2026-01-01, source: test}
"""


class Books:
    """The books of one gateway, over a real ledger."""

    def __init__(self, folder: Path, clock: FakeClock, text: str = POLICY + COMMITTED) -> None:
        self.policy: Policy = read(text)
        self.clock = clock
        path = folder / "ledger.db"
        self.ledger = SqliteLedger(path, clock=clock, write_timeout_s=PATIENCE_S)
        self.books = IdleBooks(policy=lambda: self.policy, ledger=self.ledger, clock=clock)
        self.calls = 0

    async def call(self, nano: int, user: str = "alice", **fields: Any) -> None:
        self.calls += 1
        values: dict[str, Any] = {
            "id": f"req_{self.calls}",
            "outcome": "success",
            "started_at": self.clock.time(),
            "key_id": f"key_{user}",
            "user": user,
            "model": "chat",
            "task": "chat",
            "backend": "home",
            "cost_nano": nano,
        }
        await self.ledger.settle([LedgerRow(**(values | fields))])

    async def spent(self, *, hour: int | None = None, **where: str) -> int:
        since = None if hour is None else EPOCH + hour * HOUR_S
        until = None if since is None else since + HOUR_S
        query = UsageQuery(
            since=since, until=until, group_by=(), where={"backend": "home", **where}
        )
        return sum(row.cost_nano for row in (await self.ledger.usage(query)).rows)

    async def hours_pass(self, hours: float) -> None:
        self.clock.move(hours * HOUR_S)
        await self.books.book()


async def test_an_hour_in_which_nobody_called_is_overhead(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock)
    await books.hours_pass(3.1)
    assert [await books.spent(hour=hour, user=IDLE) for hour in range(4)] == [HOURLY] * 3 + [0]
    await books.ledger.aclose()


async def test_users_and_overhead_are_the_bill(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock)
    await books.call(1_000_000_007)
    await books.call(55, user="bob", kind="ping")
    await books.hours_pass(1.1)
    assert await books.spent(hour=0) == HOURLY
    assert await books.spent(user=IDLE) == HOURLY - 1_000_000_062
    await books.ledger.aclose()


async def test_what_settles_late_is_a_row_of_its_own_and_changes_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    began = clock.time()
    await books.hours_pass(1.1)
    before = await books.ledger.rows("idle_gpu_2026-01-01T00:00Z_0")
    await books.call(7, started_at=began)
    await books.hours_pass(0.1)
    await books.hours_pass(0.1)
    assert await books.spent(hour=0) == HOURLY
    assert await books.ledger.rows("idle_gpu_2026-01-01T00:00Z_0") == before
    [late] = await books.ledger.rows("idle_gpu_2026-01-01T00:00Z_1")
    assert (late.cost_nano, late.user) == (-7, IDLE)
    assert await books.ledger.rows("idle_gpu_2026-01-01T00:00Z_2") == []
    await books.ledger.aclose()


async def test_hours_without_a_gateway_are_booked_by_the_next_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    await books.hours_pass(2.1)
    await books.ledger.aclose()
    clock.move(500 * HOUR_S)
    after = Books(tmp_path, clock)
    await after.hours_pass(0)
    assert await after.spent() == 502 * HOURLY
    await after.ledger.aclose()


async def test_two_gateways_with_one_ledger_book_each_hour_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    one, two = Books(tmp_path, clock), Books(tmp_path, clock)
    await one.call(12)
    clock.move(1.1 * HOUR_S)
    await one.books.book()
    await two.books.book()
    assert await one.spent() == HOURLY
    await one.ledger.aclose()
    await two.ledger.aclose()


async def test_an_hour_is_not_booked_before_most_of_its_calls_have_settled(
    tmp_path: Path, clock: FakeClock
) -> None:
    books = Books(tmp_path, clock)
    await books.hours_pass(1.05)
    assert await books.spent() == 0
    await books.ledger.aclose()


@pytest.mark.parametrize(
    "rule", ["overhead", "by_use", "by_reservation, shares: {alice: 3, bob: 4}"]
)
async def test_a_week_of_calls_leaves_nothing_over(
    rule: str, tmp_path: Path, clock: FakeClock
) -> None:
    """Whoever pays for what nobody used; calls settle late, and the gateway is away for a day."""
    text = POLICY + COMMITTED.replace("source: test", f"source: test, idle: {rule}")
    books, seeded = Books(tmp_path, clock, text), random.Random(5)
    late: list[float] = []
    for _ in range(168):
        for _ in range(seeded.randrange(4)):
            await books.call(seeded.randrange(10**9), seeded.choice(["alice", "bob", "eve"]))
        if seeded.random() < 0.2:
            late.append(clock.time())
        if late and seeded.random() < 0.2:
            await books.call(seeded.randrange(10**8), started_at=late.pop())
        clock.move(HOUR_S)
        if seeded.random() < 0.7:
            await books.books.book()
    await books.hours_pass(0.1)
    ours = list(books.policy.commitments.values())
    for hour in range(168):
        since = EPOCH + hour * HOUR_S
        assert await books.spent(hour=hour) == bill(ours, since, since + HOUR_S) == HOURLY
    if "by_reservation" in rule:
        assert await books.spent(user=IDLE) == 0
    await books.ledger.aclose()


async def test_what_nobody_used_is_no_users_budget(tmp_path: Path, clock: FakeClock) -> None:
    books = Books(tmp_path, clock, POLICY + COMMITTED.replace("source: test", "idle: by_use"))
    await books.call(5)
    await books.hours_pass(1.1)
    assert await books.spent(user="alice") == HOURLY
    [spent] = await books.ledger.spent_since(0)
    assert spent.nano_usd == 5
    await books.ledger.aclose()


# --- a policy that changes ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "later",
    [
        COMMITTED.replace("2.690000001", "3.69"),
        COMMITTED.replace("start:", "end: 2026-01-01T05:00Z, start:"),
        COMMITTED.replace("source: test", "idle: by_use"),
        COMMITTED.replace("backend: home", "backend: burst"),
        "",
    ],
    ids=["another price", "an end that has passed", "another rule", "another backend", "none"],
)
@pytest.mark.parametrize("restarts", [False, True])
async def test_what_was_booked_stays_whatever_the_policy_says_later(
    later: str, restarts: bool, tmp_path: Path, clock: FakeClock
) -> None:
    """A new price is a new commitment, from when it holds."""
    books = Books(tmp_path, clock)
    await books.call(5)
    await books.hours_pass(10.1)
    if restarts:
        await books.ledger.aclose()
        books = Books(tmp_path, clock, POLICY + later)
    else:
        books.policy = read(POLICY + later)
    for _ in range(2):
        await books.books.book()
    rows = (await books.ledger.usage(UsageQuery(group_by=(), until=EPOCH + 10 * HOUR_S))).rows
    assert sum(row.cost_nano for row in rows) == 10 * HOURLY
    await books.ledger.aclose()


async def test_each_of_two_commitments_in_an_hour_is_charged_by_its_own_rule(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A minute for one, the rest of the hour for another."""
    text = (
        POLICY
        + """
commitments:
  old: {backend: home, per_hour: 0.6, start: 2026-01-01, end: 2026-01-01T00:01Z,
        idle: by_reservation, shares: {zed: 1}}
  new: {backend: home, per_hour: 6, start: 2026-01-01T00:01Z}
"""
    )
    books = Books(tmp_path, clock, text)
    await books.hours_pass(1.1)
    assert await books.spent(user="zed") == 10_000_000
    assert await books.spent(user=IDLE) == 5_900_000_000
    await books.ledger.aclose()
