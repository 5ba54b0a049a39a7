"""What is rented stands in the store, however many change it at once and whoever breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.clock import FakeClock, settle
from gateway.storage.base import Admitted, Claim, StorageUnavailable
from gateway.storage.memory import MemorySharedStore
from gateway.storage.rented.base import StoredInstance
from gateway.storage.rented.memory import MemoryInstances
from gateway.warm.kept import write_whole
from tests.gateway.reserve.stage import RENTS, Stage

FOUR = RENTS.replace("most: 2", "most: 4")
CLAIM = (Claim("reserve:pods", "concurrent", "", 1, 1),)


class FullDisk(MemoryInstances):
    """Takes nothing while it is ``full``."""

    full = False

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        if self.full:
            raise StorageUnavailable("no space left")
        return await super().put(holder, one, lease_s)


class SlowDisk(MemoryInstances):
    """Writes when it ``may``."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock.time)
        self.begun, self.may = asyncio.Event(), asyncio.Event()

    async def put(self, holder: str, one: StoredInstance, lease_s: float) -> bool:
        self.begun.set()
        await self.may.wait()
        return await super().put(holder, one, lease_s)


async def four(clock: FakeClock) -> Stage:
    """As many instances, up."""
    stage = Stage(clock, FOUR)
    await stage.keeper.recall()
    stage.advised = 4
    await stage.passes(300.0)
    assert stage.states() == ["up"] * 4
    return stage


async def writes_its_first(stage: Stage, disk: SlowDisk) -> None:
    """An instance that is about to be started."""
    await stage.keeper.recall()
    stage.advised = 1
    for _ in range(4):
        await stage.clock.advance(30.0)
        await stage.keeper.tick()
    await disk.begun.wait()


async def all_at_the_end(stage: Stage) -> None:
    await stage.keeper.aclose()


async def all_as_the_reserve_goes(stage: Stage) -> None:
    stage.put_in_force(RENTS[: RENTS.index("reserve:\n")])
    await stage.passes(30.0)


async def all_as_their_hours_end(stage: Stage) -> None:
    stage.advised = 0
    await stage.passes(3600.0)


@pytest.mark.parametrize("end", [all_at_the_end, all_as_the_reserve_goes, all_as_their_hours_end])
async def test_instances_that_are_stopped_at_once_are_all_stopped_and_all_known(
    end: Callable[[Stage], Awaitable[None]], clock: FakeClock
) -> None:
    stage = await four(clock)
    await end(stage)
    assert sorted(stage.hooks.asked[4:]) == [("stop", f"i{n}", "/opt/stop") for n in range(4)]
    assert stage.states() == ["ended"] * 4


def test_a_file_that_many_write_at_once_is_one_of_those_and_each_has_written(
    tmp_path: Path,
) -> None:
    path, written = tmp_path / "one", [bytes([n]) * 50_000 for n in range(16)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda data: write_whole(path, data), written))
    assert path.read_bytes() in written
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


async def test_what_cannot_be_written_down_is_stopped_all_the_same_and_written_later(
    clock: FakeClock,
) -> None:
    disk = FullDisk(clock.time)
    stage = Stage(clock, FOUR, disk)
    await stage.keeper.recall()
    stage.advised = 4
    await stage.passes(300.0)
    disk.full = True
    stage.put_in_force(RENTS[: RENTS.index("reserve:\n")])
    await stage.passes(30.0)
    assert stage.hooks.actions[4:] == ["stop"] * 4
    disk.full = False
    await stage.passes(60.0)
    assert stage.states() == ["ended"] * 4


async def test_who_hands_over_has_written_before_the_next_one_reads(clock: FakeClock) -> None:
    disk = SlowDisk(clock)
    stage = Stage(clock, store=disk)
    await writes_its_first(stage, disk)
    handing = asyncio.create_task(stage.keeper.hand_over())
    await settle()
    assert not handing.done()
    disk.may.set()
    await handing
    assert stage.hooks.asked == []
    assert disk.instances == [], "it was not started"


async def has_room(shared: MemorySharedStore) -> bool:
    return isinstance(await shared.admit("another", CLAIM, 60.0), Admitted)


async def test_one_that_cannot_be_written_down_takes_no_place(clock: FakeClock) -> None:
    disk, shared = FullDisk(clock.time), MemorySharedStore(clock)
    disk.full = True
    stage = Stage(clock, store=disk, shared=shared)
    await stage.keeper.recall()
    stage.advised = 1
    await stage.passes(120.0)
    assert stage.hooks.asked == []
    assert await has_room(shared)


async def test_one_whose_start_is_broken_off_before_its_hook_takes_no_place(
    clock: FakeClock,
) -> None:
    disk, shared = SlowDisk(clock), MemorySharedStore(clock)
    stage = Stage(clock, store=disk, shared=shared)
    await writes_its_first(stage, disk)
    assert not await has_room(shared)
    ending = asyncio.create_task(stage.keeper.aclose())
    await settle()
    disk.may.set()
    await ending
    assert (stage.hooks.asked, disk.instances) == ([], [])
    assert await has_room(shared)
