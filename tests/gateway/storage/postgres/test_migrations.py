"""A schema of every earlier version is brought up to date with its rows, whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from gateway.storage.base import StorageUnavailable
from gateway.storage.postgres.connections import Connection, connect
from gateway.storage.postgres.keys import PostgresKeys
from gateway.storage.postgres.migrations import STEPS, migrate, version_of
from gateway.storage.postgres.rows import OPEN, SETTLE, columns
from gateway.storage.queries import UsageQuery
from gateway.storage.rows import encode_open, encode_settled
from gateway.store_urls import Database
from gateway.types import Principal
from tests.gateway.storage.postgres.conftest import Machines
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row
from tests.postgres_server import PostgresServer


@contextlib.asynccontextmanager
async def connected(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database, "test", timeout_s=30.0, statement_timeout_s=30.0)
    try:
        yield connection
    finally:
        await connection.close()


async def tables(connection: Connection, database: Database) -> list[tuple[str, ...]]:
    sql = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = $1 ORDER BY 1, 2"
    )
    return [tuple(row) for row in await connection.fetch(sql, database.schema)]


@pytest.mark.parametrize("version", range(len(STEPS)), ids=lambda version: f"from {version}")
async def test_every_earlier_schema_becomes_that_of_today(
    version: int, database: Database, postgres_session: PostgresServer
) -> None:
    new = postgres_session.empty()
    async with connected(database) as old, connected(new) as fresh:
        await migrate(old, database.schema, STEPS[:version])
        await migrate(old, database.schema)
        await migrate(fresh, new.schema)
        assert await tables(old, database) == await tables(fresh, new)
        assert await version_of(old, database.schema) == len(STEPS)


async def test_rows_of_the_first_schema_are_there_in_that_of_today(
    database: Database, machine: Machines
) -> None:
    """And keys can be made."""
    async with connected(database) as connection:
        await migrate(connection, database.schema, STEPS[:1])
        await connection.execute("INSERT INTO owners (token, beat) VALUES ('gone', -1)")
        await connection.execute(OPEN, *columns([encode_open(open_row("left"), "gone")]))
        settled = encode_settled(settled_row("before", cost_nano=5))
        await connection.execute(SETTLE, *columns([settled]))
    async with machine(database) as ledger:
        assert [row.id for row in await ledger.take_abandoned()] == ["left"]
        assert [row.cost_nano for row in (await ledger.usage(UsageQuery())).rows] == [5]
    keys = await asyncio.to_thread(PostgresKeys, database)
    await asyncio.to_thread(keys.create, Principal(key_id="k1", user="alice"), "sg-a")
    await asyncio.to_thread(keys.close)


@pytest.mark.parametrize("version", range(len(STEPS)), ids=lambda version: f"from {version}")
async def test_a_step_that_breaks_off_leaves_the_schema_before_it_whole(
    version: int, database: Database
) -> None:
    """In its last statement, after all others were carried out."""
    broken = (*STEPS[:version], f"{STEPS[version]}; SELECT 1 / 0")
    async with connected(database) as connection:
        await migrate(connection, database.schema, STEPS[:version])
        before = await tables(connection, database)
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, database.schema, broken)
        assert await tables(connection, database) == before
        assert await version_of(connection, database.schema) == version
        await migrate(connection, database.schema)
        assert await version_of(connection, database.schema) == len(STEPS)


async def test_gateways_that_start_together_migrate_once(database: Database) -> None:
    async with contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(connected(database)) for _ in range(6)]
        await asyncio.gather(*(migrate(each, database.schema) for each in connections))
        assert await version_of(connections[0], database.schema) == len(STEPS)


async def test_a_schema_of_a_newer_version_is_refused_with_what_to_do(
    database: Database, machine: Machines
) -> None:
    async with connected(database) as connection:
        await migrate(connection, database.schema)
        await connection.execute("UPDATE schema_version SET version = 99")
    async with machine(database) as ledger:
        with pytest.raises(StorageUnavailable, match=r"version 99.*Upgrade"):
            await ledger.usage(UsageQuery())
    with pytest.raises(StorageUnavailable, match=r"version 99.*Upgrade"):
        await asyncio.to_thread(PostgresKeys, database)


async def test_who_may_not_make_schemas_uses_the_one_that_was_made_for_him(
    database: Database, postgres_session: PostgresServer, machine: Machines
) -> None:
    role = f"guest_{database.schema}"
    postgres_session.query(f"CREATE ROLE {role} LOGIN")
    postgres_session.query(f"CREATE SCHEMA {database.schema} AUTHORIZATION {role}")
    async with machine(msgspec.structs.replace(database, username=role)) as ledger:
        await ledger.settle([settled_row("r1")])
        assert len(await ledger.rows("r1")) == 1
