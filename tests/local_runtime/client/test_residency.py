"""How long a call would wait for its model, by what the worker said and what was sent to it."""

from __future__ import annotations

from typing import Any

import pytest

from local_runtime.client.residency import COMING, EVICTS, FITS, HERE, PAUSED, LoadTimes, Residency
from local_runtime.protocol.events import CacheStatus, ModelStatus

GIB = 1024**3


class Bench:
    """A worker with room for 4 GiB of models: a, b and c of 2 GiB, and d of 4."""

    def __init__(self, **places: Any) -> None:
        self.times = LoadTimes()
        self.residency = Residency(self.times)
        self.now = 100.0
        self.statuses = {
            name: ModelStatus(name, "out", size * GIB)
            for name, size in {"a": 2, "b": 2, "c": 2, "d": 4}.items()
        }
        self.report(**places)

    def report(self, capacity: int = 4 * GIB, **changes: Any) -> None:
        """``a="in"``, or ``a={"failures": 1}`` for other fields."""
        for name, change in changes.items():
            fields = {"state": change} if isinstance(change, str) else change
            before = self.statuses[name]
            same = {field: getattr(before, field) for field in before.__struct_fields__}
            self.statuses[name] = ModelStatus(**{**same, **fields})
        self.residency.update(CacheStatus(tuple(self.statuses.values()), capacity), self.now)

    def seen(self, **seconds: float) -> None:
        """Each was loaded once, and took so long."""
        for name, took in seconds.items():
            change: Any = {"loads": self.statuses[name].loads + 1, "load_s": took}
            self.report(**{name: change})

    def send(self, model: str, calls: int = 1) -> None:
        for _ in range(calls):
            self.residency.call_sent(model, self.now)

    def end(self, model: str, run_s: float | None = None) -> None:
        self.residency.call_ended(model, run_s)

    def wait(self, model: str, slots: int = 1) -> float | None:
        return self.residency.load_in(model, slots, self.now)

    def away(self, model: str) -> float:
        return self.residency.distance(model, self.now)


def test_a_model_that_is_there_is_waited_for_by_nobody() -> None:
    bench = Bench(a="in")
    assert (bench.wait("a"), bench.away("a")) == (0.0, HERE)


def test_a_name_that_the_app_does_not_have_is_no_reason_to_wait() -> None:
    """What it means is for the worker to say."""
    bench = Bench()
    bench.send("gpt")
    bench.end("gpt")
    assert (bench.wait("gpt"), bench.away("gpt")) == (0.0, HERE)


def test_a_load_takes_what_the_last_one_of_the_model_took() -> None:
    bench = Bench()
    bench.seen(a=7.0)
    bench.seen(a=5.0)
    assert bench.wait("a") == 5.0


def test_what_was_seen_of_a_worker_that_is_gone_is_remembered() -> None:
    before = Bench()
    before.seen(a=7.0)
    after = Residency(before.times)
    after.update(CacheStatus((ModelStatus("a", "out", 2 * GIB),), 4 * GIB), 0.0)
    assert after.load_in("a", 1, 0.0) == 7.0


def test_before_any_load_was_seen_a_gibibyte_takes_a_second() -> None:
    bench = Bench()
    assert [bench.wait(name) for name in ("a", "d")] == [2.0, 4.0]


def test_a_model_that_was_never_loaded_is_like_the_others_for_its_size() -> None:
    """A guess that is too high would keep the calls away that could correct it."""
    bench = Bench()
    bench.seen(d=8.0)
    assert bench.wait("a") == 4.0
    small = Bench()
    small.seen(a=3.0)
    assert small.wait("d") == 3.0


def test_a_load_that_is_under_way_is_waited_for_as_long_as_it_has_left() -> None:
    bench = Bench()
    bench.seen(a=10.0)
    bench.send("a")
    bench.report(a="loading")
    bench.now += 4
    bench.report(b="in")
    assert (bench.wait("a"), bench.away("a")) == (6.0, COMING)
    bench.now += 9
    assert bench.wait("a") == 3.0, "it is late: as late again"


def test_models_are_loaded_one_after_another_first_wanted_first_loaded() -> None:
    """The one that is loaded now has 3 of 4 seconds left; then b, then c."""
    bench = Bench()
    bench.report(capacity=0)
    bench.seen(a=4.0, b=5.0, c=6.0)
    bench.report(capacity=0, a="loading")
    bench.now += 1
    bench.send("b")
    bench.now += 1
    bench.send("c")
    bench.now -= 1
    assert [bench.wait(name) for name in ("a", "b", "c", "d")] == [3.0, 8.0, 14.0, 20.0]
    assert [bench.away(name) for name in ("b", "c", "d")] == [COMING, COMING, FITS]
    bench.end("b")
    assert bench.wait("c") == 9.0, "who wanted b has left"


def test_room_that_idle_models_can_make_costs_no_wait() -> None:
    bench = Bench(a="in", b="in")
    bench.seen(c=3.0)
    assert (bench.wait("c"), bench.away("c")) == (3.0, EVICTS)


def test_calls_under_way_on_what_must_go_are_waited_for() -> None:
    """Three of them, two at once, each as long as the last that ended there."""
    bench = Bench(a="in", b="in")
    bench.seen(d=3.0)
    bench.send("a", calls=4)
    bench.end("a", run_s=2.0)
    assert bench.wait("d", slots=2) == 3.0 + 4.0
    assert bench.wait("c") == 2.0 * 3.0 / 4.0, "b is idle, and is enough"


def test_of_busy_models_those_go_first_whose_calls_end_soonest() -> None:
    bench = Bench(a="in", b="in")
    bench.seen(c=1.0)
    for name, run_s in (("a", 9.0), ("b", 4.0)):
        bench.send(name, calls=2)
        bench.end(name, run_s)
    assert bench.wait("c") == 5.0


def test_while_no_call_of_a_model_has_ended_their_age_is_the_best_guess() -> None:
    bench = Bench(d="in")
    bench.seen(a=1.0)
    bench.send("d")
    bench.now += 30
    assert bench.wait("a") == 31.0


def test_a_pinned_model_makes_no_room() -> None:
    bench = Bench(a={"state": "in", "pinned": True}, b="in")
    bench.seen(c=1.0)
    bench.send("a")
    bench.send("b", calls=2)
    bench.end("b", run_s=7.0)
    bench.now += 3
    assert bench.wait("c") == 8.0
    assert bench.times.after_start("a") == 0.0
    assert bench.times.after_start("c") == 1.0


def test_a_model_that_is_to_leave_takes_no_new_calls() -> None:
    """It goes for another, whose load comes first, and then is loaded again."""
    bench = Bench(d="leaving")
    bench.seen(a=2.0, d=5.0)
    bench.send("d")
    bench.send("a")
    assert (bench.wait("d"), bench.away("d")) == (7.0, EVICTS)


def test_a_model_that_could_not_be_loaded_is_not_waited_for_until_its_pause_is_over() -> None:
    bench = Bench()
    bench.report(a={"failures": 1, "pause_s": 4.0})
    assert (bench.wait("a"), bench.away("a")) == (None, PAUSED)
    bench.now += 3.9
    bench.report(b="in")
    assert bench.wait("a") is None
    bench.now += 0.1
    assert (bench.wait("a"), bench.away("a")) == (2.0, FITS)


@pytest.mark.parametrize("ended", [None, 2.0])
def test_a_call_that_has_ended_is_waited_for_no_more(ended: float | None) -> None:
    bench = Bench(d="in")
    bench.send("d")
    bench.end("d", ended)
    bench.now += 50
    assert bench.wait("a") == 2.0
