"""The loop of the simulations: time that leaps, an order that is drawn, and processes that die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

from tests.simulation.loop import LoopClock, Process, SimulatedLoop, Stuck, bury


def played(work: Coroutine[Any, Any, Any], seed: int = 1) -> SimulatedLoop:
    loop = SimulatedLoop(random.Random(seed))
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
    return loop


def test_an_hour_passes_at_once_and_sleepers_wake_in_their_turn() -> None:
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(seconds)

    async def work() -> None:
        await asyncio.gather(*(sleep(seconds) for seconds in (3600.0, 0.001, 60.0)))

    assert played(work()).time() == 1000.0 + 3600.0
    assert woken == [0.001, 60.0, 3600.0]


def orders(seed: int) -> tuple[int, ...]:
    order: list[int] = []

    async def one(number: int) -> None:
        await asyncio.sleep(0)
        order.append(number)

    async def work() -> None:
        await asyncio.gather(*(one(number) for number in range(6)))

    played(work(), seed)
    return tuple(order)


def test_what_is_ready_runs_in_any_order_which_a_seed_decides() -> None:
    assert len({orders(seed) for seed in range(20)}) > 10
    assert orders(7) == orders(7)


def test_nothing_of_a_killed_process_runs_again() -> None:
    """Neither what it waited for nor what it would have tidied up."""
    seen: list[str] = []

    async def dies() -> None:
        try:
            await asyncio.sleep(1.0)
            seen.append("woke")
        finally:
            seen.append("tidied up")

    async def work() -> None:
        process = Process("one")
        process.begins(asyncio.get_running_loop(), dies())  # type: ignore[arg-type]
        await asyncio.sleep(0.5)
        process.is_alive = False
        await asyncio.sleep(2.0)
        assert seen == []
        bury(process)

    played(work())


def test_who_waits_for_what_can_never_be_is_told_so() -> None:
    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    loop = SimulatedLoop(random.Random(1))
    with pytest.raises(Stuck, match="what will never be"):
        loop.run_until_complete(work())
    loop.run_until_complete(asyncio.sleep(0))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_its_clock_is_the_gateways() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        clock, rang = LoopClock(loop, 5000.0), asyncio.Event()
        clock.call_later(10.0, rang.set)
        await clock.sleep(9.0)
        assert not rang.is_set()
        await rang.wait()
        assert (clock.monotonic(), clock.time()) == (1010.0, 5010.0)

    played(work())
