"""Whose process is dead has nothing any more, though its leases go on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.clock import FakeClock
from gateway.storage.rented.base import StoredInstance
from gateway.storage.rented.sql_instances import SqlInstances
from gateway.storage.rented.sqlite_instances import SqliteInstances
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO

ONE = StoredInstance("i1", "pods", "{}")
LEASE_S, OTHERS_S = 60.0, 600.0


@contextlib.asynccontextmanager
async def opened(folder: Path, clock: FakeClock) -> AsyncIterator[SqliteStatements]:
    connection = SqliteStatements(folder / "ledger.db", now_us=lambda: round(clock.time() * MICRO))
    try:
        yield connection
    finally:
        await connection.aclose()


async def taken(store: SqliteInstances, holder: str, *reserves: str) -> list[str]:
    return [one.id for one in await store.take(holder, LEASE_S, reserves, OTHERS_S)]


def locks(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*-rented-owner-*")}


async def test_what_a_dead_process_had_is_taken_before_its_lease_is_over(
    tmp_path: Path, clock: FakeClock
) -> None:
    """It has left a file that nobody locks, which goes with it."""
    async with opened(tmp_path, clock) as statements:
        store = SqliteInstances(statements, tmp_path / "ledger.db")
        await SqlInstances(statements).put("dead", ONE, LEASE_S)
        assert await taken(store, "b", "pods") == [], "nobody knows whether it is dead"
        (tmp_path / "ledger.db-rented-owner-dead").touch()
        assert await taken(store, "b", "pods") == ["i1"]
        assert locks(tmp_path) == {"ledger.db-rented-owner-b"}


async def test_whose_process_lives_has_it_until_its_lease_is_over(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as statements:
        store = SqliteInstances(statements, tmp_path / "ledger.db")
        other = SqliteInstances(statements, tmp_path / "ledger.db")
        await store.put("a", ONE, LEASE_S)
        assert await taken(other, "b", "pods") == []
        clock.move(LEASE_S)
        assert await taken(other, "b", "pods") == ["i1"]


async def test_who_leaves_has_no_lock_and_who_has_nothing_needs_none(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with opened(tmp_path, clock) as statements:
        store = SqliteInstances(statements, tmp_path / "ledger.db")
        assert await taken(store, "a", "pods") == []
        assert locks(tmp_path) == set()
        await store.put("a", ONE, LEASE_S)
        assert locks(tmp_path) == {"ledger.db-rented-owner-a"}
        await store.leave("a")
        assert locks(tmp_path) == set()
        assert await taken(store, "b", "pods") == ["i1"]


async def test_where_no_file_can_be_locked_leases_say_who_has_what(
    tmp_path: Path, clock: FakeClock
) -> None:
    (tmp_path / "file").touch()
    async with opened(tmp_path, clock) as statements:
        store = SqliteInstances(statements, tmp_path / "file" / "ledger.db")
        assert await store.put("a", ONE, LEASE_S)
        assert await taken(store, "b", "pods") == []
