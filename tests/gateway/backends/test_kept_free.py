"""The lines of a batch leave slots to calls on their connections: these wait no longer for them."""

from __future__ import annotations

import asyncio
import random
from math import inf

import pytest

from gateway.backends.slots import SlotQueue
from gateway.clock import FakeClock, settle
from gateway.planning.kept_free import ArrivalRate, KeptFree, kept_free
from gateway.planning.line import LINES, Place

LINE = Place(rank=LINES, work_s=1.0, user="batch")
RUN_S = 1.0
CALLS = 400


def queue_of(slots: int, clock: FakeClock) -> SlotQueue:
    """Of a backend that leaves slots free as calls come."""
    arriving = ArrivalRate(clock.monotonic())

    def kept() -> KeptFree | None:
        rate = arriving.rate(queue.arrivals, clock.monotonic())
        free = kept_free(rate, queue.line_s, slots)
        return KeptFree(free, slots) if free else None

    queue = SlotQueue(lambda: slots, clock, kept)
    return queue


async def mean_seconds(slots: int, rate: float, *, batch: bool) -> tuple[float, int]:
    """That a call takes which comes at ``rate`` a second on the average, in line and in its run;
    and the lines that ended meanwhile."""
    clock, coming, lasting = FakeClock(), random.Random(7), random.Random(8)
    queue = queue_of(slots, clock)
    took: list[float] = []
    ended = 0

    async def call() -> None:
        since = clock.monotonic()
        queue.arrivals += 1
        if not queue.take():
            await queue.wait()
        await clock.sleep(RUN_S)
        queue.give_back()
        took.append(clock.monotonic() - since)

    async def line() -> None:
        nonlocal ended
        while True:
            if not queue.take_for_line(LINE):
                await queue.wait(place=LINE)
            await clock.sleep(lasting.uniform(0.5, 1.5) * RUN_S)
            queue.give_back(is_line=True)
            ended += 1

    lines = [asyncio.ensure_future(line()) for _ in range(slots + 2 if batch else 0)]
    calls = []
    await settle()
    await clock.advance(5.0)
    for _ in range(CALLS):
        await clock.advance(coming.expovariate(rate))
        calls.append(asyncio.ensure_future(call()))
        await settle()
    while len(took) < CALLS:
        await clock.advance(1.0)
    for each in lines:
        each.cancel()
    await asyncio.gather(*lines, return_exceptions=True)
    assert all(each.done() for each in calls)
    return sum(took[20:]) / (CALLS - 20), ended


@pytest.mark.parametrize(
    ("slots", "rate"), [(4, 0.05), (4, 0.5), (4, 2.0), (8, 0.5), (8, 2.0), (16, 4.0)]
)
async def test_calls_take_no_longer_than_without_the_batch_and_a_twentieth(
    slots: int, rate: float
) -> None:
    alone, _ = await mean_seconds(slots, rate, batch=False)
    beside, lines = await mean_seconds(slots, rate, batch=True)
    assert beside <= 1.05 * alone
    assert lines > (slots - 2) * (CALLS / rate) - 1.5 * CALLS


def test_so_many_are_kept_free_as_come_before_one_is_back() -> None:
    assert [kept_free(rate, 1.0, 8) for rate in (0.0, 0.01, 0.2, 1.0, 8.0, 1000.0)] == [
        0, 1, 1, 1, 2, 7
    ]  # fmt: skip
    assert kept_free(5.0, 1.0, 1) == 0
    assert kept_free(0.5, 1.0, 20) == 0  # a slot is free again within a twentieth of a run


def test_a_call_that_came_longer_ago_than_a_minute_keeps_nothing_free() -> None:
    seen = ArrivalRate(0.0)
    assert seen.rate(0, 1.0) == 0.0
    assert seen.rate(1, 2.0) > 0.0
    assert seen.rate(1, 61.0) > 0.0
    assert seen.rate(1, 62.0) == 0.0
    assert seen.rate(1, inf) == 0.0
