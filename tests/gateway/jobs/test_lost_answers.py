"""A job whose writing down had no answer is accepted where it is there, and holds nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.jobs.accepting import AskedJob, JobAcceptance
from gateway.preferences import Preferences
from gateway.storage.base import LedgerRow, StorageUnavailable
from gateway.storage.jobs.base import KnownJob, NewJob, StoredJob
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO, ApiError
from tests.gateway.jobs.gateways import JobsGateway, with_jobs
from tests.waiting import until


class LosingJobs(SqlJobs):
    """Loses answers: ``writes``: what was written all the same; ``silent``: of how many questions
    after that nothing is heard."""

    writes = True
    silent = 0

    async def accept(self, job: NewJob, row: LedgerRow) -> KnownJob:
        if self.writes:
            await super().accept(job, row)
        raise StorageUnavailable("its answer was lost")

    async def get(self, id: str) -> StoredJob | None:
        if self.silent:
            self.silent -= 1
            raise StorageUnavailable("its answer was lost")
        return await super().get(id)


def losing(
    gateway: JobsGateway, folder: Path, accepted: list[str]
) -> tuple[LosingJobs, JobAcceptance]:
    clock = gateway.clock
    path = folder / "ledger.db"
    store = LosingJobs(SqliteStatements(path, now_us=lambda: round(clock.time() * MICRO)))
    acceptance = JobAcceptance(
        store=store, dispatcher=gateway.inner.dispatcher, clock=clock, accepted=accepted.append
    )
    return store, acceptance


def asked(gateway: JobsGateway) -> AskedJob:
    principal = gateway.inner.keys.find(gateway.key())
    assert principal is not None
    return AskedJob(
        model="any",
        task="infer",
        body=b"{}",
        principal=principal,
        preferences=Preferences(None, None, 1),
    )


async def test_a_job_that_was_written_down_is_accepted_although_its_answer_was_lost(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway:
        accepted: list[str] = []
        store, acceptance = losing(gateway, tmp_path, accepted)
        id = await acceptance.accept(gateway.inner.active, asked(gateway))
        assert accepted == [id]
        assert (await gateway.until_ended(id)).state == "succeeded"
        await store.aclose()


async def test_a_job_that_was_not_written_down_is_refused(tmp_path: Path, clock: FakeClock) -> None:
    async with with_jobs(tmp_path, clock) as gateway:
        store, acceptance = losing(gateway, tmp_path, [])
        store.writes = False
        with pytest.raises(ApiError, match="not accepted") as refused:
            await acceptance.accept(gateway.inner.active, asked(gateway))
        assert refused.value.status == 503
        await store.aclose()


async def test_of_a_job_of_which_nothing_is_heard_it_is_said_that_nobody_knows(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with with_jobs(tmp_path, clock) as gateway:
        accepted: list[str] = []
        store, acceptance = losing(gateway, tmp_path, accepted)
        store.silent = 2
        with pytest.raises(ApiError, match="may run, as job_") as refused:
            await acceptance.accept(gateway.inner.active, asked(gateway))
        assert refused.value.status == 503

        async def found() -> bool:
            await clock.advance(1.0)
            return bool(accepted)

        await until(found, "it is found", every_s=0.001)
        assert (await gateway.until_ended(accepted[0])).state == "succeeded"
        await store.aclose()
