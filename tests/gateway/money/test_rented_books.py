"""What several gateways have rented at one backend is booked in one ledger: of each all hours, and
users, calls and overhead are the bill."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.money.committed import HOUR_S, IDLE, bill
from gateway.money.idle_books import IdleBooks
from gateway.policy.sections.commitments import Commitment
from gateway.storage.base import LedgerRow
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.assembled import PATIENCE_S, POLICY, read

HOURLY = 2_690_000_000


class Gateways:
    """Each with a connection to the ledger, and with instances that it alone knows of."""

    def __init__(self, folder: Path, clock: FakeClock, count: int) -> None:
        self.clock = clock
        self.began = int(clock.time())
        path = folder / "ledger.db"
        self.ledgers = [
            SqliteLedger(path, clock=clock, write_timeout_s=PATIENCE_S) for _ in range(count)
        ]
        self.rented: list[dict[str, Commitment]] = [{} for _ in range(count)]
        policy = read(POLICY)
        self.books = [
            IdleBooks(
                policy=lambda: policy,
                ledger=ledger,
                clock=clock,
                rented=lambda of=of: of,  # type: ignore[misc]
            )
            for ledger, of in zip(self.ledgers, self.rented, strict=True)
        ]
        self.calls = 0

    def rent(self, number: int, began: int, ended: int | None = None, rate: int = HOURLY) -> None:
        name = f"reserve_pods_{number}{len(self.rented[number])}"
        self.rented[number][name] = Commitment(
            backend="home", per_hour=rate, start=began, end=ended
        )

    async def call(self, nano: int, at: float, user: str = "alice") -> None:
        self.calls += 1
        row = LedgerRow(
            id=f"req_{self.calls}",
            outcome="success",
            started_at=at,
            key_id="key",
            user=user,
            model="chat",
            task="chat",
            backend="home",
            cost_nano=nano,
        )
        await self.ledgers[0].settle([row])

    async def spent(self, hour: int, **where: str) -> int:
        since = self.began + hour * HOUR_S
        query = UsageQuery(since=since, until=since + HOUR_S, group_by=(), where=where)
        return sum(row.cost_nano for row in (await self.ledgers[0].usage(query)).rows)

    async def aclose(self) -> None:
        for ledger in self.ledgers:
            await ledger.aclose()

    def bill(self, hour: int) -> int:
        since = self.began + hour * HOUR_S
        every = [one for of in self.rented for one in of.values()]
        return bill(every, since, since + HOUR_S)


@pytest.fixture
def three(tmp_path: Path, clock: FakeClock) -> Gateways:
    return Gateways(tmp_path, clock, 3)


@pytest.mark.parametrize("used", [0, 1_000_000_007], ids=["unused", "used"])
@pytest.mark.parametrize("at_once", [False, True], ids=["in turn", "at once"])
async def test_an_hour_of_two_gateways_is_booked_for_both(
    three: Gateways, used: int, at_once: bool
) -> None:
    three.rent(0, three.began)
    three.rent(1, three.began)
    if used:
        await three.call(used, three.began + 5)
    three.clock.move(1.1 * HOUR_S)
    for _ in range(2):
        if at_once:
            await asyncio.gather(*(books.book() for books in three.books))
        else:
            for books in three.books:
                await books.book()
    assert await three.spent(0) == 2 * HOURLY
    assert await three.spent(0, user=IDLE) == 2 * HOURLY - used
    await three.aclose()


async def test_a_gateway_that_was_away_adds_its_own_to_hours_that_others_have_booked(
    three: Gateways,
) -> None:
    three.rent(0, three.began)
    three.rent(1, three.began + 600, three.began + 600 + 5 * HOUR_S)
    three.clock.move(120.1 * HOUR_S)
    await three.books[0].book()
    three.clock.move(HOUR_S)
    await three.books[1].book()
    assert [await three.spent(hour) for hour in range(120)] == [
        three.bill(hour) for hour in range(120)
    ]
    await three.aclose()


@pytest.mark.parametrize("seed", range(3))
async def test_days_of_three_gateways_leave_nothing_over(three: Gateways, seed: int) -> None:
    """Instances come and go, calls settle late, gateways book in any order, at once, or are
    away."""
    seeded = random.Random(seed)
    late: list[float] = []
    for _ in range(20):
        now = int(three.clock.time())
        if seeded.random() < 0.5:
            began = now + seeded.randrange(HOUR_S)
            ended = began + seeded.randrange(1, 9) * HOUR_S
            three.rent(seeded.randrange(3), began, ended, seeded.randrange(1, 5 * 10**9))
        for _ in range(seeded.randrange(3)):
            await three.call(seeded.randrange(10**9), now + 7.0, seeded.choice(["alice", "bob"]))
        late.append(now + 9.0)
        if seeded.random() < 0.3:
            await three.call(seeded.randrange(10**8), seeded.choice(late))
        three.clock.move(HOUR_S)
        some = seeded.sample(three.books, seeded.randrange(4))
        await asyncio.gather(*(books.book() for books in some))
    three.clock.move(0.1 * HOUR_S)
    for _ in range(2):
        for books in three.books:
            await books.book()
    for hour in range(20):
        if three.bill(hour):
            assert await three.spent(hour) == three.bill(hour), hour
    await three.aclose()


async def test_hours_of_what_is_known_later_are_booked_from_the_first_on(
    three: Gateways, clock: FakeClock
) -> None:
    """A look for which nobody knew what was rented is not the first one."""
    known: list[dict[str, Commitment]] = []
    policy = read(POLICY)
    books = IdleBooks(
        policy=lambda: policy,
        ledger=three.ledgers[0],
        clock=clock,
        rented=lambda: known[0] if known else None,
    )
    three.rent(0, three.began)
    clock.move(120.1 * HOUR_S)
    await books.book()
    known.append(three.rented[0])
    await books.book()
    assert [await three.spent(hour) for hour in range(120)] == [HOURLY] * 120
    await three.aclose()
