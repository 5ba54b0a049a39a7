"""Between the answer of one job and the start of the next one nobody waits for the store."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from adapters.errors import BackendError, FailureClass
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


class KeepsNothing(SlowToWrite):
    lets = asyncio.Event()

    async def move(
        self, id: str, epoch: int, to: JobState, *, attempt: str | None = None
    ) -> MovedJob | None:
        return await SqlJobs.move(self, id, epoch, to, attempt=attempt)


async def test_jobs_whose_answers_wait_for_the_store_are_no_more_at_the_backend(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A call that comes meanwhile has the machine for itself, and each is charged what it ran."""
    text = ONE_SLOT.replace("expect: 1s}\n  cloud", "expect: 1s, max_queue: 1}\n  cloud")
    async with with_jobs(tmp_path, clock, text=text, jobs=KeepsNothing) as gateway:
        home, backend = gateway.fake("home"), gateway.inner.active.backends["home"]
        home.runs_for = 1.0
        async with gateway.client() as client:
            ids = []
            for count in (1, 2, 3):
                ids.append((await gateway.post(client))["id"])
                await until(partial(has_begun, home, count), "it begins", within_s=20.0)
                await clock.advance(1.0)
                await until(lambda: backend.in_flight == 0, "it is there no more")
            body = {"model": "chat", "messages": [{"role": "user", "content": "x"}]}
            asking = asyncio.ensure_future(client.post("/v1/chat/completions", json=body))
            await until(partial(has_begun, home, 4), "it is asked")
            await clock.advance(1.0)
            assert (await asking).status_code == 200
            await client.post(f"/v1/jobs/{ids[0]}/cancel")
            KeepsNothing.lets.set()
            for id in ids:
                await gateway.until_ended(id)
            assert (backend.in_flight, backend.queue.running) == (0, 0)
            rows = [row for id in ids for row in await gateway.rows(id)]
            assert [row.gpu_us for row in rows] == [1_000_000] * 3


class SaysNoFailure(SlowToWrite):
    lets = asyncio.Event()


async def test_what_has_failed_is_no_more_at_the_backend_while_the_store_writes_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The next one begins, and each is charged the second that it ran."""
    async with with_jobs(tmp_path, clock, text=ONE_SLOT, jobs=SaysNoFailure) as gateway:
        home, backend = gateway.fake("home"), gateway.inner.active.backends["home"]
        home.runs_for = 1.0
        home.tell(BackendError(FailureClass.FAILED, "it fell over"))
        async with gateway.client() as client:
            ids = [(await gateway.post(client))["id"] for _ in range(2)]
            for count in (1, 2):
                await until(partial(has_begun, home, count), "it begins", within_s=20.0)
                await clock.advance(1.0)
            await until(lambda: backend.in_flight == 0, "both have left the machine")
            await clock.advance(100.0)
            SaysNoFailure.lets.set()
            ended = [await gateway.until_ended(id) for id in ids]
            assert [job.state for job in ended] == ["failed", "succeeded"]
            rows = [row for id in ids for row in await gateway.rows(id)]
            assert [row.gpu_us for row in rows] == [1_000_000] * 2


class SaysNoStart(SlowToWrite):
    lets = asyncio.Event()


async def test_what_is_canceled_while_its_start_is_written_down_costs_nothing(
    tmp_path: Path, clock: FakeClock
) -> None:
    """The platform was not told of it."""
    async with with_jobs(tmp_path, clock, jobs=SaysNoStart) as gateway:
        backend = gateway.inner.active.backends["cloud"]
        async with gateway.client() as client:
            id = (await gateway.post(client, "far"))["id"]
            await until(lambda: backend.leases.calls == 1, "it has a place there")
            await clock.advance(5.0)
            await client.post(f"/v1/jobs/{id}/cancel")
            job = await gateway.until_ended(id)
            assert (job.state, job.cost_nano, gateway.platform.jobs) == ("canceled", 0, {})


class SaysNothing(SlowToWrite):
    lets = asyncio.Event()


TWO = POLICY.replace(
    "any: {task: infer, backends: [home]", "any: {task: infer, backends: [home, cloud]"
).replace("expect: 1s}\n  cloud", "expect: 1s, max_run: 30s}\n  cloud")


async def test_what_failed_while_the_store_was_away_has_not_run_too_long_for_that(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock, text=TWO, jobs=SaysNothing) as gateway:
        home = gateway.fake("home")
        home.tell(BackendError(FailureClass.UNREACHABLE, "gone"))
        async with gateway.client() as client:
            job = await gateway.post(client)
            await until(partial(has_begun, home, 1), "it is asked")
            await clock.advance(120.0)
            SaysNothing.lets.set()
            assert (await gateway.until_ended(job["id"])).state == "succeeded"
            assert len(gateway.platform.jobs) == 1


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
