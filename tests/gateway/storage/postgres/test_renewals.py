"""Leases are renewed by one statement for many jobs, which waits for nobody that writes one."""

from __future__ import annotations

from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.postgres.connections import connect
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.store_urls import Database
from tests.gateway.storage.test_jobs import LEASE_S, accept, take


async def test_a_job_that_is_being_written_is_renewed_the_next_time(database: Database) -> None:
    now_us = 1_000_000
    jobs = SqlJobs(PostgresStatements(database, timeout_s=30.0, now_us=lambda: now_us))
    await accept(jobs, "job_1", "job_2")
    await take(jobs)
    writer = await connect(database, "writer", timeout_s=30.0, statement_timeout_s=30.0)
    both = {"job_1": False, "job_2": False}
    now_us += 5_000_000
    async with writer.transaction():
        await writer.execute("SELECT 1 FROM jobs WHERE id = 'job_1' FOR UPDATE")
        assert await jobs.renew("one", [*both], LEASE_S) == both
    now_us += 16_000_000
    assert [one.id for one in await jobs.take_over("two", 10, LEASE_S)] == ["job_1"]
    assert await jobs.renew("one", [*both], LEASE_S) == {"job_2": False}
    writer.terminate()
    await jobs.aclose()
