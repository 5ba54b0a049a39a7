"""The walk of kills: a gateway dies at every step in which an instant is decided, and the next one
begins what is left of it: each instant once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.jobs.base import JobsQuery
from gateway.storage.jobs.states import ENDED
from gateway.storage.schedules.sql_schedules import SqlSchedules
from gateway.stored_work.serving import StoredWork, serve_stored
from gateway.types import MICRO
from tests.gateway.events.senders import PlayedClient
from tests.gateway.files.places import places_in
from tests.gateway.jobs.dying import DyingStatements, Fuse, Moment, dying
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.schedules.gateways import (
    MINUTE,
    SchedulesGateway,
    night_key,
    often,
    policy_with,
    with_schedules,
)
from tests.waiting import until

POLICY = policy_with(often(", missed: all, overlap: allow", "job: {model: far, input: {x: 1}}"))


@contextlib.asynccontextmanager
async def dying_schedules(
    folder: Path, clock: FakeClock, platform: FakePlatform, fuse: Fuse
) -> AsyncIterator[SchedulesGateway]:
    def serve(gateway: Any) -> None:
        night_key(gateway)

        def statements() -> DyingStatements:
            made = DyingStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
            made.fuse = fuse
            return made

        places = places_in(folder, clock)
        batches, schedules = SqlBatches(statements()), SqlSchedules(statements())
        serve_stored(gateway, StoredWork(places, batches, schedules))

    told = PlayedClient()
    async with dying(folder, clock, platform, fuse, told, POLICY, also=serve) as gateway:
        yield SchedulesGateway(gateway.inner, clock, platform)


async def lives_until(gateway: SchedulesGateway, fuse: Fuse) -> None:
    """Time goes by until the gateway dies or an instant is decided."""
    await gateway.at(MINUTE - 2)
    fuse.armed = True

    async def over() -> bool:
        await gateway.clock.advance(2.0)
        return fuse.blown.is_set() or len(await gateway.runs()) >= 1

    await until(over, "the gateway dies or an instant is decided", every_s=0.001)


async def die_at(step: int, moment: Moment, folder: Path) -> bool:
    """False where an instant has no such step."""
    clock = FakeClock()
    platform = FakePlatform(clock, runs_for=1.0)
    folder.mkdir()
    fuse = Fuse(step, moment)
    async with dying_schedules(folder, clock, platform, fuse) as gateway:
        await lives_until(gateway, fuse)
        died = len(fuse.steps) >= step
    await found_again(folder, clock, platform, f"died {moment} step {step}, {fuse.steps[-1]}")
    return died


async def found_again(folder: Path, clock: FakeClock, platform: FakePlatform, where: str) -> None:
    async with with_schedules(folder, clock, POLICY, platform) as gateway:
        runs = await gateway.until_runs(2, step=5.0)
        for run in runs:
            ended = await gateway.until_ended(run.work, step=1.0)
            assert ended.state in ("succeeded", "failed"), where
        known = {run.work for run in await gateway.runs()}
        jobs = await gateway.jobs.store.find(JobsQuery())
        later = {run.work for run in await gateway.runs()}  # time goes on meanwhile
        instants = [run.instant for run in runs]
        assert instants == [instants[0] + n * MINUTE for n in range(len(runs))], where
        assert {run.outcome for run in runs} == {"begun"}, where
        assert known <= {job.id for job in jobs} <= later, where
        assert all(job.state in ENDED for job in jobs if job.id in {run.work for run in runs})


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_each_instant_is_begun_once_wherever_the_gateway_dies(
    moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while await die_at(step, moment, tmp_path / f"{step}"):
        step += 1
    assert step > 3
