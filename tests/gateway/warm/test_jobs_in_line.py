"""Jobs that wait in the store are told to whoever plans workers: as many are up as end them in
time, and none for jobs that no worker helps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.api.admin.backends import backend_rows
from gateway.clock import FakeClock
from gateway.planning.baseline import BaselineRule
from gateway.planning.minimum import minimum_of
from gateway.planning.planner import Planner, PlanRule, Seen
from gateway.planning.starts import StartSamples
from tests.gateway.jobs.gateways import POLICY, JobsGateway, with_jobs
from tests.gateway.warm.platform import Platform

SOON = """
  burst:
    kind: fake
    slots: null
    price: flex
    cold_start: {p50: 5s, p95: 9s}
    idle_timeout: 60s
    expect: 30s
    max_run: 600s
models:
  soon: {task: infer, backends: [burst], slo: 20s}
"""
PLANNED = (
    POLICY.replace("\nmodels:\n", SOON, 1).replace("spend: 5 USD", "spend: 500 USD")
    + "warm_pool: {burst: {plan: act, most: 90}}\n"
)
TAKEN = 34
"""So many are taken from the store before a worker is there."""


def shown(gateway: JobsGateway) -> dict[str, Any]:
    """The last look at the models of the planned backend."""
    [row] = [row for row in backend_rows(gateway.inner) if row["backend"] == "burst"]
    [look] = row["plan"]["models"]
    found: dict[str, Any] = look
    return found


async def waiting(gateway: JobsGateway, jobs: int, deadline: str) -> Platform:
    """So many were accepted, and are seen."""
    gateway.fake("burst").runs_for = 30.0
    platform = Platform(gateway)
    await platform.passes(1.0)
    async with gateway.client() as client:

        async def post() -> None:
            for _ in range(jobs):
                await gateway.post(client, "soon", deadline=deadline)

        posting = asyncio.create_task(post())
        await gateway.until_done([posting], step=0.002)
        await posting
    await platform.passes(5.0)
    return platform


async def test_as_many_workers_are_started_as_end_the_line_in_time(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Of half a minute each, three one after another in eight tenths of what is left."""
    async with with_jobs(tmp_path, clock, text=PLANNED) as gateway:
        platform = await waiting(gateway, 200, "140s")
        look = shown(gateway)
        [line] = look["jobs"]
        assert (line["model"], line["jobs"], line["run_seconds"]) == ("soon", 200 - TAKEN, 30.0)
        assert TAKEN < line["at_once"] == look["workers"] == gateway.fake("burst").minimum
        assert look["because"] == "jobs_wait"
        assert line["at_once"] == -(-line["jobs"] // 3)

        await platform.passes(8.0)
        workers = gateway.fake("burst").warm_workers
        assert workers is not None
        assert workers >= line["at_once"]
        await platform.passes(1.0)
        assert shown(gateway)["jobs_at_work"] > TAKEN, "they take what is up"
        assert gateway.fake("burst").minimum is not None


async def test_no_worker_is_started_for_jobs_that_none_helps(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=PLANNED) as gateway:
        await waiting(gateway, 100, "30s")
        look = shown(gateway)
        assert (look["backlog"], look["jobs"][0]["at_once"]) == (0, 0)


def planner() -> Planner:
    rule = PlanRule(slo_s=20.0, baseline=BaselineRule(share=1.0))
    return Planner(rule, StartSamples([5.0]), 0.0)


@pytest.mark.parametrize(("load", "jobs", "backlog", "ready", "workers"), [
    (0, 0, 6, 0, 6),
    (4, 4, 2, 4, 6),
    (6, 6, 0, 6, 6),
    (10, 4, 2, 10, 12),
    (0, 0, 6, 3, 6),
    (0, 0, 2, 6, 2),
])  # fmt: skip
def test_workers_of_jobs_have_the_next_jobs(
    load: int, jobs: int, backlog: int, ready: int, workers: int
) -> None:
    """All calls are at work; what is up and not needed is let go."""
    seen = Seen(load, 0, 0, ready, jobs=jobs, backlog=backlog)
    found = minimum_of(planner().look(0.0, seen), seen, 0)
    assert found.workers == workers
    if backlog:
        assert found.because == "jobs_wait"
