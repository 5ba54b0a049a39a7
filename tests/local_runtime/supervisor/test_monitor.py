"""The supervisor's loops over processes that are only pretended, by a clock that a test moves."""

from __future__ import annotations

import asyncio
import io
import itertools
from collections import Counter
from collections.abc import Iterator

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock, settle
from local_runtime.protocol.events import Broken, Heartbeat, Ready, Standby, Waiting, WorkerChanged
from local_runtime.supervisor.lifecycle import RestartPolicy
from local_runtime.supervisor.logs import LogWriter
from local_runtime.supervisor.monitor import Outside, WorkerMonitor
from local_runtime.supervisor.spares import spare_launches
from local_runtime.supervisor.worker_process import Launch, SignListener

POLICY = RestartPolicy(start_timeout_s=30, silence_s=10, pause_s=0.25, max_pause_s=4, stable_s=60)


class Pretended:
    """A process that does nothing of itself."""

    last_line = "the last"

    def __init__(self, pid: int, launch: Launch) -> None:
        self.listener: SignListener = lambda sign: None
        self.pid = pid
        self.launch = launch
        self.reported = False
        """It has said that it is ready, or waits, for what it is now."""
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self._status.done()

    def promote(self, launch: Launch) -> None:
        self.launch, self.reported = launch, False

    async def ended(self) -> int:
        return await asyncio.shield(self._status)

    def end(self, status: int) -> None:
        if self.alive:
            self._status.set_result(status)

    def ask_to_end(self) -> None:
        self.end(0)

    def kill(self) -> None:
        self.end(-9)

    def get_ready(self) -> None:
        """Goes on as far as a process can without being asked to."""
        if self.alive and not self.reported:
            self.reported = True
            spare = self.launch.standby != "none"
            self.listener(Waiting() if spare else Ready(1, ("/",), "cpu", 0.0, 0.0, 0.0))

    def beat(self) -> None:
        if self.alive and self.reported and self.launch.standby == "none":
            self.listener(Heartbeat(0, 0, 0))

    def give_up(self) -> None:
        """It says that another start would not help."""
        if self.alive:
            self.listener(Broken("load", "no such file", permanent=True))
            self.end(3)


class Scene:
    """Workers and spares as the supervisor has them."""

    def __init__(self, workers: int, standby: Standby) -> None:
        self.clock = FakeClock()
        self.processes: list[Pretended] = []
        self.reports: list[WorkerChanged] = []
        self._pids: Iterator[int] = itertools.count(1)
        self.writer = LogWriter(io.BytesIO())
        outside = Outside(
            policy=POLICY,
            clock=self.clock,
            jitter=lambda: 0.5,
            start=self._start,
            report=self.reports.append,
            writer=self.writer,
        )
        launches = [Launch(app="a", index=index, max_frame=1) for index in range(workers)]
        spares = [WorkerMonitor(launch, outside) for launch in spare_launches(launches, standby)]
        self.monitors = [*spares, *(WorkerMonitor(launch, outside, spares) for launch in launches)]
        self.tasks = [asyncio.ensure_future(monitor.run()) for monitor in self.monitors]

    async def _start(self, launch: Launch) -> Pretended:
        process = Pretended(next(self._pids), launch)
        self.processes.append(process)
        return process

    @property
    def living(self) -> list[Pretended]:
        return [process for process in self.processes if process.alive]

    def of(self, name: str) -> Pretended:
        """The one process of that name."""
        (found,) = (process for process in self.living if process.launch.name == name)
        return found

    async def close(self) -> None:
        for monitor in self.monitors:
            monitor.ask_to_end()
        await self.clock.advance(1)
        self.writer.close()


async def all_ready(scene: Scene) -> None:
    await settle()
    for process in scene.living:
        process.get_ready()
    await settle()


async def test_the_spare_takes_the_place_at_once_and_another_starts_a_second_later() -> None:
    scene = Scene(workers=1, standby="imported")
    await all_ready(scene)
    spare = scene.of("spare 0")
    scene.of("worker 0").end(-11)
    await settle()
    assert scene.of("worker 0") is spare
    assert len(scene.living) == 1
    await scene.clock.advance(POLICY.refill_s)
    assert scene.of("spare 0").pid == 3
    await scene.close()


async def test_a_spare_that_still_starts_is_not_waited_for() -> None:
    """Two starts at once: the worker's own is the surer one."""
    scene = Scene(workers=1, standby="loaded")
    await settle()
    scene.of("worker 0").get_ready()
    await settle()
    scene.of("worker 0").end(1)
    await settle()
    assert sorted(process.launch.name for process in scene.living) == ["spare 0", "worker 0"]
    assert scene.of("worker 0").pid == 3
    await scene.close()


async def test_a_worker_is_killed_for_its_silence_and_a_spare_is_not() -> None:
    scene = Scene(workers=1, standby="imported")
    await all_ready(scene)
    spare, worker = scene.of("spare 0"), scene.of("worker 0")
    await scene.clock.advance(POLICY.silence_s + 1)
    assert not worker.alive
    assert scene.of("worker 0") is spare
    await scene.close()


async def test_a_pause_ends_early_when_the_supervisor_does() -> None:
    """Nobody waits for a minute to exit."""
    scene = Scene(workers=1, standby="none")
    await settle()
    scene.of("worker 0").end(1)
    await settle()
    assert scene.living == []
    await scene.close()
    assert all(task.done() for task in scene.tasks)


class Step(msgspec.Struct, frozen=True):
    """Something that happens to the ``which``-th of the living, or ``seconds`` that pass."""

    what: str
    which: int
    seconds: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["ready", "ready", "ready", "beat", "die", "die", "time", "give up"]),
        st.integers(0, 3),
        st.sampled_from([0.1, 0.6, 3.0, 11.0, 40.0]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, workers=st.integers(1, 2), standby=st.sampled_from(["none", "imported"]))
def test_whatever_happens_no_place_has_two_processes_and_the_end_ends_all(
    steps: list[Step], workers: int, standby: Standby
) -> None:
    """And what has said that another start would not help is not started again."""
    asyncio.run(live_through(steps, workers, standby))


async def live_through(steps: list[Step], workers: int, standby: Standby) -> None:
    scene, given_up = Scene(workers, standby), Counter[str]()
    for step in steps:
        await settle()
        if step.what == "time":
            await scene.clock.advance(step.seconds)
        elif scene.living:
            process = scene.living[step.which % len(scene.living)]
            if step.what == "give up":
                given_up[process.launch.name] += 1
            {
                "ready": process.get_ready,
                "beat": process.beat,
                "die": process.kill,
                "give up": process.give_up,
            }[step.what]()
        await settle()
        names = Counter(process.launch.name for process in scene.living)
        assert set(names.values()) <= {1}
        assert not names.keys() & given_up.keys()
    await scene.close()
    assert scene.living == []
    assert all(task.done() for task in scene.tasks)
