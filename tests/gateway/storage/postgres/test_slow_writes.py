"""A write that takes too long fails for itself, and keeps no lease from being renewed."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.outbox_statements import Statement
from gateway.storage.postgres.connections import connect
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.postgres.refusals import is_lost, may_be_split, too_slow
from gateway.store_urls import Database

SLOW: Statement = ("DO $$ BEGIN RAISE EXCEPTION 'took long' USING ERRCODE = '57014'; END $$", ())
"""Is given up by the server as one is whose time is over, without the time."""
NOTE = "INSERT INTO job_events (job, at, kind, data) VALUES (?, 0, 'state', '')"
LOCK = 7


def note(id: str) -> list[Statement]:
    return [(NOTE, (id,)), (NOTE, (id,))]


@pytest.mark.parametrize("at", range(4))
async def test_one_that_takes_too_long_takes_no_neighbour_with_it(
    at: int, database: Database
) -> None:
    connection = PostgresStatements(database, timeout_s=30.0)
    writes = [note(f"job_{number}") for number in range(3)]
    writes.insert(at, [*note("job_slow"), SLOW])
    first = asyncio.create_task(connection.run(note("job_first")))  # the others are one group

    found = await asyncio.gather(first, *map(connection.run, writes), return_exceptions=True)

    failed = [number for number, one in enumerate(found) if isinstance(one, Exception)]
    assert failed == [at + 1]
    assert isinstance(found[at + 1], StorageUnavailable)
    [kept] = await connection.run([("SELECT DISTINCT job FROM job_events ORDER BY job", ())])
    assert [row[0] for row in kept] == ["job_0", "job_1", "job_2", "job_first"]
    await connection.aclose()


async def test_leases_are_renewed_while_a_write_waits_for_a_lock(database: Database) -> None:
    connection = PostgresStatements(database, timeout_s=30.0)
    jobs, batches = SqlJobs(connection), SqlBatches(connection)
    await jobs.queued()  # the schema is there
    holder = await connect(database, "holder", timeout_s=30.0, statement_timeout_s=30.0)
    await holder.fetch("SELECT pg_advisory_lock($1)", LOCK)
    stuck = asyncio.create_task(
        connection.run([("WITH held AS (SELECT pg_advisory_xact_lock(?)) TABLE held", (LOCK,))])
    )
    behind = asyncio.create_task(connection.run(note("job_behind")))

    assert await jobs.renew("one", ["job_1"], 20.0) == {}
    assert await batches.renew("one", ["batch_1"], 20.0) == {}

    assert not stuck.done()
    assert not behind.done()
    holder.terminate()
    await asyncio.gather(stuck, behind)
    await connection.aclose()


GIVEN_UP = asyncpg.QueryCanceledError()
GONE = asyncpg.AdminShutdownError()


@pytest.mark.parametrize(
    ("error", "answered", "split"),
    [
        (GIVEN_UP, 0, True),
        (GIVEN_UP, 3, True),
        (asyncpg.NotNullViolationError(), 0, True),
        (asyncpg.DeadlockDetectedError(), 2, True),
        (TimeoutError(), 0, False),  # it answers nothing
        (TimeoutError(), 1, True),
        (TimeoutError(), 3, True),
        (TimeoutError(), 4, False),  # it was about to keep them
        (GONE, 2, False),
        (OSError(), 2, False),
        (asyncpg.ReadOnlySQLTransactionError(), 2, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_a_group_is_split_unless_the_server_is_lost(
    error: Exception, answered: int, split: bool
) -> None:
    assert may_be_split(error, answered, asked=4) is split


def test_a_server_that_gives_a_statement_up_is_not_lost() -> None:
    assert not is_lost(GIVEN_UP)
    assert is_lost(GONE)
    assert is_lost(TimeoutError())


@pytest.mark.parametrize(("answered", "which"), [*enumerate([0, 0, 1, 2, 2, 2, None])])
def test_the_write_that_was_given_up_is_known(answered: int, which: int | None) -> None:
    assert too_slow(GIVEN_UP, answered, [2, 1, 3]) == which
    assert too_slow(GONE, answered, [2, 1, 3]) is None
