"""The store is away while a platform names a job: its handle is in the store in the end, or the
job is stopped there; it never runs on unknown."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import StorageUnavailable
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.jobs.states import ENDED
from gateway.storage.outbox_statements import Statement
from gateway.storage.sql_outbox import Rows, RunsStatements
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.dying import Moment, Outage, Side, dying
from tests.gateway.jobs.gateways import JobsGateway, being_named, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.jobs.test_kills import RUNS_S, asked
from tests.waiting import until


class Line:
    """Between a gateway's jobs and their database; cut while ``is_cut``."""

    def __init__(self, to: RunsStatements) -> None:
        self.to = to
        self.is_cut = False

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        if self.is_cut:
            raise StorageUnavailable("the line is cut")
        return await self.to.run(batch, apart=apart)

    async def aclose(self) -> None:
        await self.to.aclose()


def cut_line(gateway: JobsGateway) -> Line:
    store = gateway.jobs.store
    assert isinstance(store, SqlJobs)
    line = store._connection = Line(store._connection)
    return line


async def goes_by(gateway: JobsGateway, seconds: float) -> None:
    for _ in range(round(seconds * 4)):
        await gateway.clock.advance(0.25)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("away_s", [5.0, 18.0, 22.0, 30.0])
async def test_a_job_named_while_the_store_is_away_goes_on(
    away_s: float, tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=60.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        line = cut_line(gateway)
        id = await being_named(gateway, client, platform)
        line.is_cut = True
        platform.names.set()
        await goes_by(gateway, away_s)
        line.is_cut = False
        await gateway.post(client, "any")  # who accepts one has the jobs looked at
        job = await gateway.until_ended(id)
        assert (job.state, job.cost_nano) == ("succeeded", 60_000_000)
        assert platform.jobs["p1"].stopped_at is None


async def test_an_answer_that_waits_for_the_store_is_not_stopped_for_its_budget(
    tmp_path: Path, clock: FakeClock
) -> None:
    """What was held, 0.03 USD, would be used up by then, and its caller has room for no more."""
    platform = FakePlatform(clock, runs_for=25.0)
    async with with_jobs(tmp_path, clock, platform) as gateway:
        line = cut_line(gateway)
        async with gateway.client(gateway.key("bob", plan="small")) as client:
            id = (await gateway.post(client, "far"))["id"]
        await gateway.until_state(id, "running", step=0.1)
        await goes_by(gateway, 23.0)
        line.is_cut = True
        await goes_by(gateway, 15.0)
        line.is_cut = False
        job = await gateway.until_ended(id)
        assert (job.state, job.cost_nano) == ("succeeded", 25_000_000)


async def test_a_job_that_another_gateway_has_by_then_is_stopped_where_it_runs(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=3600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        line = cut_line(gateway)
        id = await being_named(gateway, client, platform)
        line.is_cut = True
        await goes_by(gateway, 21.0)
        [taken] = await SqlJobs(line.to).take_over("another", 64, 20.0)
        assert taken.id == id
        line.is_cut = False
        platform.names.set()
        await until(lambda: platform.jobs["p1"].stopped_at is not None, "it is stopped")


async def away_at(step: int, moment: Moment, side: Side, folder: Path, model: str) -> bool:
    """False where a job has no such step."""
    clock = FakeClock()
    platform, told = FakePlatform(clock, runs_for=RUNS_S), PlayedClient()
    folder.mkdir()
    outage = Outage(step, moment, side, clock)
    async with dying(folder, clock, platform, outage, told) as gateway:
        async with gateway.client(gateway.key(plan="single")) as client:
            outage.armed = True
            asking = asyncio.ensure_future(asked(client, model))
            jobs: list[StoredJob] = []

            async def over() -> bool:
                await clock.advance(0.5)
                if not outage.is_away:
                    jobs[:] = await gateway.jobs.store.find(JobsQuery())
                if not jobs:  # it was refused, or is about to be
                    return asking.done() and not outage.is_away
                return all(job.state in ENDED for job in jobs) and bool(told.sent)

            await until(over, "the job ends and is told", every_s=0.001)
            await asyncio.wait([asking])
        where = f"{side} is away {moment} step {step}, {outage.steps[step - 1 :]}"
        rows = [row for job in jobs for row in await gateway.rows(job.id)]
        for job in jobs:
            assert len(platform.jobs) <= 1, where
            assert job.cost_nano == sum(row.cost_nano for row in rows), where
            assert set(told.ids) == {f"{job.id}_ended"}, where
            if side != "backend":
                assert job.state == "succeeded", (where, job.error)
    return len(outage.steps) >= step


@pytest.mark.parametrize(
    ("side", "model"),
    [("store", "far"), ("store", "any"), ("shared", "far"), ("backend", "far"), ("backend", "any")],
)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_job_ends_once_whoever_is_away_for_a_while_at_whichever_step(
    side: Side, model: str, moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while await away_at(step, moment, side, tmp_path / f"{step}", model):
        step += 1
    assert step > 1
