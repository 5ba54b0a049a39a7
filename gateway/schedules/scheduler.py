"""Looks which instants of schedules are due, and decides each of them on a lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping

from gateway.clock import Clock
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.schedules.instants import due, next_after
from gateway.schedules.missed import Decided, decided
from gateway.schedules.one_instant import InstantWork, OnLease
from gateway.storage.base import StorageUnavailable
from gateway.storage.schedules.base import (
    NEVER,
    Outcome,
    ScheduledRun,
    ScheduleStore,
    StoredSchedule,
    Timetable,
)
from gateway.tasks import BackgroundTasks
from gateway.types import ApiError

log = logging.getLogger("spillgate")

LEASE_S = 120.0
_LEARN_EVERY_S = 1.0
"""How soon a policy is seen that came into force."""
_LOOK_EVERY_S = 10.0
_LATER = frozenset((402, 429, 503))
"""Refusals of a moment: somebody else's calls, a rate, a store."""
_PATIENCE_S = 600.0
"""How long an instant that such a refusal keeps from being begun is tried again."""
_LEAVE_S = 5.0
_FORGET_S = 60 * 86_400.0
_PRUNE_EVERY_S = 3_600.0


class Scheduler:
    """Of one gateway, which is ``name`` in the leases that it has."""

    def __init__(
        self,
        *,
        name: str,
        store: ScheduleStore,
        schedules: Callable[[], Mapping[str, ScheduleSpec]],
        work: InstantWork,
        clock: Clock,
    ) -> None:
        """``schedules``: those of the policy in force."""
        self.store = store
        self._name = name
        self._schedules = schedules
        self._work = work
        self._clock = clock
        self._tasks = BackgroundTasks()
        self._wake = asyncio.Event()
        self._known: dict[str, tuple[Timetable, float]] = {}
        """The timetables of the policy, and since when each is in force here."""
        self._in_force: Mapping[str, ScheduleSpec] | None = None
        self._since = 0.0
        self._has_looked = False
        self._busy: set[str] = set()
        self._refused: dict[tuple[str, float], float] = {}
        self._look_at = self._prune_at = 0.0
        self._failing = ""
        self._closing = False

    async def run(self) -> None:
        """Works for ever."""
        while not self._closing:
            self._wake.clear()
            if self._learn() or self._clock.time() >= self._look_at:
                await self.look()
                self._look_at = self._next_look()
            pause_s = min(_LEARN_EVERY_S, max(0.0, self._look_at - self._clock.time()))
            timer = self._clock.call_later(pause_s, self._wake.set)
            await self._wake.wait()
            timer.cancel()

    def _next_look(self) -> float:
        now = self._clock.time()
        coming = (next_after(timetable, now) for timetable, _ in self._known.values())
        return min([now + _LOOK_EVERY_S, *(at for at in coming if at is not None)])

    def _learn(self) -> bool:
        """What the policy in force says, and since when it does; whether that is new."""
        schedules = self._schedules()
        if schedules is self._in_force:
            return False
        self._in_force, self._since, self._has_looked = schedules, self._clock.time(), False
        known = {}
        for name, schedule in schedules.items():
            timetable = Timetable(schedule.cron, schedule.zone)
            before = self._known.get(name)
            is_new = before is None or before[0] != timetable
            known[name] = (timetable, self._since) if is_new or before is None else before
        self._known = known
        return True

    async def look(self) -> None:
        """One look at what is due."""
        self._learn()
        if self._has_looked and not self._known:
            return
        try:
            await self._look()
            await self._prune()
        except StorageUnavailable as unavailable:
            if str(unavailable) != self._failing:
                log.error("schedules: %s; they wait for the store", unavailable)
            self._failing = str(unavailable)
        else:
            self._failing, self._has_looked = "", True

    async def _look(self) -> None:
        stored = {one.name: one for one in await self.store.all()}
        for name, (timetable, since) in self._known.items():
            if name not in stored:
                await self.store.add(name, timetable, since)
            elif self._is_to_do(stored[name]) and name not in self._busy:
                self._busy.add(name)
                self._tasks.run(self._decide(name))
        for name, one in stored.items():
            if name not in self._known and one.timetable != NEVER and self._since > one.changed_at:
                await self._end(name)

    def _is_to_do(self, stored: StoredSchedule) -> bool:
        return self._is_changed(stored) or bool(
            due(stored.timetable, stored.place, self._clock.time())
        )

    def _is_changed(self, stored: StoredSchedule) -> bool:
        """Whether this gateway's timetable is another one, and newer."""
        timetable, since = self._known[stored.name]
        return stored.timetable != timetable and since > stored.changed_at

    async def _end(self, name: str) -> None:
        """It is not in the policy any more: if it comes back, it begins then."""
        taken = await self.store.take(name, self._name, LEASE_S)
        if taken is not None:
            await self.store.change(name, taken.epoch, NEVER, self._clock.time())
            await self.store.leave(name, taken.epoch)

    async def _decide(self, name: str) -> None:
        try:
            taken = await self.store.take(name, self._name, LEASE_S)
            if taken is not None:
                try:
                    await self._on_lease(taken)
                finally:
                    await self.store.leave(name, taken.epoch)
        except StorageUnavailable as unavailable:
            log.error("schedule %s: %s; it is looked at again", name, unavailable)
        finally:
            self._busy.discard(name)

    async def _on_lease(self, taken: StoredSchedule) -> None:
        """Every instant up to now, by the timetable that was in force; then by the new one."""
        name, now = taken.name, self._clock.time()
        schedule = self._schedules().get(name)
        if schedule is None or name not in self._known:
            return
        coming = due(taken.timetable, taken.place, now)
        for one in decided(schedule, coming, now, is_tried=bool(taken.why)):
            if self._closing or not await self._one(taken, schedule, one):
                return
        if self._is_changed(taken):
            await self.store.change(name, taken.epoch, self._known[name][0], now)

    async def _one(self, taken: StoredSchedule, schedule: ScheduleSpec, one: Decided) -> bool:
        """Whether the instant is decided by now."""
        if not one.is_begun:
            await self._put(taken, one, "missed")
            return True
        if schedule.overlap != "allow" and (before := await self.store.alive(taken.name)):
            if schedule.overlap == "wait":
                await self._explain(taken, f"{before}, the one before, has not ended")
                return False
            await self._put(taken, one, "overlapped", f"{before} had not ended")
            return True
        try:
            await self._work.begin(OnLease(taken.name, taken.epoch, one.instant, schedule))
        except ApiError as refused:
            return await self._put_off(taken, one, refused)
        self._refused.pop((taken.name, one.instant), None)
        return True

    async def _put_off(self, taken: StoredSchedule, one: Decided, refused: ApiError) -> bool:
        which, now = (taken.name, one.instant), self._clock.monotonic()
        since = self._refused.setdefault(which, now)
        if refused.status in _LATER and now - since < _PATIENCE_S:
            await self._explain(taken, refused.message)
            return False
        del self._refused[which]
        log.error("schedule %s is not begun: %s", taken.name, refused.message)
        await self._put(taken, one, "refused", refused.message)
        return True

    async def _put(
        self, taken: StoredSchedule, one: Decided, outcome: Outcome, why: str = ""
    ) -> None:
        run = ScheduledRun(schedule=taken.name, instant=one.instant, outcome=outcome, why=why)
        await self.store.decide(taken.name, taken.epoch, run)

    async def _explain(self, taken: StoredSchedule, why: str) -> None:
        if why != taken.why:
            await self.store.explain(taken.name, taken.epoch, why)

    async def _prune(self) -> None:
        now = self._clock.monotonic()
        if now >= self._prune_at:
            await self.store.prune(_FORGET_S)
            self._prune_at = now + _PRUNE_EVERY_S

    async def aclose(self) -> None:
        """Hands schedules over to whoever comes next."""
        self._closing = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._tasks.drain()
        await self._tasks.cancel()
        await self.store.aclose()
