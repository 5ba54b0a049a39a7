"""What schedules will begin next, for those who have to be ready by then."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from gateway.clock import Clock
from gateway.planning.coming import ComingCalls
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.schedules.instants import next_after
from gateway.schedules.last_batches import BatchForecast
from gateway.schedules.payers import model_of
from gateway.storage.schedules.base import Timetable
from gateway.tasks import BackgroundTasks

_LEARN_AHEAD_S = 60.0
"""So long before anybody is told of an instant it is asked how large its batch will be."""


class _Next(NamedTuple):
    schedule: ScheduleSpec
    at: float
    is_learned: bool = False


class SchedulesAhead:
    """Of one gateway. Nothing is looked at before somebody asks."""

    def __init__(
        self,
        schedules: Callable[[], Mapping[str, ScheduleSpec]],
        size_of: Callable[[str, ScheduleSpec], Awaitable[BatchForecast | None]],
        clock: Clock,
    ) -> None:
        """``schedules``: those of the policy in force; ``size_of``: how large the next batch of one
        will be; None: nobody knows."""
        self._schedules = schedules
        self._size_of = size_of
        self._clock = clock
        self._next: dict[str, _Next] = {}
        self._sizes: dict[str, BatchForecast] = {}
        self._tasks = BackgroundTasks()

    def within(self, seconds: float) -> list[ComingCalls]:
        """Of each schedule its next instant, where that is no further away. A batch is told of from
        its second time on, when it is known how many lines it has, and of which model."""
        now_at = self._clock.time()
        coming = (
            self._coming(name, schedule, now_at, seconds)
            for name, schedule in self._schedules().items()
        )
        return [one for one in coming if one is not None]

    def _coming(
        self, name: str, schedule: ScheduleSpec, now_at: float, seconds: float
    ) -> ComingCalls | None:
        following = self._following(name, schedule, now_at)
        if following.at - now_at > seconds + _LEARN_AHEAD_S:
            return None
        if schedule.batch is not None and not following.is_learned:
            self._next[name] = following._replace(is_learned=True)
            self._tasks.run(self._learn(name, schedule))
        if following.at - now_at > seconds:
            return None
        return self._calls(name, schedule, following.at)

    def _following(self, name: str, schedule: ScheduleSpec, now_at: float) -> _Next:
        known = self._next.get(name)
        if known is None or known.schedule is not schedule or known.at <= now_at:
            at = next_after(Timetable(schedule.cron, schedule.zone), now_at)
            known = self._next[name] = _Next(schedule, math.inf if at is None else at)
        return known

    def _calls(self, name: str, schedule: ScheduleSpec, at: float) -> ComingCalls | None:
        """None of a batch of which nothing is known."""
        if schedule.batch is None:
            return ComingCalls(schedule=name, model=model_of(schedule), at=at)
        size = self._sizes.get(name)
        if size is None:
            return None
        return ComingCalls(
            schedule=name,
            model=size.model,
            at=at,
            calls=size.lines,
            within_s=schedule.batch.within,
        )

    async def _learn(self, name: str, schedule: ScheduleSpec) -> None:
        size = await self._size_of(name, schedule)
        if size is not None:
            self._sizes[name] = size

    async def aclose(self) -> None:
        """Asks nobody any more."""
        await self._tasks.cancel()
