"""Whoever has fewest connections takes the next."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import FakeClock, settle
from gateway.processes.turns import ConnectionCounts, Turns, memory_for, places_for

PLACES = places_for(2)


@contextlib.contextmanager
def counts_of(processes: int) -> Iterator[list[ConnectionCounts]]:
    """As each of them has them."""
    descriptor = memory_for(PLACES)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        made = [ConnectionCounts(descriptor, PLACES) for _ in range(processes)]
        for one in made:
            stack.callback(one.close)
        yield made


def turns_in(counts: list[ConnectionCounts], held: list[int], clock: FakeClock) -> list[Turns]:
    made = [Turns(one, place, clock) for place, one in enumerate(counts)]
    for place, turns in enumerate(made):
        turns.connections = lambda place=place: held[place]  # type: ignore[misc]
    return made


@pytest.mark.parametrize(
    ("held", "is_others"),
    [([0, 0], False), ([1, 0], True), ([0, 1], False), ([5, 5], False), ([6, 5], True)],
    ids=["none", "one here", "one there", "as many", "one more"],
)
def test_it_is_the_turn_of_who_has_fewer(
    held: list[int], is_others: bool, clock: FakeClock
) -> None:
    with counts_of(2) as counts:
        one, two = turns_in(counts, held, clock)
        two.is_others(0)
        assert one.is_others(0) is is_others


def test_those_that_are_on_their_way_count(clock: FakeClock) -> None:
    with counts_of(2) as counts:
        one, two = turns_in(counts, [3, 3], clock)
        two.is_others(0)
        assert one.is_others(1)


def test_one_that_is_alone_or_takes_no_more_leaves_nothing_to_nobody(clock: FakeClock) -> None:
    with counts_of(2) as counts:
        one, two = turns_in(counts, [3, 0], clock)
        assert not one.is_others(0)
        two.is_others(0)
        assert one.is_others(0)
        two.leave()
        assert not one.is_others(0)


async def test_connections_that_end_are_told_of_soon(clock: FakeClock) -> None:
    with counts_of(2) as counts:
        held = [3, 4]
        one, two = turns_in(counts, held, clock)
        counting = asyncio.create_task(two.keep_counting())
        await settle()
        assert not one.is_others(0)
        held[1] = 2
        await clock.advance(1.0)
        assert one.is_others(0)
        two.leave()
        await clock.advance(1.0)
        assert counting.done()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200))
def test_connections_that_come_are_divided_evenly(offered: list[int]) -> None:
    """Whoever of four is offered the next takes it, or the first in turn whose turn it is."""
    with counts_of(4) as counts:
        held = [0] * 4
        turns = turns_in(counts, held, FakeClock())
        for one in turns:
            one.is_others(0)
        for first in offered:
            order = [(first + step) % 4 for step in range(4)]
            taker = next(place for place in order if not turns[place].is_others(0))
            held[taker] += 1
        assert max(held) - min(held) <= 1
