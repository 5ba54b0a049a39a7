"""An outbox whose connection is cut says so, and finds its server again by itself."""

from __future__ import annotations

import contextlib

import pytest

from gateway.storage.base import StorageUnavailable
from gateway.storage.postgres.outbox import PostgresStatements
from gateway.storage.sql_outbox import SqlOutbox
from gateway.store_urls import Database
from tests.gateway.storage.test_outbox import message, take
from tests.postgres_server import PostgresServer

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'spillgate outbox'"
)


async def test_a_cut_connection_is_made_anew(
    database: Database, postgres_session: PostgresServer
) -> None:
    outbox = SqlOutbox(PostgresStatements(database, timeout_s=30.0))
    try:
        await outbox.put([message("m1")])
        postgres_session.query(CUT)
        with contextlib.suppress(StorageUnavailable):
            await outbox.put([message("m2")])
        await outbox.put([message("m2")])
        assert {one.id for one in await take(outbox)} == {"m1", "m2"}
    finally:
        await outbox.aclose()


async def test_a_server_that_is_not_there_is_said_without_the_password() -> None:
    nowhere = Database(hosts=(("127.0.0.1", 1),), username="u", database="d")
    outbox = SqlOutbox(PostgresStatements(nowhere, timeout_s=1.0))
    with pytest.raises(StorageUnavailable, match=r"postgresql://127\.0\.0\.1:1/d"):
        await outbox.put([message()])
    await outbox.aclose()
