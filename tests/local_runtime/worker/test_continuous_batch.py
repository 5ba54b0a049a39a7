"""What becomes of sequences that are stepped together, without a loop and without a clock."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from local_runtime import Step
from local_runtime.protocol.events import Done
from local_runtime.worker.continuous_batch import ContinuousBatch, Member, events_of, make_stepper
from tests.local_runtime.worker.steppers import Count, Counting, call, handler

LIMIT = 1000


class Watch:
    """A clock that goes on only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def batch_of(stepper: Any, watch: Watch | None = None, *, retry: bool = False) -> ContinuousBatch:
    return ContinuousBatch(stepper, retry=retry, clock=watch or Watch())


def members(batch: ContinuousBatch, *names: str, to: int = 3, stream: bool = False) -> list[Member]:
    found = [batch.admit(call(name, to, stream=stream)) for name in names]
    assert all(isinstance(one, Member) for one in found)
    return [one for one in found if isinstance(one, Member)]


def ends(batch: ContinuousBatch, present: list[Member]) -> list[Done | None]:
    """One step of these, and what each is answered."""
    return [
        events_of(member, outcome, LIMIT)[1]
        for member, outcome in zip(present, batch.step(present), strict=True)
    ]


def test_a_step_is_paid_for_by_those_who_took_part_and_an_admission_by_its_own_sequence() -> None:
    """Two seconds to admit each, then a step of six seconds for both, then one for the first."""
    watch = Watch()

    def slow(states: list[Count]) -> dict[str, Any]:
        watch.now += 3.0 * len(states)
        return {}

    class Slow(Counting):
        def admit(self, request: Any) -> Count:
            watch.now += 2.0
            return super().admit(request)

    batch = batch_of(Slow(slow), watch)
    first, second = members(batch, "a", "b")
    ends(batch, [first, second])
    ends(batch, [first])
    done = batch.end(first, Done(97, True))
    assert (done.gpu_s, done.batch, done.queue_s, done.exec_s) == (2 + 3 + 3, 2, 1.0, 13.0)
    assert batch.end(second, Done(98, True)).gpu_s == 2 + 3


@given(
    steps=st.lists(st.tuples(st.sets(st.sampled_from("abcd"), min_size=1), st.integers(0, 9))),
    raising=st.sampled_from(["", "a", "cd"]),
    retry=st.booleans(),
)
def test_every_second_of_a_step_is_somebodys(
    steps: list[tuple[set[str], int]], raising: str, retry: bool
) -> None:
    """Failed steps and second tries included."""
    watch, costs = Watch(), [0]

    def busy(states: list[Count]) -> dict[str, Any]:
        watch.now += costs[-1]
        if any(state.name in raising for state in states):
            raise MemoryError
        return {}

    batch = batch_of(Counting(busy), watch, retry=retry)
    everyone = {one.state.name: one for one in members(batch, *"abcd", to=99)}
    for present, cost in steps:
        costs.append(cost)
        batch.step([everyone[name] for name in sorted(present)])
    paid = sum(member.meter.gpu_s for member in everyone.values())
    assert paid == pytest.approx(watch.now - 100.0)


def test_the_stepper_refuses_one_call_and_it_is_not_admitted() -> None:
    """Nothing is there to be evicted."""
    stepper = Counting()
    done = batch_of(stepper).admit(call("a", "many"))
    assert isinstance(done, Done)
    assert (done.kind, done.param) == ("invalid", "to")
    assert (stepper.inside, stepper.evicted) == ([], [])


def poisoned(states: list[Count]) -> dict[str, Any]:
    if any(state.name == "b" for state in states):
        raise MemoryError
    return {}


def test_a_step_that_raises_fails_all_who_took_part_where_no_second_try_is_declared() -> None:
    """Nobody knows what it left behind in them."""
    stepper = Counting(poisoned)
    batch = batch_of(stepper)
    found = ends(batch, members(batch, *"abc"))
    assert [done and done.message for done in found] == [
        "the model's handler failed (MemoryError)"
    ] * 3
    assert stepper.steps == ["a b c"]


def test_a_step_that_raises_is_tried_once_more_for_each_alone_where_that_is_declared() -> None:
    """Only the one at fault fails; the others have lost no step."""
    stepper = Counting(poisoned)
    batch = batch_of(stepper, retry=True)
    present = members(batch, *"abc")
    assert [done and done.kind for done in ends(batch, present)] == [None, "failed", None]
    assert stepper.steps == ["a b c", "a", "b", "c"]
    assert [member.state.at for member in present] == [1, 0, 1]


def test_a_lone_sequence_whose_step_raises_is_not_tried_again() -> None:
    """It would be the same step."""
    stepper = Counting(poisoned)
    batch = batch_of(stepper, retry=True)
    assert [done and done.kind for done in ends(batch, members(batch, "b"))] == ["failed"]
    assert stepper.steps == ["b"]


def test_the_second_try_leaves_out_who_was_cancelled_meanwhile() -> None:
    """Nobody waits for it."""
    stepper = Counting(poisoned)
    batch = batch_of(stepper, retry=True)
    present = members(batch, *"abc")
    present[2].job.close()
    ends(batch, present)
    assert stepper.steps == ["a b c", "a", "b"]


def test_an_exception_in_the_place_of_an_outcome_fails_that_sequence_alone() -> None:
    """The others go on."""
    stepper = Counting(lambda states: {"a": ValueError("no")})
    batch = batch_of(stepper)
    first, second = ends(batch, members(batch, "a", "b"))
    assert first is not None
    assert (first.kind, second) == ("failed", None)


@pytest.mark.parametrize("instead", [[], None, [None]])
def test_a_step_with_too_few_outcomes_fails_all_of_it_by_name(instead: Any) -> None:
    """It is not tried again: the sequences have advanced."""

    class Short(Counting):
        def step(self, states: list[Count]) -> Any:
            super().step(states)
            return instead

    stepper = Short()
    batch = batch_of(stepper, retry=True)
    found = ends(batch, members(batch, "a", "b"))
    assert all(done and "one outcome a sequence: 2" in done.detail for done in found)
    assert stepper.steps == ["a b"]


def test_an_outcome_that_is_none_of_the_three_fails_its_sequence_by_name() -> None:
    """A plain value in the place of a Step."""
    batch = batch_of(Counting(lambda states: {"a": "text"}))
    (done,) = ends(batch, members(batch, "a"))
    assert done is not None
    assert "not str" in done.detail


@pytest.mark.parametrize(
    ("stream", "step", "items", "data"),
    [
        (True, Step(items=["x"], done=True, result="all"), [b'"x"'], b""),
        (True, Step(done=True, result="all"), [], b'"all"'),
        (True, Step(done=True), [], b""),
        (False, Step(items=["x"], done=True, result="all"), [], b'"all"'),
        (False, Step(items=["x"], done=True), [], b'["x"]'),
        (False, Step(done=True), [], b"[]"),
    ],
)
def test_a_caller_gets_items_or_a_whole_answer_as_it_asked(
    stream: bool, step: Step, items: list[bytes], data: bytes
) -> None:
    """The same stepper serves both."""
    batch = batch_of(Counting())
    (member,) = members(batch, "a", stream=stream)
    outputs, done = events_of(member, step, LIMIT)
    assert [output.data for output in outputs] == items
    assert done is not None
    assert (done.ok, done.data) == (True, data)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_cannot_be_sent_fails_its_sequence_and_keeps_what_came_before(
    stream: bool,
) -> None:
    """Too large, here; the first item has left all the same."""
    batch = batch_of(Counting())
    (member,) = members(batch, "a", stream=stream)
    outputs, done = events_of(member, Step(items=["x", "y" * 2000], done=True), LIMIT)
    assert [output.data for output in outputs] == ([b'"x"'] if stream else [])
    assert done is not None
    assert done.kind == "failed"
    assert "the limit is 1000" in done.message + done.detail


def test_tokens_are_counted_however_the_sequence_ends() -> None:
    """From the step, or from the usage of an item in OpenAI's shape."""
    batch = batch_of(Counting())
    counted, reported = members(batch, "a", "b", stream=True)
    batch.step([counted])
    events_of(counted, Step(prompt_tokens=4, completion_tokens=2), LIMIT)
    events_of(counted, Step(completion_tokens=3), LIMIT)
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}}
    events_of(reported, Step(items=[usage]), LIMIT)
    lost = [batch.end(one, Done(1, False, kind="cancelled")) for one in (counted, reported)]
    assert [(done.input_tokens, done.output_tokens) for done in lost] == [(4, 3), (5, 6)]


def test_tokens_that_are_no_integers_fail_the_sequence_and_reach_no_wire() -> None:
    """A tensor's integer is one; half a token is not."""
    batch = batch_of(Counting())
    (member,) = members(batch, "a")
    events_of(member, Step(completion_tokens=torch.tensor(3)), LIMIT)
    assert member.meter.output_tokens == 3
    assert type(member.meter.output_tokens) is int
    _, done = events_of(member, Step(completion_tokens=3.5), LIMIT)  # type: ignore[arg-type]
    assert done is not None
    assert (done.kind, member.meter.output_tokens) == ("failed", 3)


def test_what_an_eviction_raises_changes_no_answer() -> None:
    """It is in the log, and its time is paid."""
    watch = Watch()

    class Stubborn(Counting):
        def evict(self, state: Count) -> None:
            watch.now += 1.0
            raise OSError

    batch = batch_of(Stubborn(), watch)
    (member,) = members(batch, "a")
    done = batch.end(member, Done(1, True, b"1"))
    assert (done.ok, done.data, done.gpu_s) == (True, b"1", 1.0)


def test_a_stepper_is_asked_for_its_methods_before_the_first_call() -> None:
    """A coroutine among them would never run."""

    class Late(Counting):
        async def step(self, states: list[Count]) -> list[Any]:  # type: ignore[override]
            return []

    with pytest.raises(TypeError, match=r"Late\.step must be a plain method"):
        make_stepper(handler(lambda context: Late()), {})
    with pytest.raises(TypeError, match=r"object\.admit must be"):
        make_stepper(handler(lambda context: object()), {})
