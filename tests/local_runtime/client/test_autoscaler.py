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

    def __init__(self) -> None:
        self.workers = Pretended()
        self.clock = FakeClock()
        self.autoscaler = Autoscaler(self.workers, self.workers.keep, BOUNDS, self.clock)
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
