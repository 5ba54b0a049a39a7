"""Every store has an instance on the lease of one holder, and gives it to the next when that is
over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.rented.base import InstanceStore, StoredInstance
from gateway.storage.rented.memory import MemoryInstances
from gateway.storage.rented.sql_instances import SqlInstances
from gateway.storage.rented.sqlite_instances import SqliteInstances
from gateway.storage.sql_outbox import RunsStatements
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO
from tests.gateway.storage.books import KINDS
from tests.postgres_server import PostgresServer

OpenInstances = Callable[[], contextlib.AbstractAsyncContextManager[InstanceStore]]
ONE, OTHER = StoredInstance("i1", "pods", "{}"), StoredInstance("i2", "cheap", "{}")
LEASE_S, OTHERS_S = 60.0, 600.0


@pytest.fixture(params=[*KINDS, "memory"])
def open_instances(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> OpenInstances:
    if request.param == "memory":
        return lambda: contextlib.nullcontext(MemoryInstances(clock.time))

    def now_us() -> int:
        return round(clock.time() * MICRO)

    def statements() -> tuple[RunsStatements, SqlInstances]:
        if request.param == "sqlite":
            ledger = tmp_path / "ledger.db"
            file = SqliteStatements(ledger, now_us=now_us)
            return file, SqliteInstances(file, ledger)
        server: PostgresServer = request.getfixturevalue("postgres_session")
        database = PostgresStatements(server.empty(), timeout_s=30.0, now_us=now_us)
        return database, SqlInstances(database)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[InstanceStore]:
        connection, instances = statements()
        try:
            yield instances
        finally:
            await connection.aclose()

    return opened


async def taken(store: InstanceStore, holder: str, *reserves: str) -> list[str]:
    found = await store.take(holder, LEASE_S, reserves, OTHERS_S)
    return sorted(one.id for one in found)


async def test_an_instance_has_one_holder_until_its_lease_is_over(
    open_instances: OpenInstances, clock: FakeClock
) -> None:
    async with open_instances() as store:
        assert await store.put("a", ONE, LEASE_S)
        assert await taken(store, "b", "pods") == []
        clock.move(LEASE_S / 2)
        assert await store.renew("a", LEASE_S) == {"i1"}
        clock.move(LEASE_S - 1)
        assert await taken(store, "b", "pods") == []
        clock.move(1)
        assert await taken(store, "b", "pods") == ["i1"]
        assert await store.renew("a", LEASE_S) == set()
        assert not await store.put("a", ONE, LEASE_S)
        assert await store.put("b", StoredInstance("i1", "pods", "more"), LEASE_S)
        clock.move(LEASE_S)
        [found] = await store.take("c", LEASE_S, ["pods"], OTHERS_S)
        assert found.document == "more"


async def test_whose_policy_lacks_the_reserve_takes_it_later(
    open_instances: OpenInstances, clock: FakeClock
) -> None:
    async with open_instances() as store:
        await store.put("a", ONE, LEASE_S)
        await store.put("a", OTHER, LEASE_S)
        await store.leave("a")
        assert await taken(store, "b", "pods") == ["i1"]
        assert await taken(store, "b") == []
        clock.move(OTHERS_S)
        assert await store.renew("b", LEASE_S) == {"i1"}
        assert await taken(store, "c") == ["i2"]


async def test_what_is_dropped_is_gone_for_all_and_by_its_holder_alone(
    open_instances: OpenInstances, clock: FakeClock
) -> None:
    async with open_instances() as store:
        await store.put("a", ONE, LEASE_S)
        await store.drop("b", "i1")
        assert await store.renew("a", LEASE_S) == {"i1"}
        await store.drop("a", "i1")
        clock.move(LEASE_S)
        assert await taken(store, "b", "pods") == []


async def test_all_of_a_reserve_are_told_whoever_has_them(open_instances: OpenInstances) -> None:
    more = StoredInstance("i3", "pods", "{}")
    async with open_instances() as store:
        await store.put("a", ONE, LEASE_S)
        await store.put("a", OTHER, LEASE_S)
        await store.put("b", more, LEASE_S)
        await store.leave("b")
        assert await store.of_reserve("pods") == [ONE, more]


async def test_of_several_that_ask_at_once_each_instance_has_one(
    open_instances: OpenInstances, clock: FakeClock
) -> None:
    async with open_instances() as store:
        for number in range(20):
            await store.put("dead", StoredInstance(f"i{number}", "pods", "{}"), LEASE_S)
        clock.move(LEASE_S)
        found = await asyncio.gather(*(taken(store, f"h{n}", "pods") for n in range(5)))
        assert sorted(id for each in found for id in each) == sorted(f"i{n}" for n in range(20))
