"""Keeps as many workers as the calls need, within bounds: the caller's side of workers that come
and go. A worker that is to go gets no new calls, and goes when it has answered those it has."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Protocol

from local_runtime.client.connection import WorkerConnection
from local_runtime.client.scaling import Demand, ScalingBounds, Trend, plan
from local_runtime.clock import Clock

LOOK_S = 0.25
"""Between two looks at the load."""


class Workforce(Protocol):
    """What ``workers.Workers`` is to a crew."""

    @property
    def links(self) -> tuple[WorkerConnection, ...]: ...

    @property
    def known(self) -> frozenset[int]: ...

    def entries_of(self, index: int) -> int | None: ...

    def dismiss(self, index: int) -> None: ...


def _unknown() -> int:
    """Nobody has said how many calls there are but those at the workers."""
    return 0


class Autoscaler:
    """``demand`` says how many calls are at the workers or wait for them somewhere else; ``keep``
    is told, again and again, which workers there should be."""

    def __init__(
        self,
        workers: Workforce,
        keep: Callable[[tuple[int, ...]], None],
        bounds: ScalingBounds,
        clock: Clock,
    ) -> None:
        self.demand: Callable[[], int] = _unknown
        self._workers = workers
        self._keep = keep
        self._bounds = bounds
        self._clock = clock
        self._trend = Trend(workers=bounds.least)
        self._staff: list[int] = []
        self._leaving: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Workers that there should be."""
        return self._trend.workers

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        """Does what the load of this instant asks for."""
        links = self._workers.links
        load = Demand(
            calls=max(self.demand(), sum(len(link.entries) for link in links)),
            slots=max((link.slots for link in links), default=0),
        )
        self._trend = plan(self._trend, load, self._bounds, self._clock.monotonic())
        while len(self._staff) < self._trend.workers:
            self._staff.append(self._free_index())
        while len(self._staff) > self._trend.workers:
            self._dismiss(min(reversed(self._staff), key=self._use))
        for index in self._leaving:
            self._workers.dismiss(index)  # again: its connection may be another
        self._leaving = {index for index in self._leaving if self._workers.entries_of(index)}
        self._keep((*self._staff, *sorted(self._leaving)))

    async def _run(self) -> None:
        while True:
            self.look()
            await self._clock.sleep(LOOK_S)

    def _free_index(self) -> int:
        """The lowest that no worker has, one that is about to be gone included."""
        taken = {*self._staff, *self._leaving, *self._workers.known}
        return next(index for index in itertools.count() if index not in taken)

    def _use(self, index: int) -> int:
        """One that does not run yet is the first to go, then the one with the fewest calls."""
        entries = self._workers.entries_of(index)
        return -1 if entries is None else entries

    def _dismiss(self, index: int) -> None:
        self._staff.remove(index)
        self._leaving.add(index)
