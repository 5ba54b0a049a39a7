"""A call that stands in the lines of several backends: it takes whatever is free first, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends.slots import Replaced, SlotQueue
from gateway.clock import FakeClock, settle
from gateway.planning.line import Place


class Scene:
    """Some backends of one slot each, and calls that stand in lines of theirs."""

    def __init__(self, backends: int) -> None:
        self.clock = FakeClock()
        self.caps = [1] * backends
        self.queues = [SlotQueue(self._cap(index), self.clock) for index in range(backends)]
        self.running: dict[int, SlotQueue] = {}
        self.ended: set[int] = set()
        self.tasks: dict[int, asyncio.Task[None]] = {}

    def _cap(self, index: int) -> Callable[[], int]:
        return lambda: self.caps[index]

    def come(self, call: int, places: Iterable[int], rank: int = 1) -> None:
        home, *others = (self.queues[place] for place in places)
        if home.take():
            self.running[call] = home
        else:
            work = self._wait(call, home, others, rank)
            self.tasks[call] = asyncio.create_task(work)

    async def _wait(self, call: int, home: SlotQueue, others: list[SlotQueue], rank: int) -> None:
        while True:
            try:
                queue = await home.wait(None, Place(2.0, rank), others)
            except Replaced:
                continue
            assert call not in self.running
            assert call not in self.ended
            self.running[call] = queue
            return

    def end(self, call: int) -> None:
        self.ended.add(call)
        self.running.pop(call).give_back()

    def cancel(self, call: int) -> None:
        self.ended.add(call)
        self.tasks[call].cancel()

    @property
    def waiting(self) -> list[int]:
        return [call for call, task in self.tasks.items() if not task.done()]

    def check(self) -> None:
        """Each slot has one call, and nobody waits where one is free."""
        for queue, cap in zip(self.queues, self.caps, strict=True):
            of_it = [call for call, at in self.running.items() if at is queue]
            assert queue.running == len(of_it)
            assert queue.waiting == len(queue.line)
            assert not queue.waiting or queue.running >= cap


async def test_a_call_takes_the_slot_that_is_free_first() -> None:
    scene = Scene(2)
    scene.come(0, [0])
    scene.come(1, [1])
    scene.come(2, [0, 1])
    await settle()
    scene.end(1)
    await settle()
    assert scene.running[2] is scene.queues[1]
    assert (scene.queues[0].waiting, scene.queues[1].waiting) == (0, 0)
    scene.check()


async def test_a_slot_that_is_free_elsewhere_is_taken_at_once() -> None:
    scene = Scene(2)
    scene.come(0, [0])
    scene.come(1, [0, 1])
    await settle()
    assert scene.running[1] is scene.queues[1]


async def test_a_call_that_stands_elsewhere_too_counts_in_the_line_of_its_own_backend() -> None:
    """Others are not called away from where they did not come for."""
    scene = Scene(2)
    scene.come(0, [0])
    scene.come(1, [1])
    scene.come(2, [0, 1], rank=0)
    await settle()
    assert [queue.waiting_below(2) for queue in scene.queues] == [1, 0]
    scene.cancel(2)
    await settle()
    assert [queue.waiting_below(2) for queue in scene.queues] == [0, 0]


async def test_whoever_is_sent_away_stands_nowhere() -> None:
    first, second = (SlotQueue(lambda: 0, FakeClock()) for _ in range(2))
    task = asyncio.create_task(first.wait(None, Place(), [second]))
    await settle()
    assert (first.waiting, second.waiting) == (1, 1)
    second.dismiss(Replaced())
    with pytest.raises(Replaced):
        await task
    assert (first.waiting, second.waiting) == (0, 0)


_kinds = st.sampled_from(("come", "come", "end", "end", "cancel", "dismiss", "more", "fewer"))
_steps = st.lists(st.tuples(_kinds, st.permutations([0, 1, 2]), st.integers(1, 3)), max_size=60)


@given(_steps)
def test_no_call_is_lost_or_bound_twice(steps: list[tuple[str, list[int], int]]) -> None:
    """Whoever leaves, is cancelled in the instant in which it is granted, or is sent away by a
    reload or a drain to stand anew."""

    async def play() -> None:
        scene = Scene(3)
        for call, (kind, places, number) in enumerate(steps):
            if kind == "come":
                scene.come(call, places[:number])
            elif kind == "end" and scene.running:
                scene.end(list(scene.running)[number % len(scene.running)])
                if scene.waiting and number == 3:
                    scene.cancel(scene.waiting[0])
            elif kind == "cancel" and scene.waiting:
                scene.cancel(scene.waiting[number % len(scene.waiting)])
            elif kind == "dismiss":
                scene.queues[places[0]].dismiss(Replaced())
            elif kind in ("more", "fewer"):
                scene.caps[places[0]] = 2 if kind == "more" else 0
                scene.queues[places[0]].fill()
            await settle()
            scene.check()
        scene.caps = [1] * 3
        for queue in scene.queues:
            queue.fill()
        while scene.waiting or scene.running:
            await settle()
            scene.check()
            scene.end(next(iter(scene.running)))
            await settle()
        assert all(queue.running == queue.waiting == 0 for queue in scene.queues)
        await asyncio.gather(*scene.tasks.values(), return_exceptions=True)

    asyncio.run(play())
