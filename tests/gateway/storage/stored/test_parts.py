"""What is pruned never goes before its parts, and what is said again reopens nothing."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.clock import FakeClock
from gateway.storage.batches import statements as batches
from gateway.storage.jobs import statements as jobs
from gateway.storage.outbox_statements import Statement
from gateway.storage.sql_outbox import RunsStatements
from gateway.storage.streams import statements as streams
from gateway.storage.streams.sql_streams import SqlStreams
from tests.gateway.storage.books import MakeStatements, OpenBooks, make_statements, open_books
from tests.gateway.storage.sqlite.ledger_rows import settled_row
from tests.gateway.storage.stored.test_batch_store import begun, fed, opened
from tests.gateway.storage.streams.test_stream_store import LEASE_S, stream
from tests.gateway.storage.test_jobs import job, row

__all__ = ["make_statements", "open_books"]

FORGET_S = 3600.0
_PARTS = ("DELETE FROM kept_pieces", "DELETE FROM job_events", "DELETE FROM batch_lines")


async def pruned_alone(statements: RunsStatements, deletes: Sequence[Statement]) -> int:
    """How many go while their parts stay: as where a clock moves on between two deletes."""
    found = await statements.run([one for one in deletes if not one[0].startswith(_PARTS)])
    return sum(len(rows) for rows in found)


async def test_a_stream_never_goes_before_its_pieces(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    statements = make_statements()
    kept = SqlStreams(make_statements())
    await kept.claim(stream())
    await kept.end("req_1", 0, b"one", "{}", "ended")
    await clock.advance(3601)

    assert await pruned_alone(statements, streams.prune(10)) == 0
    assert await kept.prune(10) == 1
    await kept.aclose()
    await statements.aclose()


async def test_a_job_and_a_batch_never_go_before_what_is_theirs(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    statements = make_statements()
    async with opened(make_statements) as stores:
        found = await begun(stores, clock)
        await stores.batches.feed("batch_1", found.epoch, found, [fed(clock, 1)], (1, 100))
        [taken] = await stores.jobs.take("one", "chat", 5, LEASE_S)
        await stores.jobs.move(taken.id, taken.epoch, "starting")
        await stores.batches.finalize("batch_1", found.epoch, "")
        await stores.batches.end(
            "batch_1", found.epoch, "completed", files=("", ""), counts=(0, 0), why=""
        )
        await clock.advance(FORGET_S + 1)

        assert await pruned_alone(statements, batches.prune(FORGET_S, 10)) == 0
        assert await stores.batches.get("batch_1") is not None
        assert await stores.jobs.get("job_1") is not None
        assert await stores.batches.prune(FORGET_S, 10) == 1
        assert await stores.batches.get("batch_1") is None
        assert await stores.jobs.events("job_1", 0) == []
    await statements.aclose()


async def test_a_job_never_goes_before_its_events(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    statements = make_statements()
    async with opened(make_statements) as stores:
        await stores.jobs.accept(job(), row())
        [taken] = await stores.jobs.take("one", "chat", 5, LEASE_S)
        await statements.run([("DELETE FROM open_entries", ())])
        await stores.jobs.end("job_1", taken.epoch, "failed", ended_at=clock.time())
        await clock.advance(2 * FORGET_S)

        await pruned_alone(statements, jobs.prune(FORGET_S, 10))
        assert await stores.jobs.get("job_1") is not None
        await stores.jobs.prune(FORGET_S, 10)
        assert await stores.jobs.get("job_1") is None
    await statements.aclose()


async def test_what_is_fed_or_accepted_again_after_its_end_stays_settled(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as stores:
        found = await begun(stores, clock)
        lines = [fed(clock, 1)]
        await stores.batches.feed("batch_1", found.epoch, found, lines, (1, 100))
        await stores.ledger.settle([settled_row(id="job_1", cost_nano=3)])
        await stores.batches.feed("batch_1", found.epoch, found, lines, (1, 100))
        assert await stores.batches.committed("batch_1") == 3
        await stores.jobs.accept(job("job_2"), row("job_2"))
        await stores.ledger.settle([settled_row(id="job_2")])
        await stores.jobs.accept(job("job_2"), row("job_2"))
        kept = await stores.jobs.get("job_2")
        assert kept is not None
        assert kept.row is None
