"""Rows of a database are rolled up when it is worth it."""

from __future__ import annotations

from gateway.storage.postgres.connections import connect
from gateway.storage.postgres.rollups import roll_up
from gateway.store_urls import Database
from tests.gateway.storage.postgres.conftest import Machines
from tests.gateway.storage.sqlite.ledger_rows import settled_row


async def test_few_rows_wait_until_they_are_worth_it(database: Database, machine: Machines) -> None:
    async with machine(database) as ledger:
        await ledger.settle([settled_row(f"r{n}") for n in range(4)])
        connection = await connect(database, "test", timeout_s=30.0, statement_timeout_s=30.0)
        assert await roll_up(connection, least=5) == 0  # it learns that no row is from before
        assert await roll_up(connection, least=5) == 0
        await ledger.settle([settled_row("r4")])
        assert await roll_up(connection, least=5) == 5
        assert await roll_up(connection) == 0
        await connection.close()
