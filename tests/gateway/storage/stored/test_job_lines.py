"""However many jobs wait, whoever looks for the next ones reads the heads of the keys' lines."""

from __future__ import annotations

import re

import pytest

from gateway.storage.jobs import leases
from gateway.storage.outbox_statements import Statement
from gateway.storage.sql_outbox import RunsStatements
from gateway.storage.sqlite.outbox import SqliteStatements
from tests.gateway.storage.books import MakeStatements, OpenBooks, make_statements, open_books
from tests.gateway.storage.test_jobs import LEASE_S, accept, take

__all__ = ["make_statements", "open_books"]

WAITING, WANTED = 5000, 4
_FILL = (
    "INSERT INTO jobs (id, state, model, task, key_id, caller, rank, created_at, due_at, "
    "deadline_at, keep_us, digest, webhook, request) "
    "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < ?) "
    "SELECT 'job_' || n, 'queued', 'chat', 'chat', 'key_' || (n % 3), 'alice', 1, 0, 0, "
    "4000000000000000, 0, '', '', '' FROM many"
)
_READ = re.compile(r" on jobs.*actual rows=(\d+) loops=(\d+)")
QUESTIONS = {
    "take": leases.take("one", "chat", WANTED, LEASE_S, {"key_2"}, -1, {(1, "key_1"): 2.5}),
    "take over": leases.take_over("one", WANTED, LEASE_S),
    "take one": leases.take_one("one", "job_5", LEASE_S),
}


async def rows_read(connection: RunsStatements, statement: Statement) -> int:
    """Of the table of jobs; as many as there are for a question that has no index."""
    sql, values = statement
    if isinstance(connection, SqliteStatements):
        [plan] = await connection.run([(f"EXPLAIN QUERY PLAN {sql}", values)])
        indexed = ("SEARCH ", "jobs_leased", "jobs_left")
        scans = [line for *_, line in plan if "jobs" in line and "SCAN" in line]
        return WAITING if any(not any(i in scan for i in indexed) for scan in scans) else 0
    analyzed = f"EXPLAIN (ANALYZE, TIMING OFF) {sql}"
    [plan] = await connection.run([(analyzed, values)])
    found = [_READ.search(line) for (line,) in plan]
    return sum(int(one[1]) * int(one[2]) for one in found if one)


@pytest.mark.parametrize("question", sorted(QUESTIONS))
async def test_no_question_reads_all_that_waits(
    make_statements: MakeStatements, question: str
) -> None:
    connection = make_statements()
    await connection.run([(_FILL, (WAITING,))])

    read = await rows_read(connection, QUESTIONS[question])

    assert read < WAITING / 50
    await connection.aclose()


async def test_a_key_that_has_had_its_turns_waits_for_the_others(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_a1", "job_a2")
        await accept(books.jobs, "job_b1", "job_b2", "job_b3", key_id="key_bob", user="bob")

        taken = await books.jobs.take("one", "chat", 3, LEASE_S, owed={(1, "key_alice"): 1.5})
        rest = await take(books.jobs)

        assert sorted(job.id for job in taken) == ["job_a1", "job_b1", "job_b2"]
        assert sorted(job.id for job in rest) == ["job_a2", "job_b3"]


async def test_what_is_owed_in_another_rank_is_not_owed_in_this_one(open_books: OpenBooks) -> None:
    async with open_books() as books:
        await accept(books.jobs, "job_a1")
        await accept(books.jobs, "job_b1", key_id="key_bob", user="bob")

        [first] = await books.jobs.take("one", "chat", 1, LEASE_S, owed={(2, "key_alice"): 9.0})

        assert first.id == "job_a1"
