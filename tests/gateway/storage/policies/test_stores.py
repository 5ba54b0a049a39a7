"""Every store keeps which policy was in force, since when, and by whom, in one order for all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.policies.base import NewChange, PolicyStore
from gateway.storage.policies.memory import MemoryPolicies
from gateway.storage.policies.sql_policies import SqlPolicies
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.sql_outbox import RunsStatements
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.types import MICRO
from tests.gateway.storage.books import KINDS
from tests.postgres_server import PostgresServer

OpenPolicies = Callable[[], contextlib.AbstractAsyncContextManager[PolicyStore]]


@pytest.fixture(params=[*KINDS, "memory"])
def open_policies(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> OpenPolicies:
    if request.param == "memory":
        return lambda: contextlib.nullcontext(MemoryPolicies(clock.time))

    def now_us() -> int:
        return round(clock.time() * MICRO)

    def statements() -> RunsStatements:
        if request.param == "sqlite":
            return SqliteStatements(tmp_path / "ledger.db", now_us=now_us)
        server: PostgresServer = request.getfixturevalue("postgres_session")
        return PostgresStatements(server.empty(), timeout_s=30.0, now_us=now_us)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[PolicyStore]:
        connection = statements()
        try:
            yield SqlPolicies(connection)
        finally:
            await connection.aclose()

    return opened


def change(version: str, file: str = "f1", **more: str) -> NewChange:
    return NewChange(**{"act": "apply", "version": version, "file": file, **more})  # type: ignore[arg-type]


async def test_what_was_in_force_is_there_with_when_and_by_whom(
    open_policies: OpenPolicies, clock: FakeClock
) -> None:
    async with open_policies() as policies:
        by = change("v1", actor="key:root", address="10.0.0.1")
        added = await policies.add(by, "version: 1\n", 0)
        assert added is not None
        assert (added.number, added.what) == (1, by)
        assert added.at == pytest.approx(clock.time(), abs=1e-5)
        assert await policies.newest() == added
        assert await policies.changes(None, 10) == [added]
        assert await policies.document("v1") == "version: 1\n"


async def test_of_two_that_know_the_same_newest_one_alone_is_kept(
    open_policies: OpenPolicies,
) -> None:
    async with open_policies() as policies:
        asked = [policies.add(change(f"v{number}"), "text", 0) for number in range(5)]
        found = await asyncio.gather(*asked)
        [kept] = [one for one in found if one is not None]
        assert await policies.changes(None, 10) == [kept]
        for version in {f"v{number}" for number in range(5)} - {kept.what.version}:
            assert await policies.document(version) is None


async def test_a_text_is_kept_once_whatever_comes_later(open_policies: OpenPolicies) -> None:
    async with open_policies() as policies:
        await policies.add(change("v1"), "first", 0)
        await policies.add(change("v1"), "second", 1)
        assert await policies.document("v1") == "first"


async def test_pages_go_on_where_they_ended(open_policies: OpenPolicies) -> None:
    async with open_policies() as policies:
        for number in range(5):
            await policies.add(change(f"v{number}"), "text", number)
        first = await policies.changes(None, 2)
        rest = await policies.changes(first[-1].number, 9)
        assert [one.what.version for one in (*first, *rest)] == ["v4", "v3", "v2", "v1", "v0"]


async def test_the_newest_over_some_files_is_found(open_policies: OpenPolicies) -> None:
    async with open_policies() as policies:
        assert await policies.newest("f1") is None
        await policies.add(change("v1", "f1"), "text", 0)
        await policies.add(change("v2", "f2"), "text", 1)
        found = [await policies.newest(file) for file in ("f1", "f2", "f3", None)]
        assert [one and one.what.version for one in found] == ["v1", "v2", None, "v2"]
