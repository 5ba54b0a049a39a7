"""Whoever asks how all processes stand hears it from each of them, and never for ever waits."""

from __future__ import annotations

import msgspec

from gateway.clock import FakeClock, settle
from gateway.metrics import Metrics
from gateway.processes.counted import counted, rendered
from gateway.processes.messages import About, AllTold, Asks, TellOf, Tells, ToChild
from gateway.processes.rounds import WITHIN_S, Rounds


class Machine:
    """Processes that answer what the parent asks when a test says so."""

    def __init__(self, clock: FakeClock, *processes: int) -> None:
        self.serving = [*processes]
        self.asked: list[tuple[int, TellOf]] = []
        self.told: list[tuple[int, AllTold]] = []
        self.rounds = Rounds(lambda: self.serving, self._say, clock)

    def _say(self, process: int, message: ToChild) -> None:
        if isinstance(message, TellOf):
            self.asked.append((process, message))
        elif isinstance(message, AllTold):
            self.told.append((process, message))

    def ask(self, process: int, about: About = "readiness") -> None:
        self.rounds.ask(process, Asks(about))

    def answer(self, *silent: int) -> None:
        """All but these answer what they were asked, with their number."""
        asked, self.asked = self.asked, []
        for process, question in asked:
            if process not in silent:
                report = msgspec.msgpack.encode(process)
                self.rounds.tell(process, Tells(question.round, question.about, report))

    def end(self, process: int) -> None:
        self.serving.remove(process)
        self.rounds.end(process)


def reports(*processes: int) -> tuple[tuple[int, bytes], ...]:
    return tuple((one, msgspec.msgpack.encode(one)) for one in processes)


async def test_who_asks_hears_what_each_process_tells(clock: FakeClock) -> None:
    machine = Machine(clock, 1, 2, 3)
    machine.ask(2)
    machine.answer()
    assert machine.told == [(2, AllTold("readiness", reports(1, 2, 3), ()))]


async def test_who_asks_while_others_are_answered_hears_of_the_next_round(clock: FakeClock) -> None:
    machine = Machine(clock, 1, 2)
    machine.ask(1)
    machine.ask(2)
    machine.ask(2)
    machine.answer()
    assert [process for process, _ in machine.told] == [1]
    machine.answer()
    assert [process for process, _ in machine.told] == [1, 2]
    assert machine.asked == []


async def test_two_things_are_asked_of_at_a_time(clock: FakeClock) -> None:
    machine = Machine(clock, 1)
    machine.ask(1, "readiness")
    machine.ask(1, "backends")
    machine.answer()
    assert [told.about for _, told in machine.told] == ["readiness", "backends"]


async def test_one_that_does_not_answer_is_named_after_its_time(clock: FakeClock) -> None:
    machine = Machine(clock, 1, 2)
    machine.ask(1)
    machine.answer(2)
    assert machine.told == []
    await clock.advance(WITHIN_S)
    await settle()
    assert machine.told == [(1, AllTold("readiness", reports(1), (2,)))]


async def test_one_that_ends_is_not_waited_for_and_not_told(clock: FakeClock) -> None:
    machine = Machine(clock, 1, 2, 3)
    machine.ask(1)
    machine.ask(3)
    machine.answer(2)
    machine.end(3)
    assert machine.told == []
    machine.end(2)
    assert machine.told == [(1, AllTold("readiness", reports(1), ()))]
    assert machine.asked == []


async def test_what_one_counted_that_is_gone_is_told_by_who_remains(clock: FakeClock) -> None:
    machine = Machine(clock, 1, 2)
    for process, calls in ((1, 3), (2, 4)):
        metrics = Metrics()
        for _ in range(calls):
            metrics.pairs["m", "b"].ended["success"].value += 1
        machine.rounds.tell(process, Tells(0, "metrics", counted(metrics.registry)))
    machine.end(2)
    machine.ask(1, "metrics")
    await clock.advance(WITHIN_S)
    await settle()
    ((_, told),) = machine.told
    assert told.silent == (1,)
    text = rendered(told.reports).decode()
    assert 'spillgate_calls_total{backend="b",model="m",outcome="success"} 7.0' in text
