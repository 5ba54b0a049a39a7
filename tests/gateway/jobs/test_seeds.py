"""Gateways die and jobs are canceled at random, by a seed: whatever comes of it, each job ends
once, at the cost that the ledger has, with one job at the platform."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.clock import FakeClock
from gateway.storage.jobs.base import JobsQuery, StoredJob
from gateway.storage.jobs.states import ENDED
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.dying import Fuse, dying
from tests.gateway.jobs.gateways import TELLS, JobsGateway, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

SEEDS = range(16)
_ALL = JobsQuery(most=100)


class Weather:
    """What one seed brings."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.clock = FakeClock()
        self.asked: list[asyncio.Future[httpx.Response]] = []
        self.platform = FakePlatform(
            self.clock,
            queues_for=self.draw.choice([0.0, 2.0]),
            runs_for=self.draw.choice([0.5, 3.0]),
        )
        self.told = PlayedClient([self.draw.choice([200, 200, 500, None]) for _ in range(20)])

    def fuse(self) -> Fuse:
        return Fuse(self.draw.randint(1, 60), self.draw.choice(["before", "after"]))

    async def blow(self, gateway: JobsGateway, client: httpx.AsyncClient) -> None:
        """One thing that callers do, or that happens."""
        await gateway.clock.advance(self.draw.choice([0.25, 0.5, 2.0]))
        self.platform.full = self.draw.random() < 0.1
        self.platform.down = self.draw.random() < 0.1
        known = await gateway.jobs.store.find(_ALL)
        if len(known) < 5 and self.draw.random() < 0.3:
            body = {"model": self.draw.choice(["far", "any"]), "input": {}, "webhook": URL}
            self._ask(client.post("/v1/jobs", json=body))
        elif known and self.draw.random() < 0.1:
            id = self.draw.choice(known).id
            self._ask(client.post(f"/v1/jobs/{id}/cancel"))

    def _ask(self, asking: Coroutine[Any, Any, httpx.Response]) -> None:
        """Whoever asks is gone with the gateway."""
        self.asked.append(asyncio.ensure_future(asking))


URL = "https://app.example.com/hook"


async def one_life(weather: Weather, folder: Path) -> None:
    """Until the gateway dies, or some time has passed."""
    fuse = weather.fuse()
    async with (
        dying(folder, weather.clock, weather.platform, fuse, weather.told) as gateway,
        gateway.client(gateway.key(plan="default")) as client,
    ):
        fuse.armed = True
        for _ in range(40):
            if fuse.blown.is_set():
                return
            await weather.blow(gateway, client)
            await asyncio.sleep(0.002)


async def last_life(weather: Weather, folder: Path) -> None:
    """Good weather: everything ends, and all is told."""
    platform = weather.platform
    platform.full = platform.down = False
    async with with_jobs(folder, weather.clock, platform, TELLS, client=weather.told) as gateway:
        jobs = await gateway.jobs.store.find(_ALL)
        ends = [await gateway.until_ended(job.id, step=1.0) for job in jobs]
        await until(lambda: _all_told(gateway, weather, ends), "all is told", every_s=0.001)
        for job in ends:
            await check(gateway, job)
        calls = [job.call.id for job in platform.jobs.values()]
        assert len(calls) == len(set(calls))


async def _all_told(gateway: JobsGateway, weather: Weather, ends: list[StoredJob]) -> bool:
    await gateway.clock.advance(5.0)
    return {f"{job.id}_ended" for job in ends} <= set(weather.told.ids)


async def check(gateway: JobsGateway, job: StoredJob) -> None:
    rows = await gateway.rows(job.id)
    assert job.state in ENDED
    assert [row.id for row in rows if row.kind == "call"] == [job.id]
    assert all(row.outcome != "open" for row in rows)
    assert job.cost_nano == sum(row.cost_nano for row in rows)


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_job_ends_once_whatever_the_weather(seed: int, tmp_path: Path) -> None:
    weather = Weather(seed)
    for _ in range(3):
        await one_life(weather, tmp_path)
    await last_life(weather, tmp_path)
