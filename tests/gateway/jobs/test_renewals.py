"""Leases are renewed whatever else the store is slow at, and for as long as work is on its way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from gateway.clock import FakeClock, settle
from gateway.jobs.renewals import LEASE_S
from gateway.jobs.rounds import LeaseRounds
from gateway.storage.base import StorageUnavailable


class Books:
    """A store whose leases end, and which may hang at anything else."""

    def __init__(self, clock: FakeClock) -> None:
        self.until = {"one": clock.monotonic() + LEASE_S}
        self.canceled: set[str] = set()
        self.asked = 0
        self.failing = False
        self.hangs = asyncio.Event()
        self._clock = clock

    async def renew(self, worker: str, ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        self.asked += 1
        if self.failing:
            raise StorageUnavailable("it is down")
        now = self._clock.monotonic()
        mine = [id for id in ids if self.until.get(id, 0.0) > now]
        self.until |= dict.fromkeys(mine, now + lease_s)
        return {id: id in self.canceled for id in mine}

    async def prune(self, forget_s: float, most: int) -> int:
        return 0

    async def take(self) -> None:
        await self.hangs.wait()


class Work:
    """What runs on a lease."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def stop(self, cause: Literal["canceled", "handed_over"]) -> None:
        self.stopped.append(cause)


@contextlib.asynccontextmanager
async def going(
    clock: FakeClock, store: Books, runs: dict[str, Work]
) -> AsyncIterator[tuple[LeaseRounds, asyncio.Task[None]]]:
    rounds = LeaseRounds(
        name="me",
        what="jobs",
        store=store,
        runs=runs,
        work=store.take,
        clock=clock,
        prune_every_s=60.0,
        forget_s=60.0,
    )
    task = asyncio.ensure_future(rounds.run())
    await settle()
    try:
        yield rounds, task
    finally:
        rounds.close()
        store.hangs.set()
        await task


async def test_a_round_that_hangs_loses_no_lease(clock: FakeClock) -> None:
    store, work = Books(clock), Work()
    async with going(clock, store, {"one": work}):
        await clock.advance(10 * LEASE_S)
        assert store.until["one"] > clock.monotonic()
        assert work.stopped == []


async def test_a_store_that_was_down_is_asked_again_before_the_lease_is_over(
    clock: FakeClock,
) -> None:
    store, work = Books(clock), Work()
    async with going(clock, store, {"one": work}):
        store.failing = True
        await clock.advance(LEASE_S - 1.5)
        store.failing = False
        await clock.advance(1.5)
        assert store.until["one"] > clock.monotonic()
        assert work.stopped == []


async def test_what_is_to_be_canceled_is_stopped_within_a_second_of_a_word(
    clock: FakeClock,
) -> None:
    store, work = Books(clock), Work()
    async with going(clock, store, {"one": work}) as (rounds, _):
        store.canceled.add("one")
        rounds.renew_soon()
        await clock.advance(1.0)
        assert work.stopped == ["canceled"]


async def test_what_another_gateway_has_is_left_to_it(clock: FakeClock) -> None:
    store, work = Books(clock), Work()
    async with going(clock, store, {"one": work}):
        del store.until["one"]
        await clock.advance(6.0)
        assert work.stopped == ["handed_over"]


async def test_what_is_on_its_way_keeps_its_lease_after_the_last_round(clock: FakeClock) -> None:
    store, work = Books(clock), Work()
    store.hangs.set()
    async with going(clock, store, {"one": work}) as (rounds, task):
        rounds.end()
        await clock.advance(2 * LEASE_S)
        assert store.until["one"] > clock.monotonic()
        assert not task.done()
    assert task.done()


async def test_who_has_no_lease_asks_for_none(clock: FakeClock) -> None:
    store = Books(clock)
    async with going(clock, store, {}):
        await clock.advance(60.0)
        assert store.asked == 0
