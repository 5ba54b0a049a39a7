"""A schedule that is changed loses and doubles no instant, whatever it waits for meanwhile."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock, settle
from gateway.policy.sections.schedules import ScheduledJob, ScheduleSpec
from gateway.schedules.ahead import SchedulesAhead
from gateway.schedules.instants import after
from gateway.schedules.one_instant import OnLease
from gateway.schedules.scheduler import Scheduler
from gateway.storage.outbox_statements import Statement
from gateway.storage.schedules.base import ScheduledRun, Timetable
from gateway.storage.schedules.sql_schedules import SqlSchedules
from gateway.storage.sql_outbox import Rows
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO, ApiError

NAME = "often"
CRONS = ("* * * * *", "*/2 * * * *", "1-59/2 * * * *", "4 * * * *", "*/7 * * * *", "3,8 * * * *")
END_S = 15 * 60

Missed = Literal["skip", "once", "all"]


class InlineStatements(SqliteStatements):
    """A database that is asked without a thread."""

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        return self._run(batch)


class Refusing:
    """Begins what comes, but for times at which it is refused for a moment."""

    def __init__(self, store: SqlSchedules, clock: FakeClock, busy: Sequence[tuple[int, int]]):
        self._store = store
        self._clock = clock
        self._busy = busy

    async def begin(self, one: OnLease) -> None:
        now = self._clock.monotonic() - 1000.0
        if any(begin <= now < begin + length for begin, length in self._busy):
            raise ApiError(429, "rate_limited", "There are none left.")
        run = ScheduledRun(schedule=one.name, instant=one.instant, outcome="begun")
        await self._store.decide(one.name, one.epoch, run)


class PolicyOfOne:
    """What a gateway has in force: one schedule, whose cron expression changes."""

    def __init__(self, missed: Missed, clock: FakeClock) -> None:
        self._missed = missed
        self._clock = clock

    def go_by(self, cron: str) -> None:
        job = ScheduledJob(model="any", input={})
        spec = ScheduleSpec(cron=cron, key="key_night", job=job, missed=self._missed, grace=20.0)
        self.schedules = {NAME: spec}
        self.since = self._clock.time()


async def never_begun(name: str, schedule: ScheduleSpec) -> None:
    """How large its batches are is not known."""


async def runs_of(
    crons: Sequence[str],
    changed_at: Sequence[int],
    busy: Sequence[tuple[int, int]],
    missed: Missed,
) -> list[ScheduledRun]:
    """What became of a quarter of an hour in which the cron expression changes at these seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return await runs_in(Path(folder), crons, changed_at, busy, missed)


async def runs_in(
    folder: Path,
    crons: Sequence[str],
    changed_at: Sequence[int],
    busy: Sequence[tuple[int, int]],
    missed: Missed,
) -> list[ScheduledRun]:
    clock, path = FakeClock(), folder / "ledger.db"
    statements = InlineStatements(path, now_us=lambda: round(clock.time() * MICRO))
    store, policy = SqlSchedules(statements), PolicyOfOne(missed, clock)
    policy.go_by(crons[0])
    scheduler = Scheduler(
        name="one",
        store=store,
        schedules=lambda: policy.schedules,
        since=lambda: policy.since,
        work=Refusing(store, clock, busy),
        ahead=SchedulesAhead(lambda: policy.schedules, never_begun, clock),
        clock=clock,
    )
    coming = dict(zip(changed_at, crons[1:], strict=True))
    for second in sorted({*coming, *range(0, END_S + 620, 10)}):
        clock.move(second - (clock.monotonic() - 1000.0))
        if second in coming:
            policy.go_by(coming[second])
        await scheduler.look()
        await settle()
    found = await store.runs(NAME, 1_000)
    await scheduler.aclose()
    return [run for run in reversed(found) if run.instant <= FakeClock().time() + END_S]


def expected(crons: Sequence[str], changed_at: Sequence[int]) -> list[float]:
    """Each instant of each expression while that is in force."""
    begin = FakeClock().time()
    places = [begin, *(begin + at for at in changed_at), begin + END_S]
    found: list[float] = []
    for cron, (first, last) in zip(crons, itertools.pairwise(places), strict=True):
        coming = after(Timetable(cron), first)
        found += itertools.takewhile(lambda at, last=last: at <= last, coming)  # type: ignore[misc]
    return found


CHANGES = st.lists(st.integers(2, END_S - 2), max_size=3, unique=True).map(sorted)
BUSY = st.lists(st.tuples(st.integers(0, END_S), st.integers(1, 500)), max_size=2)


@settings(deadline=None, max_examples=25)
@given(st.data(), CHANGES, BUSY, st.sampled_from(("skip", "once", "all")))
def test_each_instant_is_decided_by_the_timetable_that_was_in_force_then(
    data: st.DataObject, changed_at: list[int], busy: list[tuple[int, int]], missed: Missed
) -> None:
    count = len(changed_at) + 1
    crons = data.draw(st.lists(st.sampled_from(CRONS), min_size=count, max_size=count))

    runs = asyncio.run(runs_of(crons, changed_at, busy, missed))

    assert [run.instant for run in runs] == expected(crons, changed_at)
    assert {run.outcome for run in runs} <= {"begun", "refused"} or missed != "all"


def test_what_waits_over_a_change_is_begun_and_then_goes_by_the_new_timetable() -> None:
    runs = asyncio.run(runs_of(["* * * * *", "4 * * * *"], [150], [(115, 275)], "once"))

    minutes = [((run.instant - FakeClock().time()) / 60, run.outcome) for run in runs]
    assert minutes == [(1, "begun"), (2, "begun"), (4, "begun")]
