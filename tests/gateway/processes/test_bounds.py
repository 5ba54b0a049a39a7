"""What bounds the calls at a backend bounds those of all processes, and leaves none of it idle."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

import pytest

from gateway.backends.shared_bound import SharedBound
from gateway.backends.slots import SlotQueue
from gateway.clock import FakeClock, settle
from gateway.processes.bounds import CallBounds
from gateway.processes.messages import GivesBack, Granted, Recalled, ToChild, Wants


class Process:
    """One that serves: its part of the bound, and the line of its calls."""

    def __init__(self, machine: Machine, number: int) -> None:
        def want(calls: int) -> None:
            machine.later(lambda: machine.hear(number, Wants("b", machine.total, calls)))

        def give(count: int) -> None:
            machine.later(lambda: machine.hear(number, GivesBack("b", machine.total, count)))

        self.bound = SharedBound(fair=1, want=want, give=give)
        self.queue = SlotQueue(lambda: self.bound.cap(self.queue), FakeClock())
        self.bound.governs(self.queue)
        self.calls: list[asyncio.Task[None]] = []

    def call(self) -> None:
        """Comes, and runs when it may."""
        self.calls.append(asyncio.get_running_loop().create_task(self._call()))

    async def _call(self) -> None:
        if not self.queue.take():
            self.bound.ask()
            await self.queue.wait()

    def end_one(self) -> None:
        """A call that runs ends."""
        if self.queue.running:
            self.queue.give_back()

    def give_up_one(self) -> None:
        """A caller that waits goes."""
        waiting = [call for call in self.calls if not call.done()]
        if waiting:
            waiting[-1].cancel()

    def receive(self, message: ToChild) -> None:
        if isinstance(message, Granted):
            self.bound.grant(message.more, pressed=message.pressed)
        elif isinstance(message, Recalled):
            self.bound.recall(message.left)


class Machine:
    """Processes and their parent, with messages on their way in order."""

    def __init__(self, total: int, processes: int) -> None:
        self.total = total
        self.bounds = CallBounds(processes)
        self.processes = {number: Process(self, number) for number in range(1, processes + 1)}
        self._ways: deque[Callable[[], None]] = deque()

    def later(self, what: Callable[[], None]) -> None:
        self._ways.append(what)

    def hear(self, number: int, message: Wants | GivesBack) -> None:
        if number in self.processes:
            self._pass_on(self.bounds.hear(number, message))

    def kill(self, number: int) -> None:
        del self.processes[number]
        self._pass_on(self.bounds.end(number))

    def _pass_on(self, told: list[tuple[int, ToChild]]) -> None:
        for number, message in told:

            def arrive(number: int = number, message: ToChild = message) -> None:
                if number in self.processes:
                    self.processes[number].receive(message)

            self._ways.append(arrive)

    def deliver_one(self) -> None:
        if self._ways:
            self._ways.popleft()()
        assert self.running <= self.total

    async def rest(self) -> None:
        """Until nothing is on its way."""
        await settle(3)
        while self._ways:
            self.deliver_one()
            await settle(3)

    @property
    def running(self) -> int:
        return sum(one.queue.running for one in self.processes.values())

    @property
    def waiting(self) -> int:
        return sum(one.queue.waiting for one in self.processes.values())


async def test_a_process_that_is_alone_in_having_calls_has_them_all() -> None:
    machine = Machine(8, 2)
    for _ in range(12):
        machine.processes[1].call()
    await machine.rest()
    assert (machine.running, machine.waiting) == (8, 4)


async def test_two_that_both_have_many_have_half_each_as_calls_end() -> None:
    machine = Machine(8, 2)
    one, two = machine.processes.values()
    for _ in range(20):
        one.call()
    await machine.rest()
    for _ in range(20):
        two.call()
    await machine.rest()
    assert (one.queue.running, two.queue.running) == (8, 0)
    for _ in range(4):
        one.end_one()
        await machine.rest()
    assert (one.queue.running, two.queue.running) == (4, 4)


async def test_what_one_does_not_need_any_more_the_other_has() -> None:
    machine = Machine(8, 2)
    one, two = machine.processes.values()
    for process in (one, two):
        for _ in range(8):
            process.call()
    await machine.rest()
    while one.queue.running:
        one.end_one()
        await machine.rest()
    assert two.queue.running == 8
    assert machine.waiting == 0


async def test_of_a_bound_of_one_they_take_turns() -> None:
    machine = Machine(1, 2)
    for process in machine.processes.values():
        for _ in range(4):
            process.call()
    await machine.rest()
    turns = []
    for _ in range(8):
        (busy,) = (n for n, one in machine.processes.items() if one.queue.running)
        turns.append(busy)
        machine.processes[busy].end_one()
        await machine.rest()
    assert sorted(turns) == [1] * 4 + [2] * 4
    assert len({*turns[:3]}) == 2


async def test_what_a_dead_process_had_the_others_have() -> None:
    machine = Machine(4, 2)
    for process in machine.processes.values():
        for _ in range(4):
            process.call()
    await machine.rest()
    machine.kill(1)
    await machine.rest()
    assert (machine.running, machine.waiting) == (4, 0)


@pytest.mark.parametrize("seed", range(60))
async def test_the_bound_is_never_passed_and_no_part_of_it_is_lost(seed: int) -> None:
    """Random calls, ends, impatient callers, deaths and delays."""
    chance = random.Random(seed)
    processes = chance.randrange(1, 5)
    machine = Machine(chance.randrange(1, 9), processes)
    for _ in range(300):
        process = chance.choice([*machine.processes.values()])
        step = chance.random()
        if step < 0.35:
            process.call()
        elif step < 0.6:
            process.end_one()
        elif step < 0.65:
            process.give_up_one()
        elif step < 0.66 and len(machine.processes) > 1:
            machine.kill(chance.choice([*machine.processes]))
        else:
            machine.deliver_one()
        await settle(2)
        assert machine.running <= machine.total
    await machine.rest()
    assert machine.running == machine.total or machine.waiting == 0
    for _ in range(1000):
        busy = [one for one in machine.processes.values() if one.queue.running]
        if not busy:
            break
        chance.choice(busy).end_one()
        await machine.rest()
        assert machine.running == machine.total or machine.waiting == 0
    assert (machine.running, machine.waiting) == (0, 0)
