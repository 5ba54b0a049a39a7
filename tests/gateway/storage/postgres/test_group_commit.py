"""Writes of one gateway that come together are kept together, and each is answered for itself."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import settle
from gateway.storage.base import StorageUnavailable
from gateway.storage.outbox_statements import Statement
from gateway.storage.postgres.group_commit import MOST, Batch, GroupCommit, Outcome
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.store_urls import Database


class Server:
    """Says what it was asked, when it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[Batch]] = []
        self.answers = asyncio.Semaphore(0)

    async def run(self, batches: list[Batch]) -> list[Outcome]:
        self.groups.append(batches)
        await self.answers.acquire()
        return [[[sql]] for [(sql, _)] in batches]


def write(number: int) -> list[Statement]:
    return [(f"w{number}", ())]


async def test_what_comes_while_one_is_under_way_shares_the_next_transaction() -> None:
    server = Server()
    writes = GroupCommit(server.run)
    asking = []
    for number in range(MOST + 2):
        asking.append(asyncio.create_task(writes.write(write(number))))
        await settle(2)

    for _ in range(3):
        server.answers.release()
        await settle()

    assert [len(group) for group in server.groups] == [1, MOST, 1]
    assert [await one for one in asking] == [[[f"w{number}"]] for number in range(MOST + 2)]


async def test_who_waits_no_longer_has_it_written_before_what_comes_later() -> None:
    server = Server()
    writes = GroupCommit(server.run)
    first, left, last = (asyncio.create_task(writes.write(write(number))) for number in range(3))
    await settle()
    left.cancel()
    last_group = asyncio.create_task(writes.aclose())
    for _ in range(2):
        server.answers.release()
        await settle()

    assert [sql for group in server.groups for [(sql, _)] in group] == ["w0", "w1", "w2"]
    assert (await first, await last) == ([["w0"]], [["w2"]])
    await last_group


async def test_a_write_that_is_refused_takes_no_other_with_it(database: Database) -> None:
    connection = PostgresStatements(database, timeout_s=30.0)
    event = "INSERT INTO job_events (job, at, kind, data) VALUES (?, 0, ?, '') RETURNING job"
    good = [connection.run([(event, (f"job_{number}", "state"))]) for number in range(3)]
    bad = connection.run([(event, ("job_bad", None))])  # which may not be empty

    found = await asyncio.gather(good[0], bad, *good[1:], return_exceptions=True)

    assert [type(one) for one in found] == [list, StorageUnavailable, list, list]
    [kept] = await connection.run([("SELECT job FROM job_events ORDER BY job", ())])
    assert [row[0] for row in kept] == ["job_0", "job_1", "job_2"]
    await connection.aclose()


async def test_a_server_that_is_not_there_is_asked_once_for_all() -> None:
    nowhere = Database(hosts=(("127.0.0.1", 1),), username="u", database="d")
    connection = PostgresStatements(nowhere, timeout_s=1.0)

    found = await asyncio.gather(
        *(connection.run([("UPDATE jobs SET rank = 0", ())]) for _ in range(3)),
        return_exceptions=True,
    )

    with pytest.raises(StorageUnavailable):
        raise found[0]  # type: ignore[misc]
    assert {type(one) for one in found} == {StorageUnavailable}
    await connection.aclose()
