"""The outbox in the database of a PostgreSQL ledger, over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Sequence

from gateway.storage.base import StorageUnavailable
from gateway.storage.outbox_statements import Statement
from gateway.storage.postgres.connections import (
    FAILURES,
    LOST,
    Connection,
    connect,
    unreachable,
)
from gateway.storage.postgres.group_commit import Batch, GroupCommit, Outcome
from gateway.storage.postgres.migrations import migrate
from gateway.storage.postgres.outbox_tables import NOW
from gateway.storage.sql_outbox import Rows
from gateway.store_urls import Database


class PostgresStatements:
    """Runs statements in the schema of a ledger, which it brings up to date.

    ``timeout_s``    the longest that a transaction may take, or a connection to be made.
    ``now_us``       the time instead of the server's, for tests.
    ``connections``  the most transactions at a time, of which one writes.
    """

    def __init__(
        self,
        database: Database,
        *,
        timeout_s: float = 10.0,
        now_us: Callable[[], int] | None = None,
        connections: int = 1,
    ) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._now_us = now_us
        self._turn = asyncio.Semaphore(connections)
        self._free: list[Connection] = []
        self._migrating = asyncio.Lock()
        self._migrated = False
        self._writes = GroupCommit(self._group)

    async def run(self, batch: Sequence[Statement]) -> list[Rows]:
        if all(sql.startswith("SELECT") for sql, _ in batch):
            return await self._once(batch)
        return await self._writes.write(batch)

    async def _group(self, batches: list[Batch]) -> list[Outcome]:
        """All of them in one transaction; where that is refused, for a fault of one or because two
        gateways waited for each other, each by itself."""
        try:
            found = await self._once([statement for batch in batches for statement in batch])
        except StorageUnavailable as unavailable:
            if len(batches) == 1 or _is_lost(unavailable.__cause__):
                return [unavailable] * len(batches)
            return [(await self._group([batch]))[0] for batch in batches]
        except Exception as error:
            return [error] * len(batches)
        rows = iter(found)
        return [[next(rows) for _ in batch] for batch in batches]

    async def _once(self, batch: Sequence[Statement]) -> list[Rows]:
        async with self._turn:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(2 * self._timeout_s):
                    connection = await self._connected()
                    found = await self._transaction(connection, batch)
            except BaseException as error:
                # What was under way there is undone by the server, or done: who asked asks again.
                if connection is not None:
                    connection.terminate()
                if isinstance(error, FAILURES):
                    raise unreachable(error, self._database) from error
                raise
            self._free.append(connection)
            return found

    async def _transaction(self, connection: Connection, batch: Sequence[Statement]) -> list[Rows]:
        # A statement by itself is a transaction: to say so would take two round trips more.
        within = connection.transaction() if len(batch) > 1 else contextlib.nullcontext()
        async with within:
            return [
                list(await connection.fetch(self._worded(sql), *values)) for sql, values in batch
            ]

    async def _connected(self) -> Connection:
        while self._free:
            connection = self._free.pop()
            if not connection.is_closed():
                return connection
        connection = await connect(
            self._database,
            "outbox",
            timeout_s=self._timeout_s,
            statement_timeout_s=self._timeout_s,
        )
        try:
            async with self._migrating:
                if not self._migrated:
                    await migrate(connection, self._database.schema)
                    self._migrated = True
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _worded(self, sql: str) -> str:
        # In a SELECT of its own it is asked once a statement, and not once a row.
        now = f"(SELECT {NOW})" if self._now_us is None else f"{self._now_us()}::bigint"
        return _numbered(sql).replace("{now}", now)

    async def aclose(self) -> None:
        await self._writes.aclose()
        while self._free:
            self._free.pop().terminate()


def _is_lost(error: BaseException | None) -> bool:
    """Whether the server cannot be asked, so that to ask again would take as long again."""
    return isinstance(error, LOST) and not isinstance(error, ValueError)


@functools.lru_cache(maxsize=256)
def _numbered(sql: str) -> str:
    numbers = itertools.count(1)
    worded = re.sub(r"\?", lambda _: f"${next(numbers)}", sql)
    for word, said in _SAID.items():
        worded = worded.replace(word, said)
    return worded


_SAID = {
    "{lock}": " FOR UPDATE",
    "{skip}": " FOR UPDATE SKIP LOCKED",
    "{each_of}": "JOIN LATERAL ",
    "{each}": " AS line ON TRUE",
}
