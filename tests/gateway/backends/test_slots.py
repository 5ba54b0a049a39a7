"""Calls that wait in line: first come, first served, called away when the line was a mistake."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.backends.slots import MOVED_AT_ONCE, Reconsider, SlotQueue
from gateway.clock import FakeClock, settle
from gateway.planning.line import LINES, Place
from tests.gateway.assembled import POLICY, assembled


class Away(Exception):
    pass


async def test_places_are_granted_in_the_order_of_arrival() -> None:
    """One at a time, and none is granted twice."""
    places = SlotQueue(lambda: 1, FakeClock())
    assert places.take()
    order: list[int] = []

    async def caller(number: int) -> None:
        await places.wait()
        order.append(number)

    tasks = [asyncio.create_task(caller(number)) for number in range(3)]
    await settle()
    assert (order, places.waiting) == ([], 3)
    assert not places.take()
    for expected in ([0], [0, 1], [0, 1, 2]):
        places.give_back()
        await settle()
        assert order == expected
    await asyncio.gather(*tasks)
    places.give_back()
    assert (places.running, places.waiting) == (0, 0)


async def test_a_caller_who_leaves_the_line_takes_nobodys_place() -> None:
    """Whether it waits still or was granted a place in that very instant."""
    places = SlotQueue(lambda: 1, FakeClock())
    assert places.take()
    waiting = [asyncio.create_task(places.wait()) for _ in range(3)]
    await settle()
    waiting[0].cancel()
    await settle()
    places.give_back()
    waiting[1].cancel()
    await settle()
    assert waiting[2].done()
    assert not waiting[2].cancelled()
    assert places.running == 1


async def in_line(places: SlotQueue, *ranks: int) -> list[int]:
    """The order in which calls of these ranks are granted their places, by their numbers in order
    of arrival; each gives its place back when it has it."""
    order: list[int] = []

    async def caller(number: int, rank: int) -> None:
        await places.wait(None, Place(rank=rank))
        order.append(number)

    tasks = [asyncio.create_task(caller(*each)) for each in enumerate(ranks)]
    await settle()
    for _ in ranks:
        places.give_back()
        await settle()
    await asyncio.gather(*tasks)
    assert places.waiting == 0
    return order


async def test_a_call_of_high_priority_goes_before_those_that_wait() -> None:
    """And one of low priority after them; among equals the first goes first."""
    places = SlotQueue(lambda: 1, FakeClock())
    assert places.take()
    low, normal, high = range(3)
    order = await in_line(places, low, normal, normal, high, high)
    assert order == [3, 4, 1, 2, 0]


async def test_the_line_is_called_away_from_its_end_which_are_those_of_low_priority() -> None:
    places = SlotQueue(lambda: 0, FakeClock())
    asked: list[tuple[str, int]] = []

    def reconsider(name: str) -> Reconsider:
        def ask(ahead: int) -> Exception | None:
            asked.append((name, ahead))
            return Away() if name != "high" else None

        return ask

    names = {"low": 0, "high": 2, "normal": 1}
    tasks = [
        asyncio.create_task(places.wait(reconsider(n), Place(rank=rank)))
        for n, rank in names.items()
    ]
    await settle()
    places.reroute()
    assert asked == [("low", 2), ("normal", 1), ("high", 0)]
    assert places.waiting == 1
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_end_of_the_line_is_rerouted_until_one_would_rather_stay() -> None:
    """Each is asked with the number of calls before it."""
    places = SlotQueue(lambda: 1, FakeClock())
    assert places.take()
    asked: list[int] = []

    def reconsider(ahead: int) -> Exception | None:
        asked.append(ahead)
        return Away() if ahead > 2 else None

    waiting = [asyncio.create_task(places.wait(reconsider)) for _ in range(4)]
    await settle()
    places.reroute()
    await settle()
    assert asked == [4, 3, 2]
    assert [task.done() for task in waiting] == [False, False, True, True]
    for task in waiting[2:]:
        with pytest.raises(Away):
            await task
    for task in waiting[:2]:
        task.cancel()
    await asyncio.gather(*waiting[:2], return_exceptions=True)


async def test_no_more_than_a_few_are_rerouted_at_once() -> None:
    """What they do elsewhere must be seen before more follow."""
    places = SlotQueue(lambda: 0, FakeClock())
    waiting = [asyncio.create_task(places.wait(lambda _: Away())) for _ in range(20)]
    await settle()
    places.reroute()
    await settle()
    assert sum(task.done() for task in waiting) == MOVED_AT_ONCE
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_flood_that_was_guessed_short_spills_from_the_line(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The guess says ten milliseconds; the first calls run on and on, so those behind them go
    to the overflow, and each is settled where it was answered."""
    text = POLICY.replace("price: reserved, expect: 1s", "price: reserved, expect: 10ms")
    async with assembled(tmp_path, clock, text) as gateway:
        gateway.fake("home").runs_for = 30.0
        gateway.fake("burst").runs_for = 1.0
        started = [gateway.start("chat") for _ in range(60)]
        await settle()
        assert not gateway.fake("burst").calls
        await gateway.until_done((task for _, task in started), step=0.25)
        for _, task in started:
            await task
        rows = [await gateway.row(state.call.id) for state, _ in started]
        backends = [row.backend for row in rows]
        assert 20 < backends.count("burst") < 60
        reasons = {row.reason for row in rows if row.backend == "burst"}
        assert reasons <= {"SPILL_WARM", "SPILL_COLD", "LEAST_DELAY"}
        assert {row.outcome for row in rows} == {"success"}
        assert all(b.in_flight == 0 for b in gateway.inner.active.backends.values())


async def test_a_line_that_moves_as_predicted_is_left_alone(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Waiting within the SLO is what the reserved machine is for."""
    async with assembled(tmp_path, clock) as gateway:
        gateway.fake("home").runs_for = 0.3
        await gateway.ask_after(gateway.call_state(), 0.3)
        started = [gateway.start("chat") for _ in range(8)]
        await gateway.until_done((task for _, task in started), step=0.05)
        for _, task in started:
            await task
        assert not gateway.fake("burst").calls


async def test_the_lines_of_a_batch_are_before_no_call_that_is_quoted() -> None:
    """Not before one of low priority either, which is the next that gets a slot."""
    places = SlotQueue(lambda: 1, FakeClock())
    assert places.take()
    lines = [asyncio.create_task(places.wait(place=Place(rank=LINES))) for _ in range(40)]
    await settle()
    assert [places.ahead_of(rank, 41) for rank in (LINES, 0, 1, 2)] == [41, 1, 1, 1]
    low = asyncio.create_task(places.wait(place=Place(rank=0)))
    await settle()
    assert [places.ahead_of(rank, 42) for rank in (LINES, 0, 1, 2)] == [42, 2, 1, 1]
    places.give_back()
    await settle()
    assert low.done()
    for each in lines:
        each.cancel()
    await asyncio.gather(*lines, return_exceptions=True)
    assert places.waiting == places.waiting_first == 0
