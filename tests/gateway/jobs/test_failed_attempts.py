"""What a backend cost that failed at a job is booked once, whoever sees the job to its end."""

from __future__ import annotations

import math
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest

from adapters.errors import BackendError, FailureClass
from adapters.types import Call, Reply, Usage
from gateway.clock import FakeClock
from gateway.jobs.records import read_attempt, to_text
from gateway.storage.base import LedgerRow
from gateway.storage.jobs.base import JobsQuery, StoredJob
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.dying import Fuse, Moment, dying
from tests.gateway.jobs.gateways import POLICY, TELLS, JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.jobs.test_kills import lives_until
from tests.waiting import until

_FAILED_NANO = 3_000_000
TWO = TELLS.replace(
    "models:\n",
    """  spare: {kind: fake, slots: null, price: dear, expect: 10s, max_run: 2h}
models:
  both: {task: infer, backends: [cloud, spare], idempotent: true, slo: 60s}
""",
).replace(
    "prices:\n",
    "prices:\n  dear: {per_second: 0.002, as_of: 2026-11-01, source: test}\n",
)
TWO = TWO.replace("price: flex, ", "price: flex, repeat: always, ")


class FailingPlatform(FakePlatform):
    """Its jobs have run for three seconds when they fail."""

    def submit(self, call: Call) -> str:
        name = super().submit(call)
        usage = Usage(exec_s=3.0, gpu_s=3.0, reported=True)
        self.jobs[name].ends = BackendError(FailureClass.FAILED, "it fell over", usage=usage)
        return name


async def _ends(
    folder: Path, clock: FakeClock, platform: FakePlatform
) -> tuple[list[StoredJob], list[LedgerRow], JobsGateway]:
    async with with_jobs(folder, clock, platform, TWO, client=PlayedClient()) as gateway:
        jobs = await gateway.jobs.store.find(JobsQuery())
        ended = [await gateway.until_ended(job.id, step=1.0) for job in jobs]
        rows = [row for job in jobs for row in await gateway.rows(job.id)]
        await until(lambda: gateway.jobs.worker.running == 0, "no job is on its way")
        return ended, rows, gateway


async def _die_at(step: int, moment: Moment, folder: Path) -> bool:
    """False where a job has no such step."""
    clock, fuse = FakeClock(), Fuse(step, moment)
    platform = FailingPlatform(clock)
    folder.mkdir()
    async with dying(folder, clock, platform, fuse, PlayedClient(), TWO) as gateway:
        await lives_until(gateway, fuse, "both")
        died = len(fuse.steps) >= step
    ended, rows, gateway = await _ends(folder, clock, platform)
    where = f"died {moment} step {step}, {fuse.steps[-1]}"
    for job in ended:
        _check(job, rows, where, spare="invoke" in fuse.steps or bool(gateway.fake("spare").calls))
    return died


def _check(job: StoredJob, rows: list[LedgerRow], where: str, *, spare: bool) -> None:
    costs = {row.id: row.cost_nano for row in rows}
    assert job.cost_nano == sum(costs.values()), where
    assert job.state in ("succeeded", "failed"), where
    if spare:
        assert costs.keys() == {job.id, f"{job.id}#1"}, where
        assert costs[f"{job.id}#1"] == _FAILED_NANO, where
    else:  # it died while nobody knew whether the platform had it, and is booked as held
        assert job.state == "failed", where


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_failed_attempt_is_booked_once_wherever_the_gateway_dies(
    moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while await _die_at(step, moment, tmp_path / f"{step}"):
        step += 1
    assert step > 8


def no_worker_yet(cost_nano: int) -> BackendError:
    """What a platform says that bills it all the same."""
    usage = Usage(cost_nano=cost_nano, reported=True)
    return BackendError(FailureClass.LOADING, "not yet", retry_after=1, usage=usage)


class LoadingPlatform(FakePlatform):
    """It has no worker for its first ``loading`` jobs, and bills them all the same."""

    loading = 2

    def submit(self, call: Call) -> str:
        name = super().submit(call)
        if len(self.jobs) <= self.loading:
            self.jobs[name].ends = no_worker_yet(7)
        return name


async def test_each_failure_is_booked_once_where_a_backend_is_asked_again_and_the_job_waits(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = LoadingPlatform(clock)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        ended = await gateway.until_ended(job["id"])
        costs = {row.id: row.cost_nano for row in await gateway.rows(job["id"])}
        assert (ended.state, len(platform.jobs)) == ("succeeded", 3)
        assert costs == {job["id"]: 10_000_000, f"{job['id']}#1": 7, f"{job['id']}#2": 7}
        assert ended.cost_nano == 10_000_014


class SecondLoads(FakePlatform):
    """Its first job waits in its queue; for the second it has no worker, and bills it all the
    same."""

    def submit(self, call: Call) -> str:
        name = super().submit(call)
        if len(self.jobs) == 1:
            self.jobs[name].submitted = math.inf
        if len(self.jobs) == 2:
            self.jobs[name].ends = no_worker_yet(7)
        return name


@pytest.mark.parametrize("spends", [False, True], ids=["comes back", "is spent"])
async def test_a_job_that_has_not_begun_waits_for_what_others_hold_but_not_for_what_is_spent(
    tmp_path: Path, clock: FakeClock, spends: bool
) -> None:
    """The first holds all that is left, so the second has no room for what its failed attempt
    has cost."""
    platform = SecondLoads(clock)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        first = await gateway.post(client, "far")
        await gateway.until_state(first["id"], "starting")
        platform.full = True
        second = await gateway.post(client, "far")
        await hold_what_is_left(gateway, first["id"])
        platform.full = False
        await until_told(gateway, second["id"], "budget_held")
        usage = Usage(cost_nano=5 * 10**9 if spends else 10_000_000, reported=True)
        platform.jobs["p1"].ends = Reply(body=b"{}", usage=usage)
        platform.jobs["p1"].submitted = 0.0
        ended = await gateway.until_ended(second["id"])
        assert ended.state == ("failed" if spends else "succeeded")
        assert ("budget_exhausted" in ended.error) == spends


class LoadsOnce(FakePlatform):
    """It has no worker for any call at first, and bills it all the same."""

    cost_nano = 7

    def submit(self, call: Call) -> str:
        is_first = call.id not in self.submits
        name = super().submit(call)
        if is_first:
            self.jobs[name].ends = no_worker_yet(self.cost_nano)
        return name


async def test_of_jobs_that_hold_all_of_a_budget_and_lack_more_one_gives_way(
    tmp_path: Path, clock: FakeClock
) -> None:
    """None of them runs: what they wait for is held by each other."""
    platform = LoadsOnce(clock)
    text = POLICY.replace("0.05 USD/month", "0.09 USD/month")
    async with with_jobs(tmp_path, clock, platform, text) as gateway, small(gateway) as client:
        jobs = [await gateway.post(client, "far") for _ in range(3)]
        ended = [await gateway.until_ended(job["id"], step=10.0) for job in jobs]
        assert sorted(job.state for job in ended) == ["failed", "succeeded", "succeeded"]
        [given_way] = [job for job in ended if job.state == "failed"]
        assert "budget_exhausted" in given_way.error


async def test_what_its_own_failed_attempts_have_cost_does_not_come_back(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = LoadsOnce(clock)
    platform.cost_nano = 45_000_000
    async with with_jobs(tmp_path, clock, platform) as gateway, small(gateway) as client:
        job, begun = await gateway.post(client, "far"), clock.monotonic()
        ended = await gateway.until_ended(job["id"])
        assert "budget_exhausted" in ended.error
        assert clock.monotonic() - begun < 60.0


def small(gateway: JobsGateway) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """The client of somebody who has the small plan; a job of the platform holds 0.03 USD."""
    return gateway.client(gateway.key("bob", plan="small"))


async def hold_what_is_left(gateway: JobsGateway, hold_id: str) -> None:
    more = 5 * 10**9
    while more:
        if not await gateway.inner.shared.extend(hold_id, "nano_usd", more):
            more //= 2


async def until_told(gateway: JobsGateway, id: str, code: str) -> None:
    async def is_told() -> bool:
        await gateway.clock.advance(0.5)
        return code in (await gateway.job(id)).error

    await until(is_told, f"{id} is told {code}", every_s=0.001)


async def test_what_is_spent_is_read_as_it_was_written(tmp_path: Path, clock: FakeClock) -> None:
    platform = FailingPlatform(clock)
    async with with_jobs(tmp_path, clock, platform, TWO, client=PlayedClient()) as gateway:
        gateway.fake("spare").runs_for = 60.0
        async with gateway.client() as client:
            job = await gateway.post(client, "both")
            await gateway.until_state(job["id"], "running")
            attempt = read_attempt((await gateway.job(job["id"])).attempt)
            assert read_attempt(to_text(attempt)) == attempt
            [row] = attempt.spent.attempts
            assert (row.id, row.cost_nano) == (f"{job['id']}#1", _FAILED_NANO)
            await gateway.until_ended(job["id"])
