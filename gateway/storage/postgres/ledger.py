"""The ledger in a PostgreSQL database: writes in groups by one task, reports beside them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import asyncpg
import msgspec

from gateway.clock import Clock, SystemClock
from gateway.storage.base import LedgerRow, ReportRefused, StorageUnavailable
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.connections import (
    FAILURES,
    Connection,
    connect,
    reason_of,
    session_settings,
    settings_of,
    unreachable,
)
from gateway.storage.postgres.heartbeats import Heartbeats
from gateway.storage.postgres.migrations import migrate
from gateway.storage.postgres.rolling import RollingUp
from gateway.storage.postgres.rollups import (
    POSTGRES,
    archived_before,
    bounds,
    spent,
    usage,
)
from gateway.storage.postgres.rows import SELECT_OPEN, SELECT_SETTLED
from gateway.storage.postgres.writer import PostgresWriter
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from gateway.storage.reports import (
    calendar_for,
    calls_sql,
    narrowed,
    needs_calendar,
)
from gateway.storage.rollups.archived import check_rows
from gateway.storage.rows import decode_open, decode_settled, encode_open, encode_settled
from gateway.storage.spent import Side, Spent, SpentQuery, calls_of, hourly_calls
from gateway.store_urls import Database

T = TypeVar("T")

_MAX_ROWS_AT_ONCE = 500
_READERS = 3
_MOST_REPORTS = 64
"""How many may be there at once, of which some are being made."""
_GRACE_S = 1.0
_CONNECT_S = 5.0
"""The longest that a report, or the first connection, waits to be let in."""


class PostgresLedger:
    """A Ledger in ``database``. Belongs to one event loop; several gateways may share it.

    ``max_waiting``     writes that may wait; one more raises StorageUnavailable.
    ``timeout_s``       the longest that ``open`` and ``settle`` wait for the server.
    ``read_timeout_s``  the longest that a report may take; the server itself ends it then.
    ``lease_s``         a gateway that has said nothing for so long has died, and its open rows are
                        another's to settle.

    Connects when it is first asked. Each method raises StorageUnavailable when the server cannot be
    used, or the schema was made by a newer version.
    """

    def __init__(
        self,
        database: Database,
        owner: LedgerOwner,
        *,
        clock: Clock | None = None,
        max_waiting: int = 10_000,
        timeout_s: float = 1.0,
        read_timeout_s: float = 30.0,
        tend_every_s: float = 1.0,
        beat_every_s: float = 3.0,
        lease_s: float = 15.0,
    ) -> None:
        self._database = database
        self._owner = owner
        self._clock: Clock = clock or SystemClock()
        self._timeout_s = timeout_s
        self._read_timeout_s = read_timeout_s
        self._tend_every_s = tend_every_s
        self._beat_every_s = beat_every_s
        self._beats = Heartbeats(owner.token, lease_s=lease_s)
        self._writer = PostgresWriter(
            self._connect,
            alive=self._beats.beat,
            reason=lambda error: f"ledger: {reason_of(error, database)}",
            clock=self._clock,
            max_waiting=max_waiting,
            timeout_s=timeout_s,
        )
        self._migrating = asyncio.Lock()
        self._migrated = False
        self._pool: asyncpg.Pool | None = None
        self._turns = asyncio.Semaphore(_READERS)
        self._reports_there = 0
        self._identity = ""
        self._tending: asyncio.Task[None] | None = None
        self._rolling = RollingUp(partial(self._apart, "roll-ups"), self._clock)
        self._roll_ups: asyncio.Task[None] | None = None

    # --- connections ---

    async def _connect(self) -> Connection:
        """The one that writes."""
        await self._migrate()
        connection = await connect(
            self._database,
            "ledger",
            timeout_s=self._timeout_s,
            statement_timeout_s=self._timeout_s,
        )
        try:
            await self._beats.beat(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _migrate(self) -> None:
        async with self._migrating:
            if not self._migrated:
                self._identity = await _migrated(self._database)
                self._migrated = True

    @property
    def identity(self) -> str:
        """That of the database, whichever gateway asks. Asked before there is a loop, the server
        is waited for. Raises StorageUnavailable."""
        if not self._identity:
            with ThreadPoolExecutor(1) as thread:
                try:
                    self._identity = thread.submit(asyncio.run, _migrated(self._database)).result()
                except FAILURES as error:
                    raise unreachable(error, self._database) from error
        return self._identity

    # --- writing ---

    @property
    def failing(self) -> str:
        """Why the last write failed; empty while writes succeed."""
        return self._writer.failing

    async def open(self, row: LedgerRow) -> None:
        """As the protocol says; one more ValueError for a row that is not open."""
        if row.outcome != "open":
            raise ValueError(f"{row.id} is not open but {row.outcome}")
        self._begin_tending()
        await self._writer.submit((encode_open(row, self._owner.token),), opening=True)

    async def settle(self, rows: Sequence[LedgerRow]) -> None:
        """As the protocol says; ValueError for a row that is open, or for more than 500 rows."""
        if len(rows) > _MAX_ROWS_AT_ONCE:
            raise ValueError(f"{len(rows)} rows in one settlement; at most {_MAX_ROWS_AT_ONCE}")
        encoded = []
        for row in rows:
            if row.outcome == "open":
                raise ValueError(f"{row.id} is open: settle says how it ended")
            encoded.append(encode_settled(row))
        self._begin_tending()
        if encoded:
            await self._writer.submit(encoded)

    def _begin_tending(self) -> None:
        if self._tending is None:
            self._tending = asyncio.create_task(self._tend(), name="ledger-tending")
            self._roll_ups = asyncio.create_task(self._rolling.run(), name="ledger-roll-ups")

    async def _tend(self) -> None:
        """An empty write says that this gateway is alive, and finds out that a server which failed
        is back, even if no call comes; the first one makes the connection."""
        beat_at = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now >= beat_at or (self.failing and self._writer.idle):
                beat_at = now + self._beat_every_s
                with contextlib.suppress(StorageUnavailable):
                    await self._writer.submit(())
            await self._clock.sleep(self._tend_every_s)

    async def roll_up(self) -> int:
        """Adds a batch of settled rows to the sums of hours and days, as the ledger does by itself;
        how many they were. Raises StorageUnavailable."""
        return await self._rolling.roll_up()

    async def sum_up_four_weeks(self) -> bool:
        """Sums up four weeks that are over once more, as the ledger does by itself; whether there
        were any that no other gateway was at. Raises StorageUnavailable."""
        return await self._rolling.sum_up_four_weeks()

    async def _apart(self, name: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """On a connection that is made for it, and closed. Raises StorageUnavailable."""
        connection: Connection | None = None
        try:
            await self._migrate()
            connection = await connect(
                self._database,
                name,
                timeout_s=_CONNECT_S,
                statement_timeout_s=self._read_timeout_s,
            )
            return await work(connection)
        except FAILURES as error:
            raise unreachable(error, self._database) from error
        finally:
            if connection is not None:
                connection.terminate()

    async def aclose(self) -> None:
        """Writes what waits and closes the connections. May be called twice."""
        for task in (self._tending, self._roll_ups):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        await self._writer.aclose(self._beats.leave)
        if self._pool is not None:
            self._pool.terminate()
        self._owner.close()

    # --- what is open ---

    async def open_rows(self) -> list[LedgerRow]:
        """This gateway's own rows and those it has taken over; oldest first."""
        sql = f"{SELECT_OPEN} WHERE owner = $1"
        return _oldest_first(await self._fetch(sql, self._owner.token))

    async def take_abandoned(self) -> list[LedgerRow]:
        """Those of a process on this machine that is gone, at once; those of other machines when
        their lease has ended, which takes two questions."""
        self._begin_tending()
        dead = self._owner.dead()

        async def take(connection: Connection) -> list[Any]:
            await self._beats.beat(connection)
            now = self._clock.monotonic()
            return await self._beats.take(connection, dead, now)

        taken = await self._apart("recovery", take)
        for token in dead:
            self._owner.forget(token)
        return _oldest_first([(entry,) for entry in taken])

    # --- reading ---

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Calls count at the moment they began; ``until`` is excluded. Ordered by cost, dearest
        first. Raises ValueError for a bad dimension, ReportRefused and StorageUnavailable."""
        return await self._report(lambda connection: usage(connection, query))

    async def calls(self, query: CallsQuery) -> list[LedgerRow]:
        """Settled rows, newest first. Raises as ``usage``."""

        async def read(connection: Connection) -> list[LedgerRow]:
            rows = narrowed(query.rows)
            check_rows(rows, await archived_before(connection))
            known = await bounds(connection) if needs_calendar(rows) else ()
            asked = msgspec.structs.replace(query, rows=rows)
            sql, values = calls_sql(asked, SELECT_SETTLED, POSTGRES, calendar_for(rows, *known))
            return [decode_settled(row) for row in await connection.fetch(sql, *values)]

        return await self._report(read)

    async def _report(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        if self._reports_there >= _MOST_REPORTS:
            raise _busy()
        self._reports_there += 1
        try:
            return await self._read(read)
        finally:
            self._reports_there -= 1

    async def rows(self, request_id: str) -> list[LedgerRow]:
        """The call's row first, then those of its attempts in their order."""
        # "$" follows "#": the bounds are those of the prefix, which an index serves.
        names = (request_id, f"{request_id}#", f"{request_id}$")
        where = "WHERE id = $1 OR (id > $2 AND id < $3)"

        async def read(connection: Connection) -> list[LedgerRow]:
            # What is open first: a call that is settled meanwhile is seen in both, never in none.
            waiting = await connection.fetch(f"{SELECT_OPEN} {where}", *names)
            rows = [
                decode_settled(row)
                for row in await connection.fetch(f"{SELECT_SETTLED} {where}", *names)
            ]
            settled = {row.id for row in rows}
            rows += [row for row in map(decode_open, waiting) if row.id not in settled]
            return sorted(rows, key=lambda row: (len(row.id), row.id))

        return await self._read(read)

    async def spent_since(
        self, since: float, *, side: Side = "callers", step_us: int = 0
    ) -> list[Spent]:
        """Sums of the settled rows that began at or after ``since``."""
        [found] = await self.sums(
            [SpentQuery(since=since, side=side, step_us=step_us)], contextlib.nullcontext
        )
        return found

    async def sums(
        self, queries: Sequence[SpentQuery], still: Callable[[], AbstractAsyncContextManager[None]]
    ) -> list[list[Spent]]:
        """The same of each query, all of one instant within ``still``."""
        return await self._read(lambda connection: spent(connection, queries, still), len(queries))

    async def calls_since(self, since: float) -> dict[tuple[str, int], int]:
        """(model, hour since the epoch) -> calls that began then, open ones included."""
        query = hourly_calls(since)
        calls = calls_of(await self._read(lambda connection: usage(connection, query)))
        for row in map(decode_open, await self._fetch(SELECT_OPEN)):
            if row.kind == "call" and row.started_at >= since:
                calls[row.model, int(row.started_at // 3_600)] += 1
        return dict(calls)

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        async def read(connection: Connection) -> list[Any]:
            found: list[Any] = await connection.fetch(sql, *values)
            return found

        return await self._read(read)

    async def _read(self, read: Callable[[Connection], Awaitable[T]], parts: int = 1) -> T:
        """On a connection of the reports' own, which calls never wait for. Each of the parts may
        take the time of a report."""
        try:
            async with asyncio.timeout(self._read_timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            await self._migrate()
            pool = await self._reports()
            async with pool.acquire(timeout=_CONNECT_S) as connection:
                return await self._in_time(read(connection), parts)
        except FAILURES as error:
            raise unreachable(error, self._database) from error
        finally:
            self._turns.release()

    async def _in_time(self, reading: Awaitable[T], parts: int) -> T:
        """Raises ReportRefused, after the server's own bound, or where that is not heard of."""
        try:
            async with asyncio.timeout(parts * self._read_timeout_s + _GRACE_S):
                return await reading
        except (asyncpg.QueryCanceledError, TimeoutError):
            raise ReportRefused(
                "report_too_slow",
                f"The report was not done within {self._read_timeout_s:g} s. Ask for a shorter "
                "time by from and to, or for one user's.",
            ) from None

    async def _reports(self) -> asyncpg.Pool:
        if self._pool is None:
            settings = session_settings(self._database, "reports", self._read_timeout_s)
            self._pool = await asyncpg.create_pool(
                **settings_of(self._database),
                min_size=0,
                max_size=_READERS,
                timeout=_CONNECT_S,
                server_settings={**settings, "default_transaction_read_only": "on"},
            )
        return self._pool


async def _migrated(database: Database) -> str:
    """Brings the schema up to date; the identity of the ledger in it."""
    connection = await connect(
        database, "schema", timeout_s=_CONNECT_S, statement_timeout_s=_CONNECT_S
    )
    try:
        await migrate(connection, database.schema)
        return str(await connection.fetchval("SELECT identity FROM ledger"))
    finally:
        connection.terminate()


def _busy() -> ReportRefused:
    return ReportRefused("reports_busy", "Other reports are being made. Ask again in some seconds.")


def _oldest_first(found: Sequence[Any]) -> list[LedgerRow]:
    return sorted(map(decode_open, found), key=lambda row: row.started_at)
