"""Ledgers of gateways that share a database, each on a machine of its own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.store_urls import Database
from tests.postgres_server import PostgresServer, require_postgres

Machines = Callable[..., contextlib.AbstractAsyncContextManager[PostgresLedger]]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of the test's own, which it may stop."""
    require_postgres()
    with PostgresServer() as server:
        yield server


@pytest.fixture
def database(postgres_session: PostgresServer) -> Database:
    return postgres_session.empty()


@pytest.fixture
def machine(tmp_path: Path) -> Machines:
    """``machine(database, **options)``: another gateway's ledger, of a machine of its own."""
    numbers = itertools.count()

    @contextlib.asynccontextmanager
    async def opened(database: Database, **options: Any) -> AsyncIterator[PostgresLedger]:
        owner = LedgerOwner(tmp_path / f"machine{next(numbers)}" / "ledger")
        ledger = PostgresLedger(database, owner, **{"timeout_s": 30.0} | options)
        try:
            yield ledger
        finally:
            await ledger.aclose()

    return opened
