"""The supervisor of workers that come and go, over processes that are only pretended."""

from __future__ import annotations

import asyncio
import io

from gateway.clock import FakeClock, settle
from local_runtime.protocol.events import Broken, Ready, WorkerChanged
from local_runtime.protocol.scale_events import FromSupervisor, Keep, Retired
from local_runtime.ray.process import WorkerSet, join
from local_runtime.supervisor.lifecycle import RestartPolicy
from local_runtime.supervisor.logs import LogWriter
from local_runtime.supervisor.monitor import Outside
from local_runtime.supervisor.worker_process import Launch, SignListener

READY = Ready(1, ("/",), "cpu", 0.0, 0.0, 0.0)


class Pretended:
    """A process on another machine that does nothing of itself."""

    last_line = ""
    pid = 7

    def __init__(self, index: int) -> None:
        self.listener: SignListener = lambda sign: None
        self.address = f"tcp://token@10.0.0.{index}:1"
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def promote(self, launch: Launch) -> None:
        raise AssertionError("there are no spares")

    async def ended(self) -> int:
        return await asyncio.shield(self._status)

    def end(self, status: int) -> None:
        if not self._status.done():
            self._status.set_result(status)

    def ask_to_end(self) -> None:
        self.end(0)

    def kill(self) -> None:
        self.end(-9)


class Scene:
    """Workers on a cluster that has ``room`` for so many workers."""

    def __init__(self, room: int = 9) -> None:
        self.clock = FakeClock()
        self.room = asyncio.Semaphore(room)
        self.reports: list[FromSupervisor] = []
        self.processes: dict[int, Pretended] = {}
        outside = Outside(
            policy=RestartPolicy(silence_s=60.0),
            clock=self.clock,
            jitter=lambda: 0.0,
            start=self._start,
            report=self.reports.append,
            writer=LogWriter(io.BytesIO()),
        )
        self.workers = WorkerSet(_launch, outside, self.reports.append, "1 GPU")

    async def keep(self, *indices: int) -> None:
        self.workers.keep(Keep(indices))
        await settle()

    async def get_ready(self, index: int) -> None:
        self.processes[index].listener(READY)
        await settle()

    def of(self, index: int) -> list[str]:
        """What was reported of a worker: its states, and that it retired."""
        return [
            "retired" if isinstance(one, Retired) else one.state
            for one in self.reports
            if one.index == index
        ]

    async def _start(self, launch: Launch) -> Pretended:
        await self.room.acquire()
        self.processes[launch.index] = Pretended(launch.index)
        return self.processes[launch.index]


def _launch(index: int) -> Launch:
    return Launch(app="app.py:app", index=index, max_frame=1000)


async def test_what_should_exist_is_started_once_and_what_should_not_is_ended() -> None:
    scene = Scene()
    await scene.keep(0, 1)
    await scene.get_ready(0)
    await scene.keep(0, 1)
    assert scene.of(0) == ["new", "starting", "ready"]
    await scene.keep(1)
    assert scene.of(0) == ["new", "starting", "ready", "retired"]
    assert scene.of(1) == ["new", "starting"]
    await scene.workers.end()


async def test_a_worker_that_is_ready_is_reported_with_its_address() -> None:
    scene = Scene()
    await scene.keep(3)
    await scene.get_ready(3)
    ready = scene.reports[-1]
    assert isinstance(ready, WorkerChanged)
    assert ready.path == "tcp://token@10.0.0.3:1"
    await scene.workers.end()


async def test_a_worker_without_a_place_says_what_it_needs_and_no_longer_waits_when_dismissed() -> (
    None
):
    scene = Scene(room=0)
    await scene.keep(0)
    (waits,) = scene.reports
    assert isinstance(waits, WorkerChanged)
    assert waits.detail == "waits for a place in the Ray cluster: it needs 1 GPU"
    await scene.keep()
    assert scene.of(0)[-1] == "retired"
    assert "defunct" not in scene.of(0)
    scene.room.release()
    await settle()
    assert scene.processes == {}


async def test_a_worker_that_dies_is_placed_anew_after_a_pause_that_doubles() -> None:
    scene = Scene()
    await scene.keep(0)
    for pause in (0.25, 0.5, 1.0):
        scene.processes.pop(0).end(1)
        await settle()
        assert scene.of(0)[-1] == "defunct"
        await scene.clock.advance(pause - 0.01)
        assert 0 not in scene.processes
        await scene.clock.advance(0.01)
        assert 0 in scene.processes
    await scene.workers.end()


async def test_an_app_that_does_not_exist_is_not_placed_again_and_stays_known_as_that() -> None:
    scene = Scene()
    await scene.keep(0)
    scene.processes[0].listener(Broken("load", "no such file", permanent=True))
    scene.processes.pop(0).end(3)
    await scene.clock.advance(1000)
    assert scene.of(0)[-1] == "defunct"
    assert scene.processes == {}
    await scene.keep()
    assert scene.of(0)[-1] == "retired"


async def test_the_end_ends_all() -> None:
    scene = Scene(room=1)
    await scene.keep(0, 1)
    await scene.get_ready(0)
    await scene.workers.end()
    assert [scene.of(0)[-1], scene.of(1)[-1]] == ["retired", "retired"]


async def test_a_cluster_that_is_not_there_is_tried_until_it_is() -> None:
    clock, reports, tries = FakeClock(), list[FromSupervisor](), list[float]()

    async def connect() -> None:
        tries.append(clock.monotonic())
        if len(tries) < 4:
            raise ConnectionError("nobody answers\nand more")

    joining = asyncio.create_task(join(connect, reports.append, clock))
    await settle()
    await clock.advance(7.0)
    await joining
    assert [later - tries[0] for later in tries] == [0.0, 1.0, 3.0, 7.0]
    assert reports == [
        WorkerChanged(
            0,
            "defunct",
            detail="the Ray cluster cannot be reached: nobody answers",
            retry_s=retry_s,
        )
        for retry_s in (1.0, 2.0, 4.0)
    ]
