"""Ledgers of both kinds, each with its outbox and its jobs, by a test's clock."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import Ledger
from gateway.storage.batches.base import BatchStore
from gateway.storage.batches.sql_batches import SqlBatches
from gateway.storage.jobs.base import JobStore
from gateway.storage.jobs.sql_jobs import SqlJobs
from gateway.storage.outbox import Outbox
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.schedules.base import ScheduleStore
from gateway.storage.schedules.sql_schedules import SqlSchedules
from gateway.storage.sql_outbox import RunsStatements, SqlOutbox
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.storage.streams.base import StreamStore
from gateway.storage.streams.sql_streams import SqlStreams
from gateway.store_urls import Database
from gateway.types import MICRO
from tests.postgres_server import PostgresServer

KINDS = ("sqlite", "postgres")


class Books(NamedTuple):
    """What one database holds."""

    ledger: Ledger
    outbox: Outbox
    jobs: JobStore
    streams: StreamStore
    batches: BatchStore
    schedules: ScheduleStore


OpenBooks = Callable[[], contextlib.AbstractAsyncContextManager[Books]]
"""The same store each time, as gateways share one; closed at the end of the block."""


MakeStatements = Callable[[], RunsStatements]
"""Another connection to the same database; whoever makes it closes it."""


def statements_maker(
    kind: str, folder: Path, clock: FakeClock, database: Callable[[], Database]
) -> MakeStatements:
    """``database`` is asked for postgres alone."""

    def now_us() -> int:
        return round(clock.time() * MICRO)

    def made() -> RunsStatements:
        if kind == "sqlite":
            return SqliteStatements(folder / "books.db", now_us=now_us)
        return PostgresStatements(database(), timeout_s=30.0, now_us=now_us)

    return made


def books_opener(
    kind: str, folder: Path, clock: FakeClock, server: PostgresServer | None
) -> OpenBooks:
    """``server`` is asked for postgres alone."""
    databases: defaultdict[str, Database] = defaultdict(_schema_of(server))
    statements = statements_maker(kind, folder, clock, lambda: databases["one"])

    def ledger() -> Ledger:
        if kind == "sqlite":
            return SqliteLedger(folder / "books.db")
        return PostgresLedger(databases["one"], LedgerOwner(folder / "ledger"), timeout_s=30.0)

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Books]:
        books = Books(
            ledger(),
            SqlOutbox(statements()),
            SqlJobs(statements()),
            SqlStreams(statements()),
            SqlBatches(statements()),
            SqlSchedules(statements()),
        )
        try:
            yield books
        finally:
            await books.schedules.aclose()
            await books.batches.aclose()
            await books.streams.aclose()
            await books.jobs.aclose()
            await books.outbox.aclose()
            await books.ledger.aclose()

    return opened


def _schema_of(server: PostgresServer | None) -> Callable[[], Database]:
    def empty() -> Database:
        assert server is not None, "a server is needed for postgres"
        return server.empty()

    return empty


@pytest.fixture(params=KINDS)
def make_statements(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> MakeStatements:
    server = request.getfixturevalue("postgres_session") if request.param == "postgres" else None
    databases: defaultdict[str, Database] = defaultdict(_schema_of(server))
    return statements_maker(request.param, tmp_path, clock, lambda: databases["one"])


@pytest.fixture(params=KINDS)
def open_books(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> OpenBooks:
    server = request.getfixturevalue("postgres_session") if request.param == "postgres" else None
    return books_opener(request.param, tmp_path, clock, server)
