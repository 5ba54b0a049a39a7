"""Every store of batches lends each to one worker, and makes a job of each line once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from gateway.clock import FakeClock
from gateway.storage.batches.base import BatchesQuery, FedLine, StoredBatch
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.jobs.base import LOWEST, JobsQuery, NewJob
from gateway.storage.jobs.sql_jobs import SqlJobs
from tests.gateway.storage.books import Books, MakeStatements, make_statements
from tests.gateway.storage.sqlite.ledger_rows import open_row

__all__ = ["make_statements"]

LEASE_S = 20.0


class Stores(NamedTuple):
    batches: SqlBatches
    jobs: SqlJobs


@contextlib.asynccontextmanager
async def opened(make_statements: MakeStatements) -> AsyncIterator[Stores]:
    stores = Stores(SqlBatches(make_statements()), SqlJobs(make_statements()))
    try:
        yield stores
    finally:
        await stores.jobs.aclose()
        await stores.batches.aclose()


def batch(clock: FakeClock, id: str = "batch_1", **changed: Any) -> StoredBatch:
    fields: dict[str, Any] = {
        "id": id,
        "user": "alice",
        "key_id": "key_alice",
        "endpoint": "/v1/embeddings",
        "input_file": "file_1",
        "within": "24h",
        "created_at": clock.time(),
        "deadline": clock.time() + 86_400.0,
        "metadata": "null",
        "request": "{}",
    }
    return StoredBatch(**{**fields, **changed})


def fed(clock: FakeClock, number: int) -> FedLine:
    job = NewJob(
        id=f"job_{number}",
        model="chat",
        task="chat",
        key_id="key_alice",
        user="alice",
        rank=LOWEST,
        created_at=clock.time(),
        deadline=clock.time() + 86_400.0,
        keep_s=3600.0,
        request="{}",
    )
    return FedLine(
        number=number, custom_id=f"c{number}", job=job, row=open_row(id=job.id, hold_nano=7)
    )


async def begun(stores: Stores | Books, clock: FakeClock) -> StoredBatch:
    await stores.batches.add(batch(clock))
    [taken] = await stores.batches.take("one", 8, LEASE_S)
    assert await stores.batches.begin("batch_1", taken.epoch, 3)
    found = await stores.batches.get("batch_1")
    assert found is not None
    return found


async def test_a_batch_is_one_workers_until_its_lease_is_over(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        await stores.batches.add(batch(clock))
        [taken] = await stores.batches.take("one", 8, LEASE_S)
        assert (taken.state, taken.epoch, taken.budget_nano) == ("validating", 1, None)
        assert await stores.batches.take("two", 8, LEASE_S) == []
        assert await stores.batches.renew("one", ["batch_1"], LEASE_S) == {"batch_1": False}
        await clock.advance(LEASE_S + 1)
        [again] = await stores.batches.take("two", 8, LEASE_S)
        assert again.epoch == 2
        assert await stores.batches.renew("one", ["batch_1"], LEASE_S) == {}
        assert not await stores.batches.begin("batch_1", 1, 3)
        assert await stores.batches.leave("batch_1", 2)
        assert len(await stores.batches.take("one", 8, LEASE_S)) == 1


async def test_those_are_found_that_have_budgets_and_go_on(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        await stores.batches.add(batch(clock))
        assert await stores.batches.with_budgets() == []
        await stores.batches.add(batch(clock, "batch_2", budget_nano=7))
        assert [one.id for one in await stores.batches.with_budgets()] == ["batch_2"]
        for taken in await stores.batches.take("one", 8, LEASE_S):
            assert await stores.batches.refuse(taken.id, taken.epoch, "[]")
        assert await stores.batches.with_budgets() == []


async def test_lines_are_jobs_once_whoever_feeds_them(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        found = await begun(stores, clock)
        lines = [fed(clock, 1), FedLine(number=2, custom_id="c2", fault="{}")]
        assert await stores.batches.feed("batch_1", found.epoch, found, lines, (2, 200))
        assert not await stores.batches.feed("batch_1", found.epoch, found, lines, (2, 200))
        assert not await stores.batches.feed("batch_1", 7, found, [fed(clock, 3)], (3, 300))

        after = await stores.batches.get("batch_1")
        progress = await stores.batches.progress("batch_1")
        assert after is not None
        assert (after.fed_line, after.fed_byte) == (2, 200)
        assert (progress.waiting, progress.refused, progress.alive) == (1, 1, 1)
        assert await stores.jobs.get("job_3") is None
        assert await stores.batches.committed("batch_1") == 7


async def test_a_line_is_taken_when_no_other_job_may_and_is_not_listed(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        found = await begun(stores, clock)
        await stores.batches.feed("batch_1", found.epoch, found, [fed(clock, 1)], (1, 100))
        assert await stores.jobs.find(JobsQuery()) == []
        assert await stores.jobs.take("one", "chat", 5, LEASE_S, (), 0) == []
        [taken] = await stores.jobs.take("one", "chat", 5, LEASE_S)
        assert (taken.id, taken.rank) == ("job_1", LOWEST)


async def test_what_became_of_lines_is_told_in_their_order(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        found = await begun(stores, clock)
        lines = [fed(clock, 1), FedLine(number=2, custom_id="c2", fault="{}"), fed(clock, 3)]
        await stores.batches.feed("batch_1", found.epoch, found, lines, (3, 300))
        told = await stores.batches.lines("batch_1", 0, 2)
        rest = await stores.batches.lines("batch_1", 2, 2)
        assert [(one.number, one.custom_id, one.state) for one in told] == [
            (1, "c1", "queued"),
            (2, "c2", None),
        ]
        assert [one.job for one in rest] == ["job_3"]
        await stores.batches.stop_lines("batch_1")
        taken = await stores.jobs.take_over("one", 5, LEASE_S)
        assert [one.canceling for one in taken] == [True, True]


async def test_a_batch_ends_once_and_its_lines_are_swept_away(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        found = await begun(stores, clock)
        epoch = found.epoch
        await stores.batches.feed("batch_1", epoch, found, [fed(clock, 1)], (1, 100))
        assert await stores.batches.uses("file_1")
        assert await stores.batches.cancel("batch_1")
        assert await stores.batches.renew("one", ["batch_1"], LEASE_S) == {"batch_1": True}
        assert await stores.batches.finalize("batch_1", epoch, "batch_cancelled")
        assert await stores.batches.end(
            "batch_1", epoch, "cancelled", files=("file_o", ""), counts=(1, 2), why=""
        )
        assert not await stores.batches.end(
            "batch_1", epoch, "completed", files=("", ""), counts=(0, 0), why=""
        )
        ended = await stores.batches.get("batch_1")
        assert ended is not None
        assert (ended.state, ended.output_file, ended.done, ended.failed) == (
            *("cancelled", "file_o"),
            *(1, 2),
        )
        assert not await stores.batches.uses("file_1")
        assert not await stores.batches.cancel("batch_1")
        assert await stores.batches.prune(3600.0, 10) == 1
        assert await stores.jobs.get("job_1") is None
        assert await stores.batches.lines("batch_1", 0, 5) == []
        await clock.advance(3601)
        await stores.batches.prune(3600.0, 10)
        assert await stores.batches.get("batch_1") is None


async def test_batches_are_listed_a_page_at_a_time(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        for number in range(4):
            await stores.batches.add(batch(clock, f"batch_{number}", budget_nano=5))
        await stores.batches.add(batch(clock, "batch_b", user="bob"))
        newest = await stores.batches.find(BatchesQuery(user="alice", most=2))
        rest = await stores.batches.find(BatchesQuery(user="alice", before="batch_2"))
        assert [one.id for one in newest] == ["batch_3", "batch_2"]
        assert [one.id for one in rest] == ["batch_1", "batch_0"]
        assert rest[0].budget_nano == 5


async def test_it_refuses_what_cannot_begin(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        await stores.batches.add(batch(clock))
        [taken] = await stores.batches.take("one", 8, LEASE_S)
        assert await stores.batches.refuse("batch_1", taken.epoch, "[]")
        found = await stores.batches.get("batch_1")
        assert found is not None
        assert (found.state, found.faults) == ("failed", "[]")
        assert found.ended_at is not None


async def test_no_users_batches_keep_anothers_from_their_turn(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as stores:
        for number in range(12):
            await stores.batches.add(batch(clock, f"batch_{number}"))
        await stores.batches.add(batch(clock, "batch_b", user="bob"))
        first = await stores.batches.take("one", 4, LEASE_S)
        rest = await stores.batches.take("two", 64, LEASE_S)
        assert {one.id for one in first} == {"batch_0", "batch_1", "batch_2", "batch_b"}
        assert {one.id for one in rest} == {f"batch_{number}" for number in range(3, 8)}
