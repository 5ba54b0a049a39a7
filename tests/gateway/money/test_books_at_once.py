"""Gateways that book the same hours at the same time, in any order of their steps: for every hour
users and overhead are the bill, once none of them writes any more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from gateway.clock import FakeClock
from gateway.money.committed import HOUR_S, bill
from gateway.money.idle_books import IdleBooks
from gateway.policy.model import Policy
from gateway.policy.sections.commitments import Commitment
from gateway.storage.base import Ledger, LedgerRow, MaybeWritten, StorageUnavailable
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.gateway.assembled import PATIENCE_S, POLICY, read

T = TypeVar("T")

_HOURS = 2
_RULES = ("overhead", "by_use", "by_reservation, shares: {alice: 3, bob: 4}")
_USERS = ("alice", "bob", "eve")


class Turns:
    """One of those that wait goes on at a time, which one is drawn."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._waiting: list[asyncio.Future[None]] = []
        self._rests = asyncio.Event()

    async def turn(self) -> None:
        """Waits for the next one of its own."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._rests.set()
        await future

    async def play(self, works: Sequence[Coroutine[Any, Any, None]]) -> None:
        """All of them, to their ends."""
        tasks = []
        for work in works:
            self._rests.clear()
            tasks.append(asyncio.create_task(work))
            tasks[-1].add_done_callback(lambda _: self._rests.set())
            await self._rests.wait()
        while self._waiting:
            chosen = self._waiting.pop(self._draw.randrange(len(self._waiting)))
            self._rests.clear()
            chosen.set_result(None)
            await self._rests.wait()
        await asyncio.gather(*tasks)


class GatewayDied(Exception):
    """Nothing of it runs any more."""


class PlayedLedger:
    """One gateway's way to the ledger that all share. With ``trouble``, a share of what is asked,
    it is not reached, its answer is lost, or the gateway dies there."""

    def __init__(
        self, ledger: SqliteLedger, turns: Turns, draw: random.Random, trouble: float
    ) -> None:
        self._ledger = ledger
        self._turns = turns
        self._draw = draw
        self.trouble = trouble

    async def rows(self, request_id: str) -> list[LedgerRow]:
        return await self._asked(lambda: self._ledger.rows(request_id))

    async def usage(self, query: UsageQuery) -> UsageReport:
        return await self._asked(lambda: self._ledger.usage(query))

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        await self._asked(lambda: self._ledger.settle(rows))

    async def _asked(self, work: Callable[[], Awaitable[T]]) -> T:
        await self._goes_wrong(StorageUnavailable("it is not reached"))
        answer = await work()
        await self._goes_wrong(MaybeWritten("its answer is lost"))
        return answer

    async def _goes_wrong(self, error: StorageUnavailable) -> None:
        await self._turns.turn()
        if self._draw.random() < self.trouble:
            raise self._draw.choice((error, GatewayDied()))


class Day:
    """Some gateways with one ledger and one backend, and the hours of one seed: that is theirs by
    commitments that all know of, or each has rented something there, of which it alone knows."""

    def __init__(self, ledger: SqliteLedger, clock: FakeClock, seed: int, trouble: float) -> None:
        self.draw = random.Random(seed)
        self.ledger = ledger
        self.clock = clock
        self.began = int(clock.time())
        self.turns = Turns(self.draw)
        self.policy = self._policy()
        self.rented = [self._rented(number) for number in range(self.draw.choice((2, 3)))]
        self.ways = [PlayedLedger(ledger, self.turns, self.draw, trouble) for _ in self.rented]
        self.gateways = [
            self._books(way, of) for way, of in zip(self.ways, self.rented, strict=True)
        ]
        self._calls = 0

    def _policy(self) -> Policy:
        """Perhaps a commitment that all know of, which another may follow within an hour."""
        text = "commitments:\n"
        when = {"gpu": "start: 2026-01-01"}
        if self.draw.random() < 0.5:
            when["gpu"] += ", end: 2026-01-01T00:20Z"
            when["more"] = "start: 2026-01-01T00:20Z"
        for name, dates in when.items():
            each = f"per_hour: {self.draw.randrange(1, 5 * 10**9) / 10**9:.9f}, {dates}"
            text += f"  {name}: {{backend: home, {each}, idle: {self.draw.choice(_RULES)}}}\n"
        return read(POLICY + (text if self.draw.random() < 0.5 else ""))

    def _rented(self, number: int) -> dict[str, Commitment]:
        if self.policy.commitments or self.draw.random() < 0.3:
            return {}
        began = self.began + self.draw.randrange(HOUR_S)
        rate = self.draw.randrange(1, 5 * 10**9)
        return {f"pod_{number}": Commitment(backend="home", per_hour=rate, start=began)}

    def _books(self, way: PlayedLedger, rented: dict[str, Commitment]) -> IdleBooks:
        return IdleBooks(
            policy=lambda: self.policy,
            ledger=cast(Ledger, way),
            clock=self.clock,
            rented=lambda: rented,
        )

    async def call(self, *, in_turn: bool) -> None:
        """It began in one of the hours, and is settled only now."""
        if in_turn:
            for _ in range(self.draw.randrange(8)):
                await self.turns.turn()
        self._calls += 1
        user = self.draw.choice(_USERS)
        row = LedgerRow(
            id=f"req_{self._calls}",
            outcome="success",
            started_at=self.began + self.draw.randrange(_HOURS * HOUR_S),
            key_id=f"key_{user}",
            user=user,
            model="chat",
            task="chat",
            backend="home",
            cost_nano=self.draw.randrange(10**9),
        )
        await self.ledger.settle([row])

    async def book(self, books: IdleBooks) -> None:
        """Again and again, as a gateway does, until it dies."""
        for _ in range(self.draw.choice((1, 2))):
            try:
                await books.book()
            except StorageUnavailable:
                continue
            except GatewayDied:
                return

    async def wrong_hours(self) -> dict[int, int]:
        """Hour -> nano-dollars too many, or too few."""
        every = [*self.policy.commitments.values()]
        every += [one for of in self.rented for one in of.values()]
        found = {}
        for hour in range(_HOURS):
            since = self.began + hour * HOUR_S
            query = UsageQuery(since=since, until=since + HOUR_S, group_by=("user",))
            rows = (await self.ledger.usage(query)).rows
            found[hour] = sum(row.cost_nano for row in rows) - bill(every, since, since + HOUR_S)
        return {hour: nano for hour, nano in found.items() if nano and every}


@asynccontextmanager
async def day(
    folder: Path, clock: FakeClock, seed: int, trouble: float = 0.0
) -> AsyncIterator[Day]:
    path = folder / f"{seed}.db"
    ledger = SqliteLedger(path, clock=clock, write_timeout_s=PATIENCE_S)
    try:
        yield Day(ledger, clock, seed, trouble)
    finally:
        await ledger.aclose()


@pytest.mark.parametrize("seed", range(8))
async def test_gateways_that_book_at_once_leave_every_hour_right(
    seed: int, tmp_path: Path, clock: FakeClock
) -> None:
    """At once, not only when they look the next time."""
    async with day(tmp_path, clock, seed) as one:
        for _ in range(one.draw.randrange(4)):
            await one.call(in_turn=False)
        clock.move(_HOURS * HOUR_S + 600)
        await one.turns.play([one.book(books) for books in one.gateways])
        assert await one.wrong_hours() == {}


@pytest.mark.parametrize("seed", range(100, 108))
async def test_calls_that_settle_late_and_faults_are_right_at_the_next_look(
    seed: int, tmp_path: Path, clock: FakeClock
) -> None:
    async with day(tmp_path, clock, seed, trouble=0.04) as one:
        for _ in range(one.draw.randrange(4)):
            await one.call(in_turn=False)
        clock.move(_HOURS * HOUR_S + 600)
        late = [one.call(in_turn=True) for _ in range(one.draw.randrange(3))]
        await one.turns.play([*(one.book(books) for books in one.gateways), *late])
        for way in one.ways:
            way.trouble = 0.0
        await one.turns.play([one.book(books) for books in one.gateways])
        assert await one.wrong_hours() == {}
