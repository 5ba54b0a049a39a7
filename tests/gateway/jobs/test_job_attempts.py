"""What a job's failed attempts have cost is charged, whoever sees the job to its end."""

from __future__ import annotations

from pathlib import Path

from adapters.errors import BackendError, FailureClass
from adapters.types import Usage
from gateway.clock import FakeClock
from tests.gateway.jobs.gateways import POLICY, with_jobs
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

TWO = (
    POLICY.replace("price: reserved", "price: flex").replace(
        "any: {task: infer, backends: [home]",
        "any: {task: infer, idempotent: true, backends: [home, cloud]",
    )
    + "routes: [{name: both, repeat: always, use: [home, cloud]}]\n"
)
BROKEN = BackendError(
    FailureClass.FAILED, "boom", usage=Usage(exec_s=20.0, gpu_s=20.0, reported=True)
)


async def test_a_job_that_is_handed_over_costs_what_failed_before(
    tmp_path: Path, clock: FakeClock
) -> None:
    platform = FakePlatform(clock, runs_for=30.0)
    async with with_jobs(tmp_path, clock, platform, TWO) as gateway, gateway.client() as client:
        gateway.fake("home").tell(BROKEN)
        job = await gateway.post(client)
        await until(lambda: bool(platform.submits), "the second backend has it")
        await gateway.until_state(job["id"], "running")
    async with with_jobs(tmp_path, clock, platform, TWO) as gateway:
        ended = await gateway.until_ended(job["id"])
        rows = await gateway.rows(job["id"])
        assert (ended.state, ended.cost_nano) == ("succeeded", 50_000_000)
        assert [(row.backend, row.kind, row.cost_nano) for row in rows] == [
            ("cloud", "call", 30_000_000),
            ("home", "attempt", 20_000_000),
        ]
