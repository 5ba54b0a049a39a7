"""Which models are in memory: the plan, by example and by chance."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local_runtime.app.model_sizes import ModelSizes, bytes_of, from_json, in_words, misfit, to_json
from local_runtime.worker.models.cache import (
    DoesNotFit,
    LoadModel,
    ModelCache,
    ModelState,
    Step,
    UnloadModel,
)

GIB = 1024**3


def cache(capacity: int, **sizes: int) -> ModelCache:
    """Models by their GiB; those with a name in capitals are pinned."""
    models = {n: ModelSizes(memory=s * GIB, pin=n.isupper()) for n, s in sizes.items()}
    return ModelCache(models, capacity * GIB)


def brought(room: ModelCache, name: str, seconds: float = 1.0, uses: int = 1) -> list[Step]:
    """What it took to have a model in, which was then used so often."""
    room.want(name)
    steps = room.plan()
    assert steps[-1] == LoadModel(name)
    room.loaded(name, seconds)
    for _ in range(uses):
        assert room.acquire(name)
        room.release(name)
    return steps


def test_a_model_is_loaded_when_it_is_wanted_and_however_many_want_it_once() -> None:
    room = cache(10, a=4)
    assert room.plan() == []
    room.want("a")
    room.want("a")
    assert room.plan() == [LoadModel("a")]
    room.want("a")
    assert room.plan() == []
    assert not room.acquire("a")
    room.loaded("a", 2.0)
    assert room.plan() == []
    assert room.acquire("a")


def test_the_model_of_least_uses_times_load_time_for_its_size_goes() -> None:
    """2 s for 4 GiB, used four times, is worth 2; 6 s for 4 GiB, used once, 1.5."""
    room = cache(8, a=4, b=4, c=4)
    brought(room, "a", 2.0, uses=4)
    brought(room, "b", 6.0, uses=1)
    assert brought(room, "c") == [UnloadModel("b"), LoadModel("c")]
    assert room.clock == pytest.approx(1.5)


def test_what_was_precious_and_is_not_used_any_more_goes_in_the_end() -> None:
    """The clock rises with each eviction, and only uses keep up with it."""
    room = cache(8, old=4, b=4, c=4)
    brought(room, "old", 10.0, uses=1)
    gone = [step for name in "bcbc" for step in brought(room, name, 4.0)[:-1]]
    assert gone == [UnloadModel("b"), UnloadModel("c"), UnloadModel("old")]


def test_a_large_one_that_makes_room_alone_spares_the_small_ones() -> None:
    room = cache(10, small=1, large=9, new=9)
    brought(room, "small", 0.1)
    brought(room, "large", 9.0)
    assert brought(room, "new") == [UnloadModel("large"), LoadModel("new")]


def test_a_model_in_use_stays_until_its_calls_have_ended_and_takes_no_new_ones() -> None:
    room = cache(4, a=4, b=4)
    brought(room, "a", uses=0)
    assert room.acquire("a")
    room.want("b")
    assert room.plan() == []
    assert room["a"].state is ModelState.LEAVING
    assert not room.acquire("a")
    room.release("a")
    assert room.plan() == [UnloadModel("a"), LoadModel("b")]


def test_a_model_that_was_to_leave_stays_when_nobody_waits_for_the_other_any_more() -> None:
    room = cache(4, a=4, b=4)
    brought(room, "a", uses=0)
    assert room.acquire("a")
    room.want("b")
    room.plan()
    room.unwant("b")
    assert room.plan() == []
    assert room.acquire("a")


def test_who_waits_for_calls_to_end_holds_up_none_for_whom_there_is_room() -> None:
    """b needs all that a has; c fits beside a."""
    room = cache(6, a=4, b=6, c=2)
    brought(room, "a", uses=0)
    assert room.acquire("a")
    room.want("b")
    room.want("c")
    assert room.plan() == []  # room for c is promised to b
    room = cache(8, a=4, b=6, c=2)
    brought(room, "a", uses=0)
    assert room.acquire("a")
    room.want("b")
    room.want("c")
    assert room.plan() == [LoadModel("c")]


def test_what_a_leaving_model_will_free_is_no_room_before_it_has_left() -> None:
    """Once a has left there is room for both; until then there are 2 GiB."""
    room = cache(10, a=8, b=4, c=4, d=2)
    brought(room, "a", uses=0)
    assert room.acquire("a")
    room.want("b")
    room.want("c")
    assert room.plan() == []
    room.want("d")
    assert room.plan() == [LoadModel("d")]
    room.loaded("d", 1.0)
    room.release("a")
    assert room.plan() == [UnloadModel("a"), LoadModel("b")]


def test_pinned_models_come_first_and_never_go() -> None:
    room = cache(6, P=4, a=2, b=2)
    assert room.load_first() == [LoadModel("P")]
    room.loaded("P", 0.0)
    brought(room, "a", 100.0, uses=9)
    assert brought(room, "b") == [UnloadModel("a"), LoadModel("b")]


def test_a_load_that_failed_leaves_its_memory_free() -> None:
    room = cache(4, a=4)
    room.want("a")
    room.plan()
    room.failed("a")
    assert (room.taken, room["a"].failures) == (0, 1)
    room.want("a")
    assert room.plan() == [LoadModel("a")]


@pytest.mark.parametrize(
    ("capacity", "sizes", "says"),
    [
        (4, {"a": 5}, "the model a: 5 GiB cannot fit in a memory of 4 GiB"),
        (4, {"A": 3, "B": 2}, "the model B: with it the pinned models take 5 GiB of 4 GiB"),
        (4, {"A": 3, "b": 2}, "the model b: 2 GiB cannot fit: the pinned models leave 1 GiB"),
    ],
)
def test_what_can_never_be_loaded_is_refused_at_once(
    capacity: int, sizes: dict[str, int], says: str
) -> None:
    with pytest.raises(DoesNotFit) as caught:
        cache(capacity, **sizes)
    assert str(caught.value) == says


def test_sizes_are_read_and_said_as_people_write_them() -> None:
    assert [bytes_of(one) for one in ("4GiB", "500 MB", "1.5KiB", 7)] == [4 * GIB, 5e8, 1536, 7]
    for wrong in ("", "4 gigs", 0, -1, True, "0.1B"):
        with pytest.raises(ValueError, match="is not a size"):
            bytes_of(wrong)
    assert [in_words(one) for one in (24 * GIB, 1.5 * GIB, 300 * 1024**2, 12)] == [
        "24 GiB",
        "1.5 GiB",
        "300 MiB",
        "12 B",
    ]


def test_declarations_cross_the_command_line() -> None:
    models = {"a b": ModelSizes(memory=5, pin=True), "ü": ModelSizes(memory=1)}
    assert from_json(to_json(models)) == models
    assert from_json("") == {}


NAMES = ("a", "b", "c", "d", "e")


class Room(RuleBasedStateMachine):
    """A cache in all that may happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = ModelCache({})
        self.used: list[str] = []
        self.loading: list[str] = []

    @initialize(
        sizes=st.lists(st.integers(1, 6), min_size=5, max_size=5),
        pins=st.sets(st.sampled_from(NAMES), max_size=2),
        spare=st.integers(0, 6),
    )
    def build(self, sizes: list[int], pins: set[str], spare: int) -> None:
        models = {
            name: ModelSizes(memory=size * GIB, pin=name in pins)
            for name, size in zip(NAMES, sizes, strict=True)
        }
        least = sum(m.memory for m in models.values() if m.pin) + max(
            [m.memory for m in models.values() if not m.pin]
        )
        assert misfit(models, least) is None
        self.cache = ModelCache(models, least + spare * GIB)
        for step in self.cache.load_first():
            self.cache.loaded(step.model, 1.0)

    @rule(name=st.sampled_from(NAMES))
    def a_call_comes(self, name: str) -> None:
        if self.cache.acquire(name):
            self.used.append(name)
        else:
            self.cache.want(name)

    @rule(name=st.sampled_from(NAMES))
    def nobody_waits(self, name: str) -> None:
        self.cache.unwant(name)

    @precondition(lambda self: self.used)
    @rule(data=st.data())
    def a_call_ends(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.used))
        self.used.remove(name)
        self.cache.release(name)

    @rule()
    def it_is_planned(self) -> None:
        before = {v.name: (v.state, v.users, v.worth, v.size) for v in self.cache}
        free = self.cache.capacity - self.cache.taken
        steps = self.cache.plan()
        if not steps:
            return
        *unloads, load = steps
        assert isinstance(load, LoadModel)
        assert not self.loading, "one load at a time"
        assert before[load.model][0] is ModelState.OUT
        self.loading.append(load.model)
        gone = [step.model for step in unloads]
        for name in gone:
            state, users, _, _ = before[name]
            assert isinstance(UnloadModel(name), UnloadModel)
            assert state in (ModelState.IN, ModelState.LEAVING)
            assert users == 0
            assert not self.cache[name].pinned
        if not any(model.state is ModelState.LEAVING for model in self.cache):
            # else a part of what is free is promised to one that waits for those
            self._least_worth_went(before, gone, before[load.model][3] - free)

    def _least_worth_went(
        self, before: dict[str, tuple[ModelState, int, float, int]], gone: list[str], need: float
    ) -> None:
        """Nothing went in vain; and one that had not been to leave went only where all
        idle ones of less worth would not have made room."""
        freed = sum(before[name][3] for name in gone)
        assert all(freed - before[name][3] < need for name in gone)
        promised = {
            name for name, (state, _, _, _) in before.items() if state is ModelState.LEAVING
        }
        for name in set(gone) - promised:
            less = sum(
                size
                for other, (state, users, worth, size) in before.items()
                if state is ModelState.IN
                and not users
                and not self.cache[other].pinned
                and worth < before[name][2]
            )
            assert less < need

    @precondition(lambda self: self.loading)
    @rule(seconds=st.floats(0, 100), well=st.booleans())
    def a_load_ends(self, seconds: float, well: bool) -> None:
        name = self.loading.pop()
        if well:
            self.cache.loaded(name, seconds)
        else:
            self.cache.failed(name)

    @invariant()
    def what_is_in_fits(self) -> None:
        assert self.cache.taken <= self.cache.capacity

    @invariant()
    def what_is_pinned_or_in_use_is_in(self) -> None:
        for model in self.cache:
            assert model.users == self.used.count(model.name)
            if model.pinned or model.users:
                assert model.state in (ModelState.IN, ModelState.LEAVING)
            assert not (model.pinned and model.state is ModelState.LEAVING)


TestRoom = Room.TestCase
TestRoom.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@given(order=st.lists(st.sampled_from(NAMES), min_size=1, max_size=40), room=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_no_model_starves_behind_others_that_are_never_idle(order: list[str], room: int) -> None:
    """Whatever takes calls has a new one before the last has ended."""
    cache = ModelCache({name: ModelSizes(memory=GIB) for name in NAMES}, room * GIB)
    for name in order:
        turns = 0
        while not cache.acquire(name):
            cache.want(name)
            _a_turn_of_company(cache)
            turns += 1
            assert turns <= len(NAMES)


def _a_turn_of_company(cache: ModelCache) -> None:
    for model in cache:
        before = model.users
        cache.acquire(model.name)
        for _ in range(before):
            cache.release(model.name)
    for step in cache.plan():
        if isinstance(step, LoadModel):
            cache.loaded(step.model, 1.0)
