"""Looks which instants of schedules are due, and decides each of them on a lease."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Mapping

import msgspec

from gateway.clock import Clock
from gateway.policy.sections.schedules import ScheduleSpec
from gateway.schedules.ahead import SchedulesAhead
from gateway.schedules.changes import Change, DueInstants, spans, unstored
from gateway.schedules.instants import next_after
from gateway.schedules.missed import Decided, decided
from gateway.schedules.one_instant import BeginsInstants, OnLease
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
        since: Callable[[], float],
        work: BeginsInstants,
        ahead: SchedulesAhead,
        clock: Clock,
    ) -> None:
        """``schedules``: those of the policy in force, which is so ``since`` then."""
        self.store = store
        self.ahead = ahead
        self._name = name
        self._schedules = schedules
        self._in_force_since = since
        self._work = work
        self._clock = clock
        self._tasks = BackgroundTasks()
        self._wake = asyncio.Event()
        self._known: dict[str, tuple[Change, ...]] = {}
        """The timetables that each schedule of the policy has had here; the last one it has."""
        self._in_force: Mapping[str, ScheduleSpec] | None = None
        self._since = 0.0
        self._has_looked = False
        self._busy: set[str] = set()
        self._leases: dict[str, int] = {}
        """The epochs of those that are decided now."""
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
        coming = (next_after(each[-1].timetable, now) for each in self._known.values())
        return min([now + _LOOK_EVERY_S, *(at for at in coming if at is not None)])

    def _learn(self) -> bool:
        """What the policy in force says, and since when it does; whether that is new."""
        schedules = self._schedules()
        if schedules is self._in_force:
            return False
        self._in_force, self._since, self._has_looked = schedules, self._in_force_since(), False
        self._known = {name: self._learned(name, one) for name, one in schedules.items()}
        return True

    def _learned(self, name: str, schedule: ScheduleSpec) -> tuple[Change, ...]:
        before, timetable = self._known.get(name, ()), Timetable(schedule.cron, schedule.zone)
        if before and before[-1].timetable == timetable:
            return before
        return (*before, Change(timetable, self._since))

    async def look(self) -> None:
        """One look at what is due."""
        self._learn()
        if self._has_looked and not self._known and not self._leases:
            return
        try:
            await self._renew()
            await self._look()
            await self._prune()
        except StorageUnavailable as unavailable:
            if str(unavailable) != self._failing:
                log.error("schedules: %s; they wait for the store", unavailable)
            self._failing = str(unavailable)
        else:
            self._failing, self._has_looked = "", True

    async def _renew(self) -> None:
        """What begins may take long: an input is copied first."""
        for name, epoch in list(self._leases.items()):
            await self.store.renew(name, epoch, LEASE_S)

    async def _look(self) -> None:
        stored = {one.name: one for one in await self.store.all()}
        for name, changes in self._known.items():
            if name not in stored:
                await self.store.add(name, *changes[0])
            elif self._is_to_do(stored[name]) and name not in self._busy:
                self._busy.add(name)
                self._tasks.run(self._decide(name))
        for name, one in stored.items():
            if name not in self._known and one.timetable != NEVER and self._since > one.changed_at:
                await self._end(name)

    def _is_to_do(self, stored: StoredSchedule) -> bool:
        return any(span.change or span.instants for span in self._spans(stored))

    def _spans(self, stored: StoredSchedule) -> list[DueInstants]:
        changes = unstored(stored, self._known[stored.name])
        return spans(stored, changes, self._clock.time())

    async def _end(self, name: str) -> None:
        """It is not in the policy any more: if it comes back, it begins then."""
        taken = await self.store.take(name, self._name, LEASE_S)
        if taken is not None:
            await self.store.change(name, taken.epoch, NEVER, self._since)
            await self.store.leave(name, taken.epoch)

    async def _decide(self, name: str) -> None:
        try:
            taken = await self.store.take(name, self._name, LEASE_S)
            if taken is not None:
                self._leases[name] = taken.epoch
                try:
                    await self._on_lease(taken)
                finally:
                    del self._leases[name]
                    await self.store.leave(name, taken.epoch)
        except StorageUnavailable as unavailable:
            log.error("schedule %s: %s; it is looked at again", name, unavailable)
        finally:
            self._busy.discard(name)

    async def _on_lease(self, taken: StoredSchedule) -> None:
        """Every instant up to now, each by the timetable that was in force then."""
        schedule = self._schedules().get(taken.name)
        if schedule is None or taken.name not in self._known:
            return
        found, now = self._spans(taken), self._clock.time()
        due = [at for span in found for at in span.instants]
        coming = iter(decided(schedule, due, now, is_tried=bool(taken.why)))
        for span in found:
            if span.change is not None:
                await self.store.change(taken.name, taken.epoch, *span.change)
                taken = msgspec.structs.replace(taken, why="")
            for one in itertools.islice(coming, len(span.instants)):
                if self._closing or not await self._one(taken, schedule, one):
                    return
                taken = msgspec.structs.replace(taken, why="")

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
        await self.ahead.aclose()
        await self.store.aclose()
