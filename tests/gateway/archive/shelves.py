"""A ledger of either kind, its outbox, the folder of its archive, and archivists that may die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import pytest

from gateway.archive.archivist import Archivist
from gateway.archive.day_files import pages
from gateway.clock import FakeClock
from gateway.policy.sections.store import KeepSettings
from gateway.storage.base import LedgerRow
from gateway.storage.outbox import Outbox
from gateway.storage.outbox_statements import Statement
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.postgres.rollups import ARCHIVE as POSTGRES
from gateway.storage.queries import CallsQuery, UsageQuery
from gateway.storage.row_archive import ArchiveSql, SqlRowArchive
from gateway.storage.rows import decode_settled
from gateway.storage.sql_outbox import Rows, RunsStatements, SqlOutbox
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.storage.sqlite.rollups import ARCHIVE as SQLITE
from gateway.types import MICRO
from tests.gateway.storage.opened import StoredLedger
from tests.gateway.storage.sqlite.ledger_rows import settled_row
from tests.postgres_server import PostgresServer

DAY_S = 86_400.0
MIDNIGHT = 1_767_225_600.0
"""2026-01-01 00:00 UTC; the test's clock stands sixty days later."""


class Killed(BaseException):
    """The process is gone."""


class Steps:
    """A connection that dies at its step ``dies_at``: before it is done, or when it is and nobody
    has heard of it."""

    def __init__(self, within: RunsStatements, dies_at: float, *, done: bool) -> None:
        self._within = within
        self._left = dies_at
        self._done = done

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        self._left -= 1
        if self._left < -1 or (self._left < 0 and not self._done):
            raise Killed
        found = await self._within.run(batch)
        if self._left < 0:
            raise Killed
        return found

    async def aclose(self) -> None:
        await self._within.aclose()


class QuickClock(FakeClock):
    """Time passes as soon as somebody waits for it."""

    async def sleep(self, seconds: float) -> None:
        self.move(seconds)
        await asyncio.sleep(0)


class Shelf:
    def __init__(
        self,
        ledger: StoredLedger,
        statements: Callable[[], RunsStatements],
        sql: ArchiveSql,
        folder: Path,
        clock: FakeClock,
    ) -> None:
        self.ledger = ledger
        self.folder = folder
        self.clock = clock
        self._statements = statements
        self._sql = sql
        self.outbox: Outbox = SqlOutbox(statements())
        self.direct = statements()

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """They are rolled up, too."""
        await self.ledger.settle(rows)
        await self.roll_up()

    async def roll_up(self) -> None:
        while await self.ledger.roll_up():
            pass

    async def ask(self, sql: str) -> Rows:
        [rows] = await self.direct.run([(sql, ())])
        return rows

    @contextlib.asynccontextmanager
    async def archivist(
        self,
        keep: KeepSettings | None = None,
        *,
        dies_at: float = float("inf"),
        done: bool = False,
    ) -> AsyncIterator[Archivist]:
        statements = Steps(self._statements(), dies_at, done=done)
        keep = keep or KeepSettings(rows=35 * DAY_S, archive=str(self.folder))
        archivist = Archivist(SqlRowArchive(statements, self._sql), keep, self.clock)
        try:
            yield archivist
        finally:
            await archivist.aclose()

    async def archive(self, keep: KeepSettings | None = None) -> Archivist:
        """Looks once."""
        async with self.archivist(keep) as archivist:
            await archivist.look()
        return archivist

    def archived(self) -> list[LedgerRow]:
        return [
            decode_settled(tuple(row))
            for path in sorted(self.folder.glob("calls-*"))
            for page in pages(path, 100)
            for row in page
        ]

    async def kept(self) -> list[LedgerRow]:
        return await self.ledger.calls(CallsQuery(rows=UsageQuery(group_by=()), most=10_000))

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []

    async def aclose(self) -> None:
        await self.outbox.aclose()
        await self.direct.aclose()
        await self.ledger.aclose()


OpenShelf = Callable[[], contextlib.AbstractAsyncContextManager[Shelf]]
"""An empty one each time."""


def days_of_calls(days: Iterable[int], each: int = 3) -> list[LedgerRow]:
    """Of these days, counted from 2026-01-01, ``each``."""
    return [
        settled_row(
            f"d{day}c{number}",
            started_at=MIDNIGHT + day * DAY_S + number * 7_000.25,
            ended_at=MIDNIGHT + day * DAY_S + number * 7_000.25 + 2,
            user=("alice", "=cmd", "'bob")[number % 3],
            tags={"team": f"t{number % 2}"},
            cost_nano=1 + day * 100 + number,
            gpu_us=5,
            input_tokens=7,
        )
        for day in days
        for number in range(each)
    ]


@pytest.fixture(params=["sqlite", "postgres"])
def open_shelf(request: pytest.FixtureRequest, tmp_path: Path) -> OpenShelf:
    server: PostgresServer | None = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_session")
    numbers = iter(range(10_000))

    def made() -> Shelf:
        clock = QuickClock(MIDNIGHT + 60 * DAY_S)
        place = tmp_path / f"shelf{next(numbers)}"

        def now_us() -> int:
            return round(clock.time() * MICRO)

        if server is None:
            path = place / "ledger.db"
            sqlite = SqliteLedger(path)
            return Shelf(
                sqlite,
                lambda: SqliteStatements(path, now_us=now_us),
                SQLITE,
                place / "archive",
                clock,
            )
        database = server.empty()
        postgres = PostgresLedger(database, LedgerOwner(place / "ledger"), timeout_s=30.0)
        return Shelf(
            postgres,
            lambda: PostgresStatements(database, timeout_s=30.0, now_us=now_us),
            POSTGRES,
            place / "archive",
            clock,
        )

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Shelf]:
        shelf = made()
        try:
            yield shelf
        finally:
            await shelf.aclose()

    return opened
