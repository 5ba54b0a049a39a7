"""Workers that somebody else has started, over a real folder and real sockets in it, by a clock
that a test moves."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.clock import FakeClock, settle
from local_runtime.client.attached import LOOK_S, AttachedWorkers
from local_runtime.client.discovery import DiscoveryEvent
from local_runtime.client.workers import Workers
from local_runtime.protocol.events import Slots, WorkerChanged
from local_runtime.protocol.scale_events import Retired
from tests.local_runtime.client.pretended_worker import READY, listening
from tests.waiting import until


class Watch:
    """What is found in a folder, one look after another."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.found: list[DiscoveryEvent] = []
        self.workers = AttachedWorkers(str(folder), self.clock)

    async def look(self) -> list[DiscoveryEvent]:
        """What another look has found."""
        self.found.clear()
        await self.clock.advance(LOOK_S)
        return self.found


@asynccontextmanager
async def watching(folder: Path) -> AsyncIterator[Watch]:
    watch = Watch(folder)
    watch.workers.start(watch.found.append)
    await settle()
    yield watch
    await watch.workers.aclose()
    assert await watch.look() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "s"
    made.mkdir(mode=0o700)
    return made


def ready(folder: Path, index: int) -> WorkerChanged:
    return WorkerChanged(index, "ready", path=str(folder / f"worker-{index}.sock"))


async def test_sockets_that_come_and_go_are_workers_that_come_and_go(folder: Path) -> None:
    """Each is reported once, whatever else is in the folder."""
    for name in ("worker-1.sock", "worker-0.sock", "worker-x.sock", "notes.txt", "worker-01.sock"):
        (folder / name).touch()
    async with watching(folder) as watch:
        assert watch.found == [ready(folder, 0), ready(folder, 1)]
        assert await watch.look() == []
        (folder / "worker-0.sock").unlink()
        assert await watch.look() == [Retired(0)]
        (folder / "worker-0.sock").touch()
        assert await watch.look() == [ready(folder, 0)]


async def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    async with watching(folder) as watch:
        assert watch.workers.detail.startswith(f"there is no folder {folder}: python -m local_run")
        folder.mkdir(mode=0o700)
        assert await watch.look() == []
        assert watch.workers.detail == f"no worker is ready in {folder}"
        (folder / "worker-0.sock").touch()
        assert await watch.look() == [ready(folder, 0)]
        assert watch.workers.detail == ""


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
async def test_a_folder_that_others_may_enter_is_not_trusted(folder: Path, mode: int) -> None:
    """Nor is what it holds, until it is this user's alone again."""
    (folder / "worker-0.sock").touch()
    folder.chmod(mode)
    async with watching(folder) as watch:
        assert watch.found == []
        assert f"must belong to this user alone: it is user {os.getuid()}'s" in watch.workers.detail
        assert f"mode {mode:04o}" in watch.workers.detail
        folder.chmod(0o700)
        assert await watch.look() == [ready(folder, 0)]
        folder.chmod(mode)
        assert await watch.look() == [Retired(0)]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
async def test_a_folder_of_another_user_is_not_trusted(folder: Path) -> None:
    (folder / "worker-0.sock").touch()
    os.chown(folder, 12345, 12345)
    async with watching(folder) as watch:
        assert watch.found == []
        assert "it is user 12345's" in watch.workers.detail


async def test_a_file_in_the_place_of_the_folder_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.touch(mode=0o600)
    async with watching(file) as watch:
        assert watch.found == []
        assert "Not a directory" in watch.workers.detail


# --- connections --------------------------------------------------------------------------------


@asynccontextmanager
async def attached(folder: Path) -> AsyncIterator[tuple[Workers, FakeClock]]:
    """Workers of that folder, as a gateway has them."""
    clock = FakeClock()
    workers = Workers("home", AttachedWorkers(str(folder), clock), 1_000_000, clock)
    workers.start()
    yield workers, clock
    await workers.aclose()


async def passes(clock: FakeClock, workers: Workers, detail: str) -> None:
    """Time, until that is how it stands."""

    async def says_so() -> bool:
        await clock.advance(0.05)
        return detail in workers.detail if detail else not workers.detail

    await until(says_so, f"{detail!r}, and not {workers.detail!r}")


async def test_a_worker_is_connected_to_once_and_offers_its_slots(folder: Path) -> None:
    async with listening(folder / "worker-0.sock", READY) as worker, attached(folder) as home:
        workers, clock = home
        await passes(clock, workers, "")
        await until(lambda: workers.slots == 2)
        await clock.advance(10)
        assert worker.came == 1
        worker.say(Slots(0))
        await until(lambda: workers.slots == 0, "it drains")
        assert (workers.least_loaded(), workers.detail) == (None, "")
    assert worker.connections == []


async def test_a_connection_that_ends_is_made_anew_after_a_pause(folder: Path) -> None:
    async with listening(folder / "worker-0.sock", READY) as worker, attached(folder) as home:
        workers, clock = home
        await until(lambda: workers.slots == 2)
        worker.hang_up()
        await until(lambda: workers.slots == 0)
        assert workers.detail.startswith("worker 0: ")
        assert worker.came == 1
        await passes(clock, workers, "")
        await until(lambda: workers.slots == 2)
        assert worker.came == 2


async def test_a_folder_that_was_open_for_a_while_costs_no_connection(folder: Path) -> None:
    """What was trusted when it was made stays, and is not made a second time."""
    async with listening(folder / "worker-0.sock", READY) as worker, attached(folder) as home:
        workers, clock = home
        await until(lambda: workers.slots == 2)
        for mode in (0o755, 0o700):
            folder.chmod(mode)
            await clock.advance(1.0)
            assert (workers.slots, len(workers.connections)) == (2, 1)
        assert worker.came == 1


async def test_a_socket_at_which_nobody_listens_is_tried_again_and_again_but_gently(
    folder: Path,
) -> None:
    path = folder / "worker-0.sock"
    path.touch(mode=0o600)
    async with attached(folder) as (workers, clock):
        await passes(clock, workers, "worker 0: it cannot be reached: ")
        path.unlink()
        async with listening(path, READY):
            await passes(clock, workers, "")
            await until(lambda: workers.slots == 2)
        await passes(clock, workers, f"no worker is ready in {folder}")


async def test_a_worker_that_says_nothing_is_waited_for_and_named(folder: Path) -> None:
    """One connection is enough to wait by."""
    async with listening(folder / "worker-0.sock") as worker, attached(folder) as (workers, clock):
        await passes(clock, workers, "worker 0: it has not said yet what it serves")
        await clock.advance(60)
        assert worker.came == 1
        worker.say(READY)
        await until(lambda: workers.slots == 2)
        assert workers.detail == ""


async def test_another_version_is_asked_again_once_a_second_and_the_reason_stays(
    folder: Path,
) -> None:
    other = msgspec.structs.replace(READY, protocol=9)
    async with listening(folder / "worker-0.sock", other) as worker, attached(folder) as home:
        workers, clock = home
        await passes(clock, workers, "it speaks protocol 9")
        before = worker.came
        for _ in range(100):
            await clock.advance(0.1)
            await asyncio.sleep(0.001)
            assert "it speaks protocol 9" in workers.detail
        assert worker.came - before <= 14  # the first second's pauses are shorter
        assert (workers.slots, workers.connections) == (0, ())


async def test_a_worker_that_others_keep_busy_has_less_room(folder: Path) -> None:
    """By what it says of them, since their calls are seen nowhere else."""
    async with (
        listening(folder / "worker-0.sock", READY) as busy,
        listening(folder / "worker-1.sock", READY),
        attached(folder) as (workers, _),
    ):
        await until(lambda: workers.slots == 4)
        busy.say(Slots(2, others=3))
        await until(lambda: any(connection.others == 3 for connection in workers.connections))
        for _ in range(3):
            found = workers.least_loaded()
            assert found is not None
            assert found.name == "home-1"
            found.run("c", "/", b"{}", False, math.inf)  # three of ours are as many as theirs


async def test_while_nothing_is_there_a_start_is_expected_and_then_less_and_less(
    tmp_path: Path,
) -> None:
    """So that calls wait for a runtime that comes back, and not for one that does not."""
    async with attached(tmp_path / "s") as (workers, clock):
        assert workers.ready_in() == pytest.approx(10.0)
        await clock.advance(4)
        assert workers.ready_in() == pytest.approx(6.0)
        await clock.advance(60)
        assert workers.ready_in() == pytest.approx(54.0)
        assert not workers.hopeless


async def test_a_worker_that_cannot_be_reached_is_expected_back_like_one_that_starts(
    folder: Path,
) -> None:
    async with listening(folder / "worker-0.sock", READY) as worker, attached(folder) as home:
        workers, _ = home
        await until(lambda: workers.slots == 2)
        assert workers.ready_in() == 0.0
        worker.hang_up()
        await until(lambda: workers.slots == 0)
        assert workers.ready_in() == pytest.approx(0.6)
