"""Sequences that come, go, pause and fail between two steps: the loop, with a clock of its own."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import weakref
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_runtime import Runtime
from local_runtime.app.runtime import Handler
from local_runtime.protocol.events import Done, Output, Piece
from local_runtime.protocol.wire import STREAM_WINDOW
from local_runtime.worker.continuous_batch import ContinuousBatch
from local_runtime.worker.engine import Engine
from local_runtime.worker.jobs import Job, Work
from local_runtime.worker.startup import StartFailed, warm_up
from local_runtime.worker.stepper_loop import StepperLoop
from tests.local_runtime.worker.steppers import Count, Counting, call, handler


class Outlet:
    """Keeps the items of streams by their call's name."""

    def __init__(self) -> None:
        self.items: dict[str, list[bytes]] = {}

    def output(self, job: Job, event: Piece) -> None:
        assert isinstance(event, Output)
        self.items.setdefault(job.run.request, []).append(event.data)


def still() -> float:
    """A clock on which everything takes no time: all that wait are admitted at once."""
    return 100.0


def stepping(
    stepper: Any,
    outlet: Outlet | None = None,
    *,
    size: int = 8,
    retry: bool = False,
    clock: Callable[[], float] = still,
) -> StepperLoop:
    batch = ContinuousBatch(stepper, retry=retry, clock=clock)
    return StepperLoop(batch, outlet or Outlet(), size=size, limit=1 << 22)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_newcomer_joins_between_two_steps_and_leaves_alone() -> None:
    """It waits for nobody's end, and nobody waits for its."""
    stepper = Counting()
    loop = stepping(stepper)
    long = asyncio.create_task(loop.run(call("a", 8)))
    await turns(3)
    short = await loop.run(call("b", 2))
    assert not long.done()
    assert short.data == b"[1,2]"
    assert (await long).data == b"[1,2,3,4,5,6,7,8]"
    assert stepper.evicted == ["b", "a"]
    assert [step for step in stepper.steps if "b" in step] == ["a b", "a b"]


async def test_no_more_are_under_way_than_the_bound_and_others_wait_in_their_order() -> None:
    """A place that is free is taken before the next step."""
    stepper = Counting()
    loop = stepping(stepper, size=2)
    await asyncio.gather(*[loop.run(call(name, 2)) for name in "abcd"])
    assert stepper.most == 2
    assert stepper.evicted == ["a", "b", "c", "d"]


async def test_a_burst_of_newcomers_holds_up_those_under_way_by_one_step_at_a_time() -> None:
    """An admission and a step take the same here, so one comes in between two steps."""
    now = 100.0

    def clock() -> float:
        return now

    class Timed(Counting):
        def admit(self, request: Any) -> Count:
            nonlocal now
            now += 1.0
            return super().admit(request)

        def step(self, states: list[Count]) -> list[Any]:
            nonlocal now
            now += 2.0
            return super().step(states)

    stepper = Timed()
    loop = stepping(stepper, clock=clock)
    await asyncio.gather(*[loop.run(call(name, 2)) for name in "abcde"])
    assert stepper.steps[:3] == ["a", "a b c", "b c d e"]


async def test_a_cancelled_sequence_leaves_before_the_next_step_and_the_others_go_on() -> None:
    """Nothing is stepped for nobody."""
    stepper = Counting()
    loop = stepping(stepper)
    tasks = [asyncio.create_task(loop.run(call(name, 5))) for name in "ab"]
    await turns(3)
    tasks[0].cancel()
    assert (await tasks[1]).data == b"[1,2,3,4,5]"
    assert tasks[0].cancelled()
    assert stepper.evicted == ["a", "b"]
    assert stepper.steps.index("b") <= 3


async def test_a_call_that_is_cancelled_while_it_waits_is_never_admitted() -> None:
    """And does not keep the next one out."""
    stepper = Counting()
    loop = stepping(stepper, size=1)
    tasks = [asyncio.create_task(loop.run(call(name, 3))) for name in "abc"]
    await turns(2)
    tasks[1].cancel()
    assert (await tasks[2]).ok
    assert stepper.evicted == ["a", "c"]


async def test_a_failure_fails_no_later_sequence() -> None:
    """The batch is as good as new."""
    stepper = Counting(lambda states: {"a": RuntimeError()})
    loop = stepping(stepper)
    failed, fine = await asyncio.gather(loop.run(call("a", 3)), loop.run(call("b", 2)))
    assert (failed.kind, fine.data) == ("failed", b"[1,2]")
    assert (await loop.run(call("c", 1))).data == b"[1]"
    assert stepper.inside == []


async def test_a_step_that_raises_fails_its_own_sequences_and_not_those_that_wait() -> None:
    """They were not there."""

    def once(states: list[Count]) -> dict[str, Any]:
        if any(state.name in "ab" for state in states):
            raise MemoryError
        return {}

    loop = stepping(Counting(once), size=2)
    done = await asyncio.gather(*[loop.run(call(name, 1)) for name in "abc"])
    assert [one.kind or one.data for one in done] == ["failed", "failed", b"[1]"]


async def test_a_slow_reader_pauses_its_own_sequence_alone_and_goes_on_with_its_credit() -> None:
    """It keeps its place, and loses no item."""
    stepper, outlet = Counting(), Outlet()
    loop = stepping(stepper, outlet)
    wide = STREAM_WINDOW // 2
    slow = call("a", 4, stream=True, wide=wide)
    tasks = [asyncio.create_task(loop.run(job)) for job in (slow, call("b", 9))]
    assert (await tasks[1]).data == b"[1,2,3,4,5,6,7,8,9]"
    assert not tasks[0].done()
    assert len(outlet.items["a"]) == 2
    slow.window.grant(1)
    await turns()
    assert len(outlet.items["a"]) == 2
    slow.window.grant(4 * wide)
    assert (await tasks[0]).ok
    assert len(outlet.items["a"]) == 4


async def test_a_reader_that_leaves_while_its_sequence_is_paused_frees_its_place() -> None:
    """Nobody else is there to wake the loop."""
    stepper = Counting()
    loop = stepping(stepper, size=1)
    slow = call("a", 9, stream=True, wide=STREAM_WINDOW)
    left = asyncio.create_task(loop.run(slow))
    await turns()
    waiting = asyncio.create_task(loop.run(call("b", 1)))
    await turns()
    assert stepper.inside == ["a"]
    slow.close()
    left.cancel()
    assert (await waiting).data == b"[1]"
    assert stepper.evicted == ["a", "b"]


async def test_other_handlers_have_the_thread_between_two_steps() -> None:
    """A stepper shares it as asynchronous handlers do."""
    stepper = Counting()
    loop = stepping(stepper)
    task = asyncio.create_task(loop.run(call("a", 50)))
    seen = []
    while not task.done():
        seen.append(len(stepper.steps))
        await asyncio.sleep(0)
    assert len(set(seen)) > 40


class Sink(Outlet):
    """Keeps what the engine reports."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: asyncio.Queue[tuple[str, Done]] = asyncio.Queue()

    def finished(self, work: Work, results: list[Done]) -> Work | None:
        for job, done in zip(work.jobs, results, strict=True):
            self.ended.put_nowait((job.run.request, done))
        return None


async def test_one_stepper_serves_several_routes_in_one_company() -> None:
    """Chat and completions share the model, so they share its steps."""
    stepper = Counting()

    def make(context: dict[str, Any]) -> Counting:
        return stepper

    sink = Sink()
    engine = Engine({}, sink, clock=still)
    chat, plain = handler(make, route="/chat"), handler(make, route="/plain")
    for name, by in (("a", chat), ("b", plain)):
        job = call(name, 2, by=by)
        engine.begin(Work(by, [job], 99.0))
    ended = dict([await sink.ended.get(), await sink.ended.get()])
    assert {name: done.data for name, done in ended.items()} == {"a": b"[1,2]", "b": b"[1,2]"}
    assert stepper.steps == ["a", "a b", "b"]


async def test_a_cancelled_work_is_reported_once_and_its_sequence_is_out() -> None:
    """As the worker's other thread cancels it."""
    stepper, sink = Counting(), Sink()
    by = handler(lambda context: stepper)
    engine, job = Engine({}, sink, clock=still), call("a", 1000, by=by)
    unwanted = Work(by, [job], 99.0)
    engine.begin(unwanted)
    await turns()
    engine.cancel(unwanted)
    assert (await sink.ended.get())[1].kind == "cancelled"
    await turns()
    assert stepper.evicted == ["a"]


async def test_a_stepper_that_cannot_be_made_fails_its_calls_by_name() -> None:
    """In a worker it fails the start; see the tests of that."""

    def broken(context: dict[str, Any]) -> Any:
        raise KeyError("weights")

    by = handler(broken)
    (done,) = await Engine({}, Sink(), clock=still).run(Work(by, [call("a", 1, by=by)], 99.0))
    assert done.message == "the model's handler failed (KeyError)"


moves = st.lists(
    st.tuples(st.sampled_from(["call", "call", "cancel", "turn"]), st.integers(1, 6)), max_size=30
)


@settings(deadline=None, max_examples=60)
@given(moves=moves, size=st.integers(1, 4), seed=st.integers(0, 99), retry=st.booleans())
def test_whatever_comes_goes_and_fails_each_call_has_its_own_end(
    moves: list[tuple[str, int]], size: int, seed: int, retry: bool
) -> None:
    """Right numbers or a failure, one eviction for each admission, never more than the bound."""
    chance = random.Random(seed)

    def unlucky(states: list[Count]) -> dict[str, Any]:
        if chance.random() < 0.1:
            raise MemoryError
        return {state.name: ValueError() for state in states if chance.random() < 0.05}

    stepper = Counting(unlucky)

    async def play() -> list[tuple[int, Done | BaseException]]:
        loop = stepping(stepper, size=size, retry=retry)
        tasks: list[tuple[int, asyncio.Task[Done]]] = []
        names = map(chr, itertools.count(97))
        for move, number in moves:
            if move == "call":
                job = call(next(names), number)
                tasks.append((number, asyncio.create_task(loop.run(job))))
            elif move == "cancel" and tasks:
                tasks[number % len(tasks)][1].cancel()
            else:
                await turns(number)
        ends = await asyncio.gather(*[task for _, task in tasks], return_exceptions=True)
        await turns()
        return [(to, end) for (to, _), end in zip(tasks, ends, strict=True)]

    for to, end in asyncio.run(play()):
        if isinstance(end, Done) and end.ok:
            assert end.data == str(list(range(1, to + 1))).replace(" ", "").encode()
        else:
            assert isinstance(end, asyncio.CancelledError) or end.kind == "failed"  # type: ignore[union-attr]
    assert stepper.inside == []
    assert len(stepper.evicted) == len(set(stepper.evicted))
    assert stepper.most <= size


@pytest.mark.parametrize("size", [1, 3])
async def test_two_steppers_take_turns(size: int) -> None:
    """Neither waits for the other's sequences to end."""
    one, other = Counting(), Counting()
    order: list[str] = []
    one._does = lambda states: order.append("one") or {}  # type: ignore[func-returns-value]
    other._does = lambda states: order.append("other") or {}  # type: ignore[func-returns-value]
    loops = [stepping(one, size=size), stepping(other, size=size)]
    await asyncio.gather(*[loop.run(call("a", 6)) for loop in loops])
    assert order == ["one", "other"] * 6


async def test_a_stepper_that_cannot_be_made_fails_the_start_of_its_worker() -> None:
    """Whether it has a sample or not: the first caller would fail too."""

    class Broken(Counting):
        def __init__(self, context: dict[str, Any]) -> None:
            raise KeyError("weights")

    app = Runtime("broken")
    app.stepper("/")(Broken)
    with pytest.raises(StartFailed) as failure:
        await warm_up(app, Engine({}, Sink(), clock=still))
    broken = failure.value.broken
    assert (broken.stage, broken.message) == (
        "init",
        "the stepper of / failed: KeyError: 'weights'",
    )


async def test_the_warm_up_fills_every_place_at_once() -> None:
    """Once alone, then all together; each sample is evicted at its end."""
    stepper = Counting()
    app = Runtime("warm")
    app.stepper("/", max_size=3, warmup={"to": 4})(lambda context: stepper)
    await warm_up(app, Engine({}, Sink(), clock=still))
    assert (stepper.most, len(stepper.evicted)) == (3, 4)


async def test_a_warm_up_that_fails_fails_the_start() -> None:
    """As that of any handler."""
    app = Runtime("cold")
    app.stepper("/", warmup={"to": "?"})(lambda context: Counting())
    with pytest.raises(StartFailed, match="the warm-up of / failed: to must be a number"):
        await warm_up(app, Engine({}, Sink(), clock=still))


def of_models(make: Any) -> Handler:
    return Handler(route="/", function=make, concurrency=2, stepper=True, models=("*",))


def asked(name: str, to: int, by: Handler, model: str) -> Work:
    job = call(name, to, by=by)
    job.model = model
    return Work(by, [job], 99.0)


async def test_each_model_has_a_stepper_of_its_own_which_goes_with_it() -> None:
    """Nothing refers to it once it was forgotten; the next call makes another."""
    made: list[tuple[str, weakref.ref[Counting]]] = []

    def make(context: dict[str, Any], model: str) -> Counting:
        stepper = Counting()
        made.append((model, weakref.ref(stepper)))
        return stepper

    by, other = of_models(make), msgspec.structs.replace(of_models(make), route="/other")
    engine = Engine({}, Sink(), clock=still, models={"a": "A", "b": "B"})
    runs = [asked("x", 3, by, "a"), asked("y", 3, other, "a"), asked("z", 3, by, "b")]
    ended = await asyncio.gather(*[engine.run(work) for work in runs])
    assert all(done.ok for (done,) in ended)
    assert [model for model, _ in made] == ["A", "B"]
    await turns()
    await asyncio.to_thread(engine.drop_steppers, "a")
    gc.collect()
    assert [ref() is None for _, ref in made] == [True, False]
    await engine.run(asked("x", 1, by, "a"))
    assert [model for model, _ in made] == ["A", "B", "A"]


async def test_a_stepper_that_cannot_be_made_of_a_model_fails_the_calls_that_wanted_it() -> None:
    """The next call tries again, and other models are served."""
    tried: list[str] = []

    def make(context: dict[str, Any], model: str) -> Counting:
        tried.append(model)
        if model == "A":
            raise KeyError("cache")
        return Counting()

    by = of_models(make)
    engine = Engine({}, Sink(), clock=still, models={"a": "A", "b": "B"})
    names = ("a", "a", "b")
    ended = [(await engine.run(asked("x", 1, by, name)))[0] for name in names]
    assert [done.ok for done in ended] == [False, False, True]
    assert tried == ["A", "A", "B"]
