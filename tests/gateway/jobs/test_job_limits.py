"""What jobs hold that have not ended, in limits that came after they were accepted."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from gateway.storage.base import Admitted
from gateway.storage.memory import MemorySharedStore
from tests.gateway.assembled import read
from tests.gateway.jobs.gateways import POLICY, JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.gateway.jobs.test_failed_attempts import LoadsOnce
from tests.gateway.storage.claims import money

LIMIT = 100_000_000
NARROW = POLICY + "jobs: {waiting: 2}\n"
LIMITED = POLICY + "limits: {spend: 0.1 USD/day}\n"
OF_ALL = money("gateway", LIMIT, 0, window="day")


async def left(gateway: JobsGateway) -> int:
    """Nano-dollars, in the limit of all together."""
    [status] = await gateway.inner.shared.statuses([OF_ALL])
    return status.remaining


async def test_a_limit_that_a_reload_brings_counts_what_jobs_hold_and_have_cost(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=10.0)
    platform.full = True
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.inner.apply(read(LIMITED))
        while_it_waits = await left(gateway)
        platform.full = False
        await gateway.until_state(job["id"], "running")
        while_it_runs = await left(gateway)
        ended = await gateway.until_ended(job["id"])
        assert ended.cost_nano == 10_000_000
        assert await left(gateway) == LIMIT - ended.cost_nano
        assert while_it_waits == while_it_runs < LIMIT - ended.cost_nano


async def test_what_a_waiting_job_holds_is_held_before_the_first_call_after_a_restart(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    async with (
        with_jobs(tmp_path, clock, platform, LIMITED) as gateway,
        gateway.client() as client,
    ):
        await gateway.post(client, "far")
        before = await left(gateway)
    forgotten = MemorySharedStore(clock)
    async with with_jobs(tmp_path, clock, platform, LIMITED, forgotten) as gateway:
        assert await left(gateway) == before < LIMIT


async def test_a_job_past_the_bound_of_those_that_wait_is_refused_and_holds_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock)
    platform.full = True
    text = NARROW + "limits: {spend: 0.1 USD/day}\n"
    async with with_jobs(tmp_path, clock, platform, text) as gateway, gateway.client() as client:
        jobs = [await gateway.post(client, "far") for _ in range(2)]
        before = await left(gateway)

        refused = await client.post("/v1/jobs", json={"model": "far", "input": {}})

        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "too_many_jobs"
        assert refused.headers["Retry-After"] == "10"
        assert await left(gateway) == before
        await client.post(f"/v1/jobs/{jobs[0]['id']}/cancel")
        await gateway.until_ended(jobs[0]["id"])
        await gateway.post(client, "far")


async def test_a_job_that_lacks_something_after_its_window_has_it_of_the_next_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It was accepted five seconds before midnight, and that day's limit is full."""
    clock.move(86_400.0 - 5.0)
    platform = LoadsOnce(clock)
    platform.full = True
    async with with_jobs(tmp_path, clock, platform, LIMITED) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        others = money("gateway", LIMIT, await left(gateway), window="day")
        assert isinstance(await gateway.inner.shared.admit("others", [others], 60.0), Admitted)
        await gateway.inner.shared.settle("others", [others], {"nano_usd": others.take})
        for _ in range(20):
            await clock.advance(0.5)
        platform.full = False
        ended = await gateway.until_ended(job["id"])
        assert (ended.state, ended.cost_nano) == ("succeeded", 10_000_000 + platform.cost_nano)
        assert await left(gateway) == LIMIT
