"""Schedules in a database of whatever kind: statements out, rows in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.storage.schedules import statements
from gateway.storage.schedules.base import NewWork, ScheduledRun, StoredSchedule, Timetable
from gateway.storage.sql_outbox import SqlTables
from gateway.types import MICRO


class SqlSchedules(SqlTables):
    """A ``ScheduleStore`` over a connection to the ledger's database."""

    async def all(self) -> list[StoredSchedule]:
        return [_schedule(row) for row in await self._one(statements.ALL)]

    async def add(self, name: str, timetable: Timetable, since: float) -> None:
        await self._one(statements.add(name, timetable, since))

    async def take(self, name: str, worker: str, lease_s: float) -> StoredSchedule | None:
        found = await self._one(statements.take(name, worker, lease_s))
        return _schedule(found[0]) if found else None

    async def renew(self, name: str, epoch: int, lease_s: float) -> bool:
        [found] = await self._connection.run([statements.renew(name, epoch, lease_s)], apart=True)
        return bool(found)

    async def leave(self, name: str, epoch: int) -> bool:
        return await self._done(statements.leave(name, epoch))

    async def decide(
        self, name: str, epoch: int, run: ScheduledRun, work: NewWork | None = None
    ) -> bool:
        return bool((await self._connection.run(statements.decide(name, epoch, run, work)))[0])

    async def change(self, name: str, epoch: int, timetable: Timetable, at: float) -> bool:
        return await self._done(statements.change(name, epoch, timetable, at))

    async def explain(self, name: str, epoch: int, why: str) -> bool:
        return await self._done(statements.explain(name, epoch, why))

    async def run_at(self, name: str, instant: float) -> ScheduledRun | None:
        found = await self._one(statements.run_at(name, instant))
        return _run(found[0]) if found else None

    async def alive(self, name: str) -> str:
        found = await self._one(statements.alive(name))
        return str(found[0][0]) if found else ""

    async def runs(self, name: str, most: int) -> list[ScheduledRun]:
        return [_run(row) for row in await self._one(statements.runs(name, most))]

    async def prune(self, forget_s: float) -> None:
        await self._one(statements.prune(forget_s))


def _schedule(row: Sequence[Any]) -> StoredSchedule:
    name, cron, zone, place, changed_at, epoch, why = row
    return StoredSchedule(
        name=name,
        timetable=Timetable(cron, zone),
        place=place / MICRO,
        changed_at=changed_at / MICRO,
        epoch=epoch,
        why=why,
    )


def _run(row: Sequence[Any]) -> ScheduledRun:
    schedule, instant, outcome, work, why, state = row
    return ScheduledRun(
        schedule=schedule,
        instant=instant / MICRO,
        outcome=outcome,
        work=work,
        why=why,
        state=state,
    )
