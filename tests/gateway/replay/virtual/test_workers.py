"""Workers of a platform that scales from zero start, idle and end at the instants they should."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from gateway.replay.virtual.loop import VirtualClock, VirtualLoop
from gateway.replay.virtual.workers import WorkerPool

Did = list[tuple[str, float, float]]


def after(what: Callable[[WorkerPool], Awaitable[None]], starts: tuple[float, ...] = (3.0,)) -> Did:
    """What workers had done, from when until when, once ``what`` was over and a minute had gone."""
    did: Did = []

    async def run(loop: VirtualLoop) -> None:
        clock = VirtualClock(loop, 0.0)
        pool = WorkerPool(
            starts, 5.0, clock, random.Random(1), lambda *told: did.append(_rounded(*told))
        )
        await what(pool)
        await asyncio.sleep(60.0)
        pool.end()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(run(loop))
    return did


def _rounded(did: str, begin: float, end: float) -> tuple[str, float, float]:
    """A timer is late by microseconds."""
    return did, round(begin, 3), round(end, 3)


async def call(pool: WorkerPool, seconds: float) -> None:
    taken = pool.take() or await pool.wait()
    await asyncio.sleep(seconds)
    pool.give_back(taken)


def test_a_worker_starts_for_a_call_idles_after_it_and_ends() -> None:
    assert after(lambda pool: call(pool, 2.0)) == [("start", 0.0, 3.0), ("idle", 5.0, 10.0)]


def test_the_call_after_it_finds_it_warm() -> None:
    async def two(pool: WorkerPool) -> None:
        await call(pool, 1.0)
        await asyncio.sleep(4.0)
        await call(pool, 1.0)

    assert after(two) == [("start", 0.0, 3.0), ("idle", 4.0, 8.0), ("idle", 9.0, 14.0)]


def test_a_call_takes_a_worker_that_is_free_before_its_own_has_started() -> None:
    async def two(pool: WorkerPool) -> None:
        first = asyncio.create_task(call(pool, 1.0))
        await asyncio.sleep(2.0)
        await asyncio.gather(first, call(pool, 1.0))

    did = after(two)
    assert did[:2] == [("start", 0.0, 3.0), ("start", 2.0, 5.0)]
    # Both calls ran on the first, from 3 to 5; each worker idles for five seconds.
    assert sorted(did[2:]) == [("idle", 5.0, 10.0), ("idle", 5.0, 10.0)]


def test_what_is_kept_does_not_end_and_what_is_not_wanted_is_called_off() -> None:
    async def kept(pool: WorkerPool) -> None:
        pool.keep(2)
        await asyncio.sleep(20.0)
        assert (pool.up, pool.starting) == (2, 0)
        pool.keep(4)
        await asyncio.sleep(1.0)
        pool.keep(0)
        assert (pool.up, pool.starting) == (0, 0)

    did = after(kept)
    assert did.count(("start", 0.0, 3.0)) == 2
    assert did.count(("start", 20.0, 21.0)) == 2
    assert did.count(("idle", 3.0, 21.0)) == 2


def test_a_call_that_leaves_takes_no_worker_with_it() -> None:
    async def leaves(pool: WorkerPool) -> None:
        waiting = asyncio.create_task(call(pool, 1.0))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (pool.busy, pool.waiting) == (0, 0)

    assert after(leaves) == [("start", 0.0, 3.0), ("idle", 3.0, 8.0)]
