"""Sums of before the cubes become cubes, also those of rows that are archived by then."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.durations import bucket_sql
from gateway.storage.postgres.connections import connect
from gateway.storage.postgres.migrations import STEPS, migrate
from gateway.storage.postgres.rollup_tables import CUBES as POSTGRES_CUBES
from gateway.storage.postgres.rows import SETTLE, columns
from gateway.storage.queries import UsageQuery
from gateway.storage.rollups.cubes import CUBES, GROUP
from gateway.storage.rows import encode_settled
from gateway.storage.sqlite import rollup_tables
from gateway.storage.sqlite.rows import steps_from
from gateway.store_urls import Database
from tests.gateway.storage.postgres.conftest import Machines, database, machine
from tests.gateway.storage.sqlite.ledger_rows import ledger_at, settled_row
from tests.gateway.storage.test_rollups import expected, rolled_up, told

__all__ = ["database", "machine"]
MIDNIGHT = 1_767_225_600.0
"""2026-01-01 00:00 UTC."""
HOUR_US = 3_600_000_000
NAMES = ", ".join(GROUP)
ROWS = [
    settled_row(
        f"r{n:02}",
        started_at=MIDNIGHT + n * 4_000.0,
        ended_at=MIDNIGHT + n * 4_000.0 + n,
        kind=("call", "attempt", "idle", "ping", "call")[n % 5],
        outcome=("success", "error", "interrupted")[n % 3],
        backend=("home", "", "burst")[n // 2 % 3],
        user=("alice", "bob")[n % 2],
        tags={"team": "nlp"} if n % 4 else {},
        cold_us=n % 3 * 10,
        cost_nano=2**n,
    )
    for n in range(40)
]
OLD, KEPT = ROWS[:20], ROWS[20:]
"""Those of the first day are archived."""
MADE = re.compile(r"\s*CREATE (TABLE|INDEX|TRIGGER) (?:IF NOT EXISTS )?(\w+)")
ADDED = re.compile(r"\s*ALTER TABLE (\w+) ADD COLUMN (\w+)")
ROLLED = {"rollups", "rollup_groups", "rollup_durations", "rollup_state"}
"""Tables that are made anew."""
QUERIES = [
    UsageQuery(group_by=group_by, zone=zone, durations=durations)
    for group_by, zone, durations in (
        ((), "UTC", True),
        (("user",), "UTC", True),
        (("tag:team", "day"), "UTC", False),
        (("backend", "outcome", "kind", "hour"), "UTC", True),
        (("user", "model", "day"), "Europe/Berlin", False),
    )
]


def filled(digest: str) -> Iterator[str]:
    """The statements that make the first form of the ledger's rows."""
    head, made = ("digest, ", f"{digest}, ") if digest else ("", "")
    yield (
        f"INSERT INTO rollup_groups ({head}{NAMES}) "
        f"SELECT {made}{NAMES} FROM (SELECT DISTINCT {NAMES} FROM entries) AS e"
    )
    same = " AND ".join(f"e.{name} = g.{name}" for name in GROUP)
    sums = ("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us")
    summed = ", ".join(f"SUM(e.{name})" for name in (*sums, "cost_nano"))
    for span in (1, 24):
        at = f"e.started_at / {HOUR_US} / {span} * {span}"
        source = f"FROM entries AS e JOIN rollup_groups AS g ON {same}"
        yield (
            f"INSERT INTO rollups SELECT {span}, {at}, g.id, COUNT(*), "
            f"SUM(CASE WHEN e.cold_us > 0 THEN 1 ELSE 0 END), {summed} {source} GROUP BY {at}, g.id"
        )
        yield (
            f"INSERT INTO rollup_durations SELECT {span}, {at}, g.id, {bucket_sql()}, COUNT(*) "
            f"{source} WHERE e.kind = 'call' GROUP BY {at}, g.id, {bucket_sql()}"
        )
    yield f"UPDATE rollup_state SET archived_before = {round(MIDNIGHT + 86_400) * 10**6}"
    yield f"DELETE FROM entries WHERE id IN ({', '.join(repr(row.id) for row in OLD)})"


async def check(ledger: Ledger, rows: list[LedgerRow]) -> None:
    for query in QUERIES:
        assert told(await ledger.usage(query)) == expected(rows, query)


def take_away(connection: sqlite3.Connection, steps: list[str]) -> None:
    """What these have made."""
    for statement in reversed(steps):
        if (made := MADE.match(statement)) is not None:
            connection.execute(f"DROP {made[1]} IF EXISTS {made[2]}")
        elif (added := ADDED.match(statement)) is not None and added[1] not in ROLLED:
            connection.execute(f"ALTER TABLE {added[1]} DROP COLUMN {added[2]}")


async def test_a_file_keeps_its_sums(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with ledger_at(path) as ledger:
        await ledger.settle(ROWS)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        take_away(connection, steps_from(7))
        for cube in CUBES:
            for table in filter(None, (cube.sums, cube.durations, cube.groups)):
                connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute("DROP TABLE IF EXISTS rollup_state")
        for statement in (*rollup_tables.FIRST, *filled("")):
            connection.execute(statement)
        connection.execute("UPDATE rollup_state SET rolled_up_to = ?", (ROWS[-1].id,))
        connection.execute("PRAGMA user_version = 7")
        connection.commit()
    async with ledger_at(path) as ledger:
        await check(ledger, ROWS)
        later = settled_row("later", started_at=MIDNIGHT + 7 * 86_400, cost_nano=5)
        await ledger.settle([later])
        await check(ledger, [*ROWS, later])
        await rolled_up(ledger)
        await check(ledger, [*ROWS, later])


async def test_a_schema_keeps_its_sums(database: Database, machine: Machines) -> None:
    connection = await connect(database, "test", timeout_s=30.0, statement_timeout_s=30.0)
    version = STEPS.index(POSTGRES_CUBES)
    await migrate(connection, database.schema, STEPS[:version])
    await connection.execute(SETTLE, *columns([encode_settled(row) for row in ROWS]))
    for statement in filled("md5(random()::text)"):
        await connection.execute(statement)
    await connection.execute("DELETE FROM unrolled")
    await connection.execute("UPDATE rollup_state SET backfilled = TRUE")
    async with machine(database) as ledger:
        await check(ledger, ROWS)
        later = settled_row("later", started_at=MIDNIGHT + 7 * 86_400, cost_nano=5)
        await ledger.settle([later])
        await check(ledger, [*ROWS, later])
        await rolled_up(ledger)
        await check(ledger, [*ROWS, later])
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.execute("SELECT 1 FROM rollups")  # a gateway of before adds nothing there
    await connection.close()
