"""A backend that refuses what it does not run gets no more calls of all processes than it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from adapters.types import Capabilities
from gateway.clock import FakeClock
from tests.gateway.processes.machine import Machine, machine_of

REFUSES = Capabilities(queues=False)
TEXT = """
version: 1
server: {tls: "off", access_log: false}
backends: {narrow: {kind: fake, slots: 4, expect: 1s, max_run: 100s, max_queue: 1000}}
models: {far: {task: chat, backends: [narrow], slo: 1000s}}
plans: {default: {requests: 1000/minute}}
"""


class Load:
    """Calls of a second at all processes; notes how many ran at a time."""

    def __init__(self, machine: Machine) -> None:
        self.most = 0
        self._machine = machine
        self._tasks: list[asyncio.Task[object]] = []

    def call(self, each: int) -> None:
        for member in self._machine.members.values():
            member.gateway.fake("narrow").runs_for = 1.0
            self._tasks += [member.gateway.start("far")[1] for _ in range(each)]

    async def run(self) -> None:
        """Until all are answered."""
        for _ in range(2000):
            await self._machine.clock.advance(0.1)
            await asyncio.sleep(0.001)
            self.most = max(self.most, sum(one.running for one in self._machine.fakes("narrow")))
            if all(task.done() for task in self._tasks):
                break
        await asyncio.gather(*self._tasks)


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_four_places_are_four_for_all(count: int, tmp_path: Path, clock: FakeClock) -> None:
    async with machine_of(count, tmp_path, clock, TEXT, REFUSES) as machine:
        load = Load(machine)
        load.call(6)
        await load.run()
        assert load.most == 4


async def test_places_that_are_learned_of_later_are_those_of_all(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with machine_of(2, tmp_path, clock, TEXT, REFUSES) as machine:
        first = Load(machine)
        first.call(6)
        await first.run()
        for fake in machine.fakes("narrow"):
            fake.slots = 2
        await clock.advance(20.0)
        second = Load(machine)
        second.call(6)
        await second.run()
        assert (first.most, second.most) == (4, 2)


async def test_a_backend_with_a_line_of_its_own_is_bounded_by_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with machine_of(2, tmp_path, clock, TEXT) as machine:
        load = Load(machine)
        load.call(6)
        await load.run()
        assert load.most > 4
