"""Keeps as many workers as the calls need, within bounds: the caller's side of workers that come
and go. A worker that is to go gets no new calls, and goes when it has answered those it has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

from local_runtime.background import TaskSet
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.scaling import Demand, ScalingBounds, Trend, needed, plan
from local_runtime.clock import Clock

ADJUST_S = 0.25
"""Seconds between two looks at the demand."""


class ScaledWorkers(Protocol):
    """What ``Workers`` is to an autoscaler."""

    @property
    def connections(self) -> tuple[WorkerConnection, ...]:
        """Of the workers that are ready."""
        ...

    @property
    def known(self) -> frozenset[int]:
        """The numbers of the workers that were found."""
        ...

    def calls_of(self, index: int) -> int | None:
        """Calls that a worker has not answered; None while there is no connection to it."""
        ...

    def dismiss(self, index: int) -> None:
        """Gives a worker no new calls; those that it has go on."""
        ...

    def expect(self, workers: int) -> None:
        """So many should be there, or on their way."""
        ...


def _unknown() -> int:
    """Nobody has said how many calls there are but those at the workers."""
    return 0


class Autoscaler:
    """``demand`` says how many calls are at the workers or wait for them somewhere else; ``keep``
    is called again and again with the workers that there should be."""

    def __init__(
        self,
        workers: ScaledWorkers,
        keep: Callable[[tuple[int, ...]], None],
        bounds: ScalingBounds,
        clock: Clock,
        places: int | None = None,
    ) -> None:
        """``places``: numbers that workers may have, from 0 on, each with a place of its own; None:
        any."""
        self.demand: Callable[[], int] = _unknown
        self._workers = workers
        self._keep = keep
        self._bounds = bounds
        self._clock = clock
        self._trend = Trend(workers=bounds.least)
        self._wanted: list[int] = []
        self._leaving: set[int] = set()
        self._tasks = TaskSet()
        self._started = False
        self._numbers: Callable[[], Iterator[int]] = itertools.count
        if places is not None:
            self._numbers = lambda: iter(range(places))
        self._held = 0

    @property
    def size(self) -> int:
        """Workers that there should be."""
        return self._trend.workers

    def start(self) -> None:
        """Adjusts the number of workers to the demand, from now on."""
        if not self._started:
            self._started = True
            self._tasks.start(self._run())

    async def aclose(self) -> None:
        """Lets the workers be as they are."""
        await self._tasks.aclose()

    def hold(self, workers: int) -> None:
        """No fewer there should be, within the bounds. Where these are fewer than before, those
        that no call needs now go at once."""
        fewer = workers < self._held
        self._held = workers
        if fewer:
            self._trend = Trend(workers=needed(self._load(), self._bounds.above(workers)))

    def adjust(self) -> None:
        """Does what the demand of this instant asks for."""
        bounds = self._bounds.above(self._held)
        if self._trend.workers < bounds.least:
            self._trend = Trend(workers=bounds.least)
        self._trend = plan(self._trend, self._load(), bounds, self._clock.monotonic())
        self._workers.expect(self._trend.workers)
        while len(self._wanted) < self._trend.workers:
            index = self._free_index()
            if index is None:
                break  # one that is about to go has its place still
            self._wanted.append(index)
        while len(self._wanted) > self._trend.workers:
            self._dismiss(min(reversed(self._wanted), key=self._load_of))
        for index in self._leaving:
            self._workers.dismiss(index)  # again: its connection may be another
        self._leaving = {index for index in self._leaving if self._workers.calls_of(index)}
        self._keep((*self._wanted, *sorted(self._leaving)))

    async def _run(self) -> None:
        while True:
            self.adjust()
            await self._clock.sleep(ADJUST_S)

    def _load(self) -> Demand:
        connections = self._workers.connections
        return Demand(
            calls=max(self.demand(), sum(len(one.calls) for one in connections)),
            slots=max((one.slots for one in connections), default=0),
        )

    def _free_index(self) -> int | None:
        """The lowest that no worker has, one that is about to be gone included; None: there is
        none."""
        taken = {*self._wanted, *self._leaving, *self._workers.known}
        return next((index for index in self._numbers() if index not in taken), None)

    def _load_of(self, index: int) -> int:
        """One that does not run yet is the first to go, then the one with the fewest calls."""
        calls = self._workers.calls_of(index)
        return -1 if calls is None else calls

    def _dismiss(self, index: int) -> None:
        self._wanted.remove(index)
        self._leaving.add(index)
