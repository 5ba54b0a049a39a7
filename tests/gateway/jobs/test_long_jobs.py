"""A job that takes an hour, by a fake clock."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import with_jobs
from tests.gateway.jobs.platforms import FakePlatform


async def test_a_job_of_an_hour_ends_after_an_hour(tmp_path: Path, clock: FakeClock) -> None:
    platform = FakePlatform(clock, queues_for=600.0, runs_for=3600.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        job = await gateway.post(client, "far")
        await gateway.until_state(job["id"], "running", step=30.0)
        ended = await gateway.until_ended(job["id"], step=30.0)
        assert (ended.state, ended.cost_nano) == ("succeeded", 3_600_000_000)
