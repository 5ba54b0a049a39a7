"""A gateway that ends in good order: what a platform runs goes on there, and the next one asks."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import being_named, with_jobs
from tests.gateway.jobs.platforms import FakePlatform


async def test_a_job_that_a_platform_is_just_naming_is_left_with_its_name(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=60.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        id = await being_named(gateway, client, platform)
        asyncio.get_running_loop().call_later(0.05, platform.names.set)  # while the gateway ends
    async with with_jobs(tmp_path, clock, platform) as gateway:
        job = await gateway.until_ended(id)
    assert job.state == "succeeded"
    assert len(platform.jobs) == 1
    assert platform.jobs["p1"].stopped_at is None


async def test_a_job_that_the_store_gives_to_a_gateway_which_ends_is_the_next_ones(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=60.0)
    async with with_jobs(tmp_path, clock, platform) as gateway, gateway.client() as client:
        ids = [(await gateway.post(client, "far"))["id"] for _ in range(5)]
    async with with_jobs(tmp_path, clock, platform) as gateway:
        ended = [await gateway.until_ended(id) for id in ids]
    assert {job.state for job in ended} == {"succeeded"}
    assert sorted(platform.submits) == sorted(ids)
