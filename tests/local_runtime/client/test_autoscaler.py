"""Who stays and who goes when the load moves, over workers that are only pretended."""

from __future__ import annotations

from gateway.clock import FakeClock
from local_runtime.client.autoscaler import Autoscaler
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.scaling import ScalingBounds

BOUNDS = ScalingBounds(least=1, most=4, grow_after_s=0.0, shrink_after_s=0.0)


class Pretended:
    """Workers with two slots each. ``calls`` are those that each has."""

    def __init__(self) -> None:
        self.kept: tuple[int, ...] = ()
        self.calls: dict[int, int] = {}
        self.dismissed: set[int] = set()
        self.expected = 0
        self.known: frozenset[int] = frozenset()

    @property
    def connections(self) -> tuple[WorkerConnection, ...]:
        return tuple(self._connection(index) for index in self.calls)

    def keep(self, indices: tuple[int, ...]) -> None:
        self.kept = indices
        self.known |= set(indices)

    def calls_of(self, index: int) -> int | None:
        return self.calls.get(index)

    def dismiss(self, index: int) -> None:
        self.dismissed.add(index)

    def expect(self, workers: int) -> None:
        self.expected = workers

    def start(self) -> None:
        """Those that should be there are."""
        self.calls |= {index: 0 for index in self.kept if index not in self.calls}

    def retire(self, *indices: int) -> None:
        for index in indices:
            del self.calls[index]
        self.known -= set(indices)

    def _connection(self, index: int) -> WorkerConnection:
        connection = WorkerConnection(f"w-{index}", lambda connection: None, 1000)
        connection.slots = 0 if index in self.dismissed else 2
        return connection


class Scene:
    """An autoscaler whose demand a test sets."""

    def __init__(self, bounds: ScalingBounds = BOUNDS, places: int | None = None) -> None:
        self.workers = Pretended()
        self.clock = FakeClock()
        self.autoscaler = Autoscaler(
            self.workers, self.workers.keep, bounds, self.clock, places=places
        )
        self.demand = 0
        self.autoscaler.demand = lambda: self.demand
        self.autoscaler.adjust()
        self.workers.start()

    def look(self, demand: int) -> tuple[int, ...]:
        """The workers that should exist once so many calls are there."""
        self.demand = demand
        self.autoscaler.adjust()
        return self.workers.kept


async def test_the_least_are_there_from_the_first_look_on() -> None:
    assert Scene().workers.kept == (0,)


async def test_calls_that_wait_elsewhere_count() -> None:
    scene = Scene()
    assert scene.look(6) == (0, 1, 2)
    assert scene.look(600) == (0, 1, 2, 3)


async def test_a_worker_that_goes_is_given_no_calls_and_is_kept_until_it_has_answered_its_own() -> (
    None
):
    scene = Scene()
    scene.look(4)
    scene.workers.start()
    scene.workers.calls = {0: 2, 1: 1}
    assert scene.look(2) == (0, 1)
    assert scene.workers.dismissed == {1}
    scene.workers.calls[1] = 0
    assert scene.look(2) == (0,)


async def test_one_that_has_not_started_goes_first_and_at_once() -> None:
    scene = Scene()
    scene.look(4)
    scene.workers.start()
    scene.workers.calls = {0: 0, 1: 1}
    assert scene.look(6) == (0, 1, 2)
    assert scene.look(4) == (0, 1)
    assert scene.workers.dismissed == {2}
    assert scene.look(2) == (1,)


async def test_a_number_is_used_again_only_when_its_worker_is_gone() -> None:
    """The supervisor would take another order for the same number as none."""
    scene = Scene()
    scene.look(4)
    scene.workers.start()
    assert scene.look(0) == (0,)
    assert scene.look(4) == (0, 2)
    scene.workers.retire(1)
    assert scene.look(6) == (0, 2, 1)


IDLE = ScalingBounds(least=0, most=2, grow_after_s=1.0, shrink_after_s=300.0)


async def test_where_none_are_needed_a_call_starts_one() -> None:
    """Which nobody has seen yet, so that nobody knows how many it runs at once."""
    scene = Scene(IDLE)
    assert scene.look(0) == ()
    assert scene.look(3) == ()
    await scene.clock.advance(1.0)
    assert scene.look(3) == (0,)
    assert scene.workers.expected == 1


async def test_what_is_held_is_there_at_once_and_what_is_held_no_more_goes_at_once() -> None:
    """But for what calls need, and within the bounds."""
    scene = Scene(IDLE)
    scene.autoscaler.hold(5)
    assert scene.look(0) == (0, 1)
    scene.workers.start()
    scene.workers.calls = {0: 1, 1: 0}
    scene.demand = 1
    scene.autoscaler.hold(0)
    assert scene.look(1) == (0,)
    scene.workers.calls = {0: 0}
    assert scene.look(0) == (0,), "it goes when it was not needed for long enough"


async def test_a_worker_has_the_place_of_another_only_when_that_is_gone() -> None:
    scene = Scene(IDLE, places=2)
    scene.autoscaler.hold(2)
    scene.look(0)
    scene.workers.start()
    scene.workers.calls = {0: 1, 1: 1}
    scene.autoscaler.hold(1)
    assert scene.look(1) == (0, 1)
    scene.autoscaler.hold(2)
    assert scene.look(1) == (0, 1), "the one that goes has not answered yet"
    scene.workers.calls[1] = 0
    scene.look(1)
    scene.workers.retire(1)
    assert scene.look(1) == (0, 1)
