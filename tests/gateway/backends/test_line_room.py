"""What is left free is lent to the lines of a batch where no call has use for it, and where they
have waited for long: none waits for ever beside a slot that idles."""

from __future__ import annotations

import asyncio

import pytest

from gateway.backends.slots import SlotQueue
from gateway.clock import FakeClock, settle
from gateway.planning.kept_free import KeptFree
from gateway.planning.line import LINES, Place
from tests.gateway.backends.test_kept_free import LINE, RUN_S, queue_of

LEARNS_S, SEEN_S = 130, 60


async def beside(slots: int, callers: int) -> tuple[float, int]:
    """Of a minute, beside a batch: the seconds that so many callers waited, who ask one call after
    the other, and the lines that ended."""
    clock = FakeClock()
    queue = queue_of(slots, clock)
    waited: list[float] = []
    ended: list[float] = []

    async def caller(number: int) -> None:
        await clock.sleep(number * 0.3)
        while True:
            since = clock.monotonic()
            queue.arrivals += 1
            if not queue.take():
                await queue.wait()
            waited.append(clock.monotonic() - since)
            await clock.sleep(RUN_S)
            queue.give_back()

    async def line() -> None:
        while True:
            if not queue.take_for_line(LINE):
                await queue.wait(place=LINE)
            await clock.sleep(RUN_S)
            queue.give_back(is_line=True)
            ended.append(clock.monotonic())

    tasks = [asyncio.ensure_future(line()) for _ in range(slots + 2)]
    tasks += [asyncio.ensure_future(caller(number)) for number in range(callers)]
    await settle()
    await clock.advance(LEARNS_S)
    waited.clear()
    ended.clear()
    await clock.advance(SEEN_S)
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sum(waited), len(ended)


@pytest.mark.parametrize(("slots", "callers"), [(2, 1), (4, 2), (4, 3), (8, 6)])
async def test_slots_that_no_call_has_use_for_are_the_lines(slots: int, callers: int) -> None:
    waited, lines = await beside(slots, callers)
    idle_s = (slots - callers) * SEEN_S
    assert waited <= 0.05 * callers * SEEN_S
    assert 0.95 * idle_s <= lines <= 1.2 * idle_s


async def test_one_line_in_ten_runs_goes_between_calls_that_use_every_slot() -> None:
    waited, lines = await beside(4, 4)
    assert SEEN_S / 12 <= lines <= SEEN_S / 8
    assert waited <= 0.1 * 4 * SEEN_S


async def test_a_line_that_may_wait_no_longer_takes_what_is_left_free() -> None:
    clock = FakeClock()
    queue = SlotQueue(lambda: 4, clock, lambda: KeptFree(2, 4))
    patient = Place(rank=LINES, work_s=100.0, patience_s=5.0)
    assert queue.take_for_line(patient)  # none has begun for long
    queue.give_back(is_line=True)
    for _ in range(4):
        assert queue.take()
    assert not queue.take_for_line(patient)
    waiting = asyncio.ensure_future(queue.wait(place=patient))
    await settle()
    queue.give_back()
    queue.give_back()
    await settle()
    assert (queue.running, waiting.done()) == (2, False)
    await clock.advance(5.0)
    queue.fill()
    await settle()
    assert (queue.running, waiting.done()) == (3, True)
    assert not queue.take_for_line(patient)
    assert queue.take_for_line(Place(rank=LINES, work_s=100.0, patience_s=0.0))
