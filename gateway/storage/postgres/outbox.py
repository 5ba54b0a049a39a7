"""The outbox in the database of a PostgreSQL ledger, over a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from gateway.storage.base import StorageUnavailable
from gateway.storage.outbox_statements import Statement
from gateway.storage.postgres.connections import FAILURES, Connection, connect, unreachable
from gateway.storage.postgres.group_commit import Batch, GroupCommit, Outcome
from gateway.storage.postgres.migrations import migrate
from gateway.storage.postgres.outbox_tables import NOW
from gateway.storage.postgres.refusals import is_lost, may_be_split, too_slow
from gateway.storage.sql_outbox import Rows
from gateway.store_urls import Database


class PostgresStatements:
    """Runs statements in the schema of a ledger, which it brings up to date.

    ``timeout_s``    the longest that a transaction may take, or a connection to be made.
    ``now_us``       the time instead of the server's, for tests.
    ``connections``  the most transactions at a time, of which one writes; one more is made for
                     what is run apart.
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
        self._turn_apart = asyncio.Semaphore(1)
        self._free: list[Connection] = []
        self._migrating = asyncio.Lock()
        self._migrated = False
        self._writes = GroupCommit(self._group)

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        if apart or all(sql.startswith("SELECT") for sql, _ in batch):
            found: list[Rows] = []
            await self._once(batch, found, self._turn_apart if apart else self._turn)
            return found
        return await self._writes.write(batch)

    async def _group(self, batches: list[Batch]) -> list[Outcome]:
        """All of them in one transaction; where that is refused, for a fault of one or because two
        gateways waited for each other, each by itself."""
        asked, found = [statement for batch in batches for statement in batch], list[Rows]()
        try:
            await self._once(asked, found, self._turn)
        except StorageUnavailable as unavailable:
            why = unavailable.__cause__
            if len(batches) == 1 or not may_be_split(why, len(found), len(asked)):
                return [unavailable] * len(batches)
            slow = too_slow(why, len(found), [len(batch) for batch in batches])
            return await self._each(batches, unavailable, slow)
        except Exception as error:
            return [error] * len(batches)
        rows = iter(found)
        return [[next(rows) for _ in batch] for batch in batches]

    async def _each(
        self, batches: list[Batch], refused: StorageUnavailable, slow: int | None
    ) -> list[Outcome]:
        """Each by itself, but for the ``slow`` one; and none once the server is lost, or their time
        is over, as others wait behind them."""
        loop, outcomes = asyncio.get_running_loop(), list[Outcome]()
        until = loop.time() + self._timeout_s
        for at, batch in enumerate(batches):
            if at == slow or loop.time() >= until:
                outcomes.append(refused)
                continue
            [outcome] = await self._group([batch])
            outcomes.append(outcome)
            if isinstance(outcome, Exception) and is_lost(outcome.__cause__):
                return outcomes + [outcome] * (len(batches) - len(outcomes))
        return outcomes

    async def _once(
        self, batch: Sequence[Statement], found: list[Rows], turn: asyncio.Semaphore
    ) -> None:
        """``found`` gets the rows of each, and after an error says how many were answered."""
        async with turn:
            connection: Connection | None = None
            try:
                async with asyncio.timeout(2 * self._timeout_s):
                    connection = await self._connected()
                    await self._transaction(connection, batch, found)
            except BaseException as error:
                # What was under way there is undone by the server, or done: who asked asks again.
                if connection is not None:
                    connection.terminate()
                if isinstance(error, FAILURES):
                    raise unreachable(error, self._database) from error
                raise
            self._free.append(connection)

    async def _transaction(
        self, connection: Connection, batch: Sequence[Statement], found: list[Rows]
    ) -> None:
        # A statement by itself is a transaction: to say so would take two round trips more.
        within = connection.transaction() if len(batch) > 1 else contextlib.nullcontext()
        async with within:
            for sql, values in batch:
                found.append(list(await connection.fetch(self._worded(sql), *map(_fit, values))))

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


def _fit(value: Any) -> Any:
    """A text without what the server has no place for, as others' names may have it."""
    return value.replace("\0", "\ufffd") if type(value) is str and "\0" in value else value


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
