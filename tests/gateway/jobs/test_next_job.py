"""Between the answer of one job and the start of the next one nobody waits for the store."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from adapters.fake import Fake
from gateway.clock import FakeClock
from gateway.jobs.unkept import UnkeptAnswers
from gateway.storage.jobs.base import MovedJob
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.jobs.states import JobState
from tests.gateway.jobs.gateways import POLICY, with_jobs
from tests.waiting import until

ONE_SLOT = POLICY.replace("slots: 1, price", "slots: 1, concurrency: 1, price")


def has_begun(home: Fake, count: int) -> bool:
    return len(home.calls) == count


class SlowToWrite(SqlJobs):
    """Takes steps and answers when it is let."""

    lets = asyncio.Event()

    async def move(
        self, id: str, epoch: int, to: JobState, *, attempt: str | None = None
    ) -> MovedJob | None:
        await self.lets.wait()
        return await super().move(id, epoch, to, attempt=attempt)

    async def answer(self, id: str, epoch: int, answer: str) -> bool:
        await self.lets.wait()
        return await super().answer(id, epoch, answer)


class WritesNothing(SlowToWrite):
    lets = asyncio.Event()


async def test_jobs_that_are_here_follow_each_other_while_the_store_writes_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=ONE_SLOT, jobs=WritesNothing) as gateway:
        home = gateway.fake("home")
        home.runs_for = 1.0
        async with gateway.client() as client:
            ids = [(await gateway.post(client))["id"] for _ in range(3)]
            for count in (1, 2, 3):
                await until(partial(has_begun, home, count), "the next one begins", within_s=20.0)
                await clock.advance(1.0)
            assert {(await gateway.job(id)).state for id in ids} == {"queued"}
            WritesNothing.lets.set()
            for id in ids:
                assert (await gateway.until_ended(id)).state == "succeeded"
            assert [call.id for call in home.calls] == ids


class LosesItsLeases(SlowToWrite):
    lets = asyncio.Event()

    async def move(
        self, id: str, epoch: int, to: JobState, *, attempt: str | None = None
    ) -> MovedJob | None:
        await self.lets.wait()
        await self._done(("UPDATE jobs SET epoch = epoch + 1 WHERE id = ? RETURNING id", (id,)))
        return await super().move(id, epoch, to, attempt=attempt)


async def test_what_runs_is_stopped_when_the_store_says_that_another_gateway_has_the_job(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, jobs=LosesItsLeases) as gateway:
        home = gateway.fake("home")
        home.runs_for = 3600.0
        async with gateway.client() as client:
            job = await gateway.post(client)
            await gateway.until_asked("home")
            LosesItsLeases.lets.set()
            await until(lambda: home.running == 0, "it is stopped")
            assert (await gateway.job(job["id"])).ended_at is None


def test_past_so_many_answers_or_bytes_a_job_keeps_its_slot() -> None:
    assert UnkeptAnswers(most=2).room_for(1, 10)
    assert not UnkeptAnswers(most=0).room_for(1, 10)
    assert not UnkeptAnswers(most_bytes=5).room_for(1, 10)
