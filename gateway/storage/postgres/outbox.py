"""The outbox in the database of a PostgreSQL ledger, over a connection of its own."""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
from collections.abc import Callable, Sequence

from gateway.storage.outbox_statements import Statement
from gateway.storage.postgres.connections import FAILURES, Connection, connect, unreachable
from gateway.storage.postgres.migrations import migrate
from gateway.storage.postgres.outbox_tables import NOW
from gateway.storage.sql_outbox import Rows
from gateway.store_urls import Database


class PostgresStatements:
    """Runs statements in the schema of a ledger, which it brings up to date; one transaction at a
    time.

    ``timeout_s``  the longest that a transaction may take, or a connection to be made.
    ``now_us``     the time instead of the server's, for tests.
    """

    def __init__(
        self,
        database: Database,
        *,
        timeout_s: float = 10.0,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._migrated = False

    async def run(self, batch: Sequence[Statement]) -> list[Rows]:
        async with self._turn:
            try:
                async with asyncio.timeout(2 * self._timeout_s):
                    return await self._transaction(batch)
            except BaseException as error:
                self._leave()
                if isinstance(error, FAILURES):
                    raise unreachable(error, self._database) from error
                raise

    async def _transaction(self, batch: Sequence[Statement]) -> list[Rows]:
        connection = await self._connected()
        async with connection.transaction():
            return [
                list(await connection.fetch(self._worded(sql), *values)) for sql, values in batch
            ]

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect(
                self._database,
                "outbox",
                timeout_s=self._timeout_s,
                statement_timeout_s=self._timeout_s,
            )
        if not self._migrated:
            await migrate(self._connection, self._database.schema)
            self._migrated = True
        return self._connection

    def _worded(self, sql: str) -> str:
        now = NOW if self._now_us is None else f"{self._now_us()}::bigint"
        return _numbered(sql).replace("{now}", now)

    def _leave(self) -> None:
        """What was under way there is undone by the server, or done: whoever asked asks again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def aclose(self) -> None:
        self._leave()


@functools.lru_cache(maxsize=256)
def _numbered(sql: str) -> str:
    numbers = itertools.count(1)
    worded = re.sub(r"\?", lambda _: f"${next(numbers)}", sql)
    return worded.replace("{lock}", " FOR UPDATE").replace("{skip}", " FOR UPDATE SKIP LOCKED")
