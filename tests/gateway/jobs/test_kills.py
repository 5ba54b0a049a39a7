"""The walk of kills: a gateway dies at every step of a job's life, and the next one sees the job to
its end: once, at one cost, and with one job at the platform."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.states import ENDED
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.dying import Fuse, Moment, dying
from tests.gateway.jobs.gateways import TELLS, JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

RUNS_S = 3.0
URL = "https://app.example.com/hook"
_ALL = JobsQuery()


async def asked(client: httpx.AsyncClient, model: str) -> None:
    """Whether or not its answer comes."""
    body = {"model": model, "input": {}, "idempotency_key": "k", "webhook": URL}
    await client.post("/v1/jobs", json=body)


async def lives_until(
    gateway: JobsGateway, fuse: Fuse, model: str, *, canceled_at: str = ""
) -> None:
    """Somebody asks for a job, and for its end, and time goes by, until the gateway dies or the
    job has ended."""
    key = gateway.key(plan="single")
    async with gateway.client(key) as client:
        fuse.armed = True
        asking = asyncio.ensure_future(asked(client, model))
        canceling: list[asyncio.Task[httpx.Response]] = []

        async def over() -> bool:
            await gateway.clock.advance(0.25)
            if fuse.blown.is_set():
                return True
            found = await gateway.jobs.store.find(_ALL)
            if found and found[0].state == canceled_at and not canceling:
                posting = client.post(f"/v1/jobs/{found[0].id}/cancel")
                canceling.append(asyncio.ensure_future(posting))
            return bool(found) and found[0].state in ENDED

        await until(over, "the gateway dies or the job ends", every_s=0.001)
        if not fuse.blown.is_set():
            await asyncio.wait((asking, *canceling))


async def found_again(
    folder: Path, clock: FakeClock, platform: FakePlatform, told: PlayedClient
) -> tuple[list[StoredJob], list[LedgerRow]]:
    """What the next gateway makes of it."""
    async with with_jobs(folder, clock, platform, TELLS, client=told) as gateway:
        jobs = await gateway.jobs.store.find(_ALL)
        ends = [await gateway.until_ended(job.id, step=1.0) for job in jobs]
        rows = [row for job in jobs for row in await gateway.rows(job.id)]
        await until(lambda: gateway.jobs.worker.running == 0, "no job is on its way")
        if jobs:
            await until_told(gateway, told)
        return ends, rows


async def until_told(gateway: JobsGateway, told: PlayedClient) -> None:
    async def is_told() -> bool:
        await gateway.clock.advance(1.0)
        return bool(told.sent)

    await until(is_told, "the end was told", every_s=0.001)


async def die_at(
    step: int,
    moment: Moment,
    folder: Path,
    model: str,
    canceled_at: str = "",
) -> bool:
    """False where a job has no such step."""
    clock = FakeClock()
    platform = FakePlatform(clock, runs_for=RUNS_S)
    folder.mkdir()
    fuse, told = Fuse(step, moment), PlayedClient()
    async with dying(folder, clock, platform, fuse, told) as gateway:
        await lives_until(gateway, fuse, model, canceled_at=canceled_at)
        died = len(fuse.steps) >= step
    ends, rows = await found_again(folder, clock, platform, told)
    where = f"died {moment} step {step}, {fuse.steps[-1]}"
    assert len(ends) <= 1, where
    for job in ends:
        check(job, rows, platform, where)
        assert set(told.ids) == {f"{job.id}_ended"}, where
    return died


def check(job: StoredJob, rows: list[LedgerRow], platform: FakePlatform, where: str) -> None:
    assert len(platform.jobs) <= 1, where
    [row] = rows
    assert (row.id, row.outcome) != (job.id, "open"), where
    assert job.cost_nano == row.cost_nano, where
    if job.state == "succeeded":
        assert row.outcome == "success", where
    else:
        assert job.state in ("failed", "canceled"), where
        assert (job.state != "failed") or '"interrupted"' in job.error, where
    if job.state == "failed":  # nobody knows whether the platform has it
        assert platform.jobs.keys() <= {"p1"}, where
    if job.state == "canceled" and platform.jobs:
        stopped = platform.jobs["p1"]
        assert stopped.stopped_at is not None, where
        ran_s = stopped.stopped_at - stopped.submitted
        assert job.cost_nano == pytest.approx(ran_s * 1_000_000, abs=2.0), where


WALKS = [
    pytest.param("far", "", id="a platform has it"),
    pytest.param("any", "", id="a worker of this machine has it"),
    pytest.param("far", "running", id="it is canceled while a platform has it"),
    pytest.param("far", "queued", id="it is canceled while it waits"),
]


@pytest.mark.parametrize(("model", "canceled_at"), WALKS)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_job_ends_once_wherever_its_gateway_dies(
    model: str, canceled_at: str, moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while await die_at(step, moment, tmp_path / f"{step}", model, canceled_at):
        step += 1
    assert step > 5
