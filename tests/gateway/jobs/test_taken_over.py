"""Jobs that run for long; what one used while no gateway had it counts when one has it again."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import POLICY, with_jobs
from tests.gateway.jobs.platforms import FakePlatform

CAPPED = POLICY.replace("spend: 5 USD/month", "spend: 0.05 USD/month")
"""Of which a second costs 0.001 USD."""


async def test_a_job_that_ran_on_alone_is_stopped_within_its_cap(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=400.0)
    async with with_jobs(tmp_path, clock, platform, CAPPED) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.until_state(job["id"], "running")
    await clock.advance(30.0)
    async with with_jobs(tmp_path, clock, platform, CAPPED) as gateway:
        ended = await gateway.until_ended(job["id"])
        assert (ended.state, len(platform.jobs)) == ("failed", 1)
        assert 30_000_000 < ended.cost_nano <= 50_000_000


async def test_a_job_of_an_hour_ends_after_an_hour(tmp_path: Path, clock: FakeClock) -> None:
    platform = FakePlatform(clock, queues_for=600.0, runs_for=3600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.until_state(job["id"], "running", step=30.0)
        ended = await gateway.until_ended(job["id"], step=30.0)
        assert (ended.state, ended.cost_nano) == ("succeeded", 3_600_000_000)
