"""Whatever the store says that there is counts, whoever looks after it."""

from __future__ import annotations

import msgspec
import pytest

from gateway.clock import FakeClock
from gateway.reserve.rented import stored
from gateway.reserve.writing import LEASE_S
from gateway.storage.rented.memory import MemoryInstances
from tests.gateway.reserve.stage import RENTS, Stage


def rents(most: int, start_after: int) -> str:
    text = RENTS.replace("most: 2", f"most: {most}")
    return text.replace("start_after: 60s", f"start_after: {start_after}s")


@pytest.mark.parametrize("start_after", [0, 30, 60])
@pytest.mark.parametrize("most", [1, 2])
async def test_who_is_started_anew_rents_no_second_one_beside_what_its_dead_self_has(
    clock: FakeClock, most: int, start_after: int
) -> None:
    """Though what the dead one held in memory is gone, and its lease goes on for a while."""
    stage = Stage(clock, rents(most, start_after))
    stage.advised = 1
    await stage.passes(300.0, step=5.0)
    assert stage.states() == ["up"]
    again = Stage(clock, rents(most, start_after), store=stage.store, first=5)
    again.advised = 1
    await again.passes(300.0, step=5.0)
    assert (again.hooks.asked, again.states()) == ([], ["up"])


async def test_one_that_is_being_stopped_elsewhere_counts_for_the_most_alone(
    clock: FakeClock,
) -> None:
    stage = Stage(clock)
    stage.advised = 1
    await stage.passes(120.0)
    [one] = stage.written()
    for most, started in ((1, 0), (2, 1)):
        store = MemoryInstances(clock.time)
        stopping = msgspec.structs.replace(one, state="stopping")
        await store.put("dead", stored(stopping), 100 * LEASE_S)
        other = Stage(clock, rents(most, 0), store=store, first=5)
        other.advised = 1
        await other.passes(60.0, step=5.0)
        assert len(other.hooks.asked) == started, most


async def test_one_that_has_ended_takes_no_place(clock: FakeClock) -> None:
    stage = Stage(clock, rents(1, 0))
    stage.advised = 1
    await stage.passes(30.0)
    stage.advised = 0
    await stage.passes(3600.0)
    assert stage.states() == ["ended"]
    again = Stage(clock, rents(1, 0), store=stage.store, first=5)
    again.advised = 1
    await again.passes(30.0)
    assert again.hooks.actions == ["start"]
