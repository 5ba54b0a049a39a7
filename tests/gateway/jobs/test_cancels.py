"""The walk of cancels: a job is canceled at every step of its life, and ends then and there, while
no time goes by; its platform's meter stops, and its row is settled once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from gateway.clock import FakeClock
from gateway.jobs.worker import JobWorker
from gateway.storage.jobs.base import StoredJob
from gateway.storage.jobs.states import ENDED
from tests.gateway.events.senders import PlayedClient
from tests.gateway.jobs.dying import Fuse, Moment, dying
from tests.gateway.jobs.gateways import POLICY, JobsGateway
from tests.gateway.jobs.platforms import FakePlatform
from tests.waiting import until

T = TypeVar("T")


class CancelAt(Fuse):
    """Cancels the job at one step of its gateway, whose work goes on meanwhile."""

    worker: JobWorker
    job_id = ""
    canceling: asyncio.Task[bool] | None = None

    async def around(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if not self.armed:
            return await work()
        self.steps.append(name)
        is_last = len(self.steps) == self.at
        if is_last:
            self.armed = False
        if is_last and self.moment == "before":
            await self._cancel()
        try:
            return await work()
        finally:
            if is_last and self.moment == "after":
                await self._cancel()

    async def _cancel(self) -> None:
        self.canceling = asyncio.ensure_future(self.worker.cancel(self.job_id))
        await asyncio.wait([self.canceling])


async def lives_until(gateway: JobsGateway, fuse: CancelAt) -> StoredJob:
    """Time goes by until it is canceled, then none does until it has ended."""

    async def is_canceled() -> bool:
        await gateway.clock.advance(0.25)
        return not fuse.armed or (await gateway.job(fuse.job_id)).state in ENDED

    async def has_ended() -> bool:
        return (await gateway.job(fuse.job_id)).state in ENDED

    await until(is_canceled, "the step comes, or the end", every_s=0.001)
    await until(has_ended, f"the end after {fuse.steps[-1]}", within_s=10.0, every_s=0.001)
    return await gateway.job(fuse.job_id)


async def cancel_at(step: int, moment: Moment, folder: Path, model: str, *, full: bool) -> bool:
    """False where a job has no such step."""
    clock = FakeClock()
    platform = FakePlatform(clock, runs_for=3.0)
    platform.full = full
    folder.mkdir()
    fuse = CancelAt(step, moment)
    async with dying(folder, clock, platform, fuse, PlayedClient(), POLICY) as gateway:
        fuse.worker = gateway.jobs.worker
        async with gateway.client(gateway.key(plan="single")) as client:
            fuse.job_id = (await gateway.post(client, model))["id"]
            fuse.armed = True
            job = await lives_until(gateway, fuse)
        rows = await gateway.rows(job.id)
    where = f"canceled {moment} step {step}, {fuse.steps[-1]}"
    if fuse.canceling is None:
        assert job.state == "succeeded"
        return False
    assert job.state in ("canceled", "succeeded"), where
    assert [row.outcome for row in rows] != ["open"], where
    assert len(rows) == 1, where
    if job.state == "canceled":
        assert all(one.stopped_at is not None for one in platform.jobs.values()), where
    return len(fuse.steps) >= step


@pytest.mark.parametrize(
    ("model", "full"),
    [
        pytest.param("far", False, id="a platform has it"),
        pytest.param("far", True, id="the platform is full"),
        pytest.param("any", False, id="a worker of this machine has it"),
    ],
)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_canceled_job_ends_at_once_wherever_it_is(
    model: str, full: bool, moment: Moment, tmp_path: Path
) -> None:
    step = 1
    while step <= 12 and await cancel_at(step, moment, tmp_path / f"{step}", model, full=full):
        step += 1
    assert step > 4
