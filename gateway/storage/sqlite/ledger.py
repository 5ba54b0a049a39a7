"""The ledger in one SQLite file: writes in groups, reads beside them, nothing on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from gateway.clock import Clock, SystemClock
from gateway.storage.base import LedgerRow, StorageUnavailable, unavailable
from gateway.storage.jobs.base import WAITS_IN_STORE
from gateway.storage.owner import LedgerOwner
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from gateway.storage.rows import decode_open, decode_settled, encode_open, encode_settled
from gateway.storage.spent import Side, Spent, SpentQuery, calls_of, hourly_calls
from gateway.storage.sqlite.four_weeks import sum_up
from gateway.storage.sqlite.free_memory import give_back
from gateway.storage.sqlite.journals import inode_of
from gateway.storage.sqlite.readers import ReaderLane
from gateway.storage.sqlite.rollups import BatchSize, roll_up, run_spent, run_usage
from gateway.storage.sqlite.rows import SELECT_OPEN, SELECT_SETTLED, connect
from gateway.storage.sqlite.usage import (
    is_found_by_index,
    reaches_back,
    rows_to_visit,
    run_calls,
)
from gateway.storage.sqlite.writer import GroupWriter
from gateway.store_urls import Synchronous

log = logging.getLogger("spillgate")

_TEND_EVERY_S = 1.0
_CHECKPOINT_ROWS = 8_000
_ROLL_UP_EVERY_S = 15.0
_WORTH_ROLLING_UP = 20_000
"""Rows. Together they cost the less, and reports read so many in some thirty milliseconds."""
_LONGEST_UNROLLED_S = 60.0
"""Then fewer are rolled up too."""
_FOUR_WEEKS_EVERY_S = 60.0
"""How often four weeks that are over are looked for, to be summed once more."""
_ROLL_UP_S = 0.3
"""How long rows are rolled up at a time."""
_MAX_ROWS_AT_ONCE = 500
_THREADS = 2
_LIGHT_ROWS = 20_000
"""A report that visits fewer rows is made in some ten milliseconds, and waits for no larger one."""
_LIGHT_REPORTS = 256
_HEAVY_REPORTS = 8
"""How many larger ones may be there at once, of which two are being made."""


class SqliteLedger:
    """A Ledger in the file ``path``. Belongs to one event loop; several processes may share it.

    ``max_waiting``     writes that may wait; one more raises StorageUnavailable.
    ``write_timeout_s`` the longest that ``open`` and ``settle`` wait for a disk that hangs.
    ``read_timeout_s``  the longest that a report may take, and that it may wait for its turn.

    Raises StorageUnavailable when the file cannot be used at all, is no database, or was written by
    a newer version.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "normal",
        clock: Clock | None = None,
        max_waiting: int = 10_000,
        write_timeout_s: float = 5.0,
        read_timeout_s: float = 30.0,
        tend_every_s: float = _TEND_EVERY_S,
    ) -> None:
        self._path = Path(path)
        self._synchronous: Synchronous = synchronous
        self._clock: Clock = clock or SystemClock()
        self._tend_every_s = tend_every_s
        self.identity = ""
        connection, self._owner = self._begin()
        self._token = self._owner.token
        self._writer = GroupWriter(
            self._connect,
            connection,
            now=self._clock.monotonic,
            max_waiting=max_waiting,
            timeout_s=write_timeout_s,
        )
        lane = partial(ReaderLane, self._path, clock=self._clock, timeout_s=read_timeout_s)
        self._own = lane("own", threads=1)
        self._light = lane("light", threads=_THREADS, most=_LIGHT_REPORTS)
        self._heavy = lane("heavy", threads=_THREADS, most=_HEAVY_REPORTS, yielding=True)
        self._rolls = lane("rolls", threads=1)
        self._batch_size = BatchSize()
        self._roll_at = self._rolled_up_at = self._clock.monotonic()
        self._four_weeks_at = self._clock.monotonic() + _FOUR_WEEKS_EVERY_S
        self._closed = False
        self._tending: asyncio.Task[None] | None = None
        self._checkpointed = 0
        self._inode = inode_of(self._path)

    def _begin(self) -> tuple[sqlite3.Connection, LedgerOwner]:
        """The connection that writes stays open from the start: where descriptors run out, rows
        need none."""
        connection: sqlite3.Connection | None = None
        try:
            with contextlib.closing(self._connect()) as first:
                self.identity = str(first.execute("SELECT identity FROM ledger").fetchone()[0])
            connection = self._connect()  # the log of who was here before is folded into the file
            return connection, LedgerOwner(self._path)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            raise unavailable(error, f"ledger {self._path}: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, synchronous=self._synchronous)

    # --- writing ---

    @property
    def failing(self) -> str:
        """Why the last write failed; empty while writes succeed."""
        return self._writer.failing

    def open(self, row: LedgerRow) -> Awaitable[None]:
        """As the protocol says; one more ValueError for a row that is not open. The writer's own
        future: a coroutine around it would run again each time that a call's row is written."""
        if row.outcome != "open":
            raise ValueError(f"{row.id} is not open but {row.outcome}")
        if self._tending is None:
            self._begin_tending()
        try:
            return self._writer.submit((encode_open(row, self._token),), opening=True)
        except StorageUnavailable as unavailable:
            return _refused(unavailable)

    def settle(self, rows: Sequence[LedgerRow]) -> Awaitable[None]:
        """As the protocol says; ValueError for a row that is open, or for more than 500 rows."""
        if len(rows) > _MAX_ROWS_AT_ONCE:
            raise ValueError(f"{len(rows)} rows in one settlement; at most {_MAX_ROWS_AT_ONCE}")
        encoded = []
        for row in rows:
            if row.outcome == "open":
                raise ValueError(f"{row.id} is open: settle says how it ended")
            encoded.append(encode_settled(row))
        if self._tending is None:
            self._begin_tending()
        try:
            return self._writer.submit(encoded) if encoded else asyncio.sleep(0)
        except StorageUnavailable as unavailable:
            return _refused(unavailable)

    def _begin_tending(self) -> None:
        self._tending = asyncio.create_task(self._tend(), name="ledger-tending")

    async def _tend(self) -> None:
        while True:
            await self._clock.sleep(self._tend_every_s)
            self._look()
            self._writer.tend()
            if self._writer.written - self._checkpointed >= _CHECKPOINT_ROWS:
                self._checkpointed = self._writer.written
                self._own.run_later(self._checkpoint)
            if self._clock.monotonic() >= self._roll_at:
                self._roll_at = self._clock.monotonic() + _ROLL_UP_EVERY_S
                self._rolls.run_later(self._roll_up_for_a_while)

    def _roll_up_for_a_while(self) -> None:
        """Part of what waits, so that others have the processor and the file; the rest at the next
        second."""
        now = self._clock.monotonic()
        least = 1 if now - self._rolled_up_at >= _LONGEST_UNROLLED_S else _WORTH_ROLLING_UP
        with contextlib.suppress(sqlite3.Error, OSError, StorageUnavailable):
            rows = self._roll_up(lambda: self._clock.monotonic() < now + _ROLL_UP_S, least)
            if self._clock.monotonic() >= now + _ROLL_UP_S:
                self._roll_at = 0.0
                return
            if rows:
                self._rolled_up_at = now
            if now >= self._four_weeks_at:
                self._four_weeks_at = now + _FOUR_WEEKS_EVERY_S
                self._sum_up_four_weeks()

    def _roll_up(self, goes_on: Callable[[], bool], least: int = 1) -> int:
        with contextlib.closing(self._connect()) as connection:
            rows = roll_up(connection, goes_on, least, self._batch_size)
        if rows:
            give_back()
        return rows

    async def roll_up(self) -> int:
        """Adds a batch of settled rows to the sums of hours and days, as the ledger does by itself;
        how many they were. Raises StorageUnavailable."""
        return await self._rolls.run(lambda: self._roll_up(lambda: False))

    def _sum_up_four_weeks(self) -> bool:
        with contextlib.closing(self._connect()) as connection:
            return sum_up(connection, self._clock.time(), lambda: not self._closed)

    async def sum_up_four_weeks(self) -> bool:
        """Sums up once more four weeks that are over, as the ledger does by itself; whether there
        were any. Raises StorageUnavailable."""
        return await self._rolls.run(self._sum_up_four_weeks)

    def _look(self) -> None:
        """Follows another file that stands at the path."""
        before, self._inode = self._inode, inode_of(self._path)
        if before is not None and before != self._inode:
            what = "is gone" if self._inode is None else "was replaced by another file"
            log.error(
                "the ledger %s %s while the gateway runs: rows of the last second may be missing "
                "in the one that is written from now on",
                self._path,
                what,
            )
            self._writer.reconnect()

    def _checkpoint(self) -> None:
        """Moves the log into the database, with its fsyncs, while the writer goes on writing."""
        with contextlib.suppress(sqlite3.Error, OSError, StorageUnavailable):
            connection = self._connect()
            with contextlib.closing(connection):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    async def aclose(self) -> None:
        """Writes what waits and folds the log into the database. May be called twice."""
        self._closed = True
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.wait((self._tending,))
        await self._writer.aclose()
        for lane in (self._own, self._light, self._heavy, self._rolls):
            lane.close()
        self._owner.close()

    # --- reading ---

    async def open_rows(self) -> list[LedgerRow]:
        """Rows that this ledger, or one that is gone, opened and did not settle; oldest first."""
        return await self._open_rows_but_of()

    async def take_abandoned(self) -> list[LedgerRow]:
        """Those of ledgers that are gone, until somebody settles them."""
        if self._tending is None:
            self._begin_tending()
        return await self._open_rows_but_of(self._token)

    async def _open_rows_but_of(self, *tokens: str) -> list[LedgerRow]:
        def read(connection: sqlite3.Connection) -> list[LedgerRow]:
            alive = sorted({*tokens, WAITS_IN_STORE, *self._owner.others()})
            sql = f"{SELECT_OPEN} WHERE owner NOT IN ({', '.join('?' * len(alive))})"
            rows = [decode_open(row) for row in connection.execute(sql, alive)]
            return sorted(rows, key=lambda row: row.started_at)

        return await self._own.read(read)

    async def usage(self, query: UsageQuery) -> UsageReport:
        """Calls count at the moment they began; ``until`` is excluded. Ordered by cost, dearest
        first. Raises ValueError for a bad dimension, ReportRefused and StorageUnavailable."""

        def read(connection: sqlite3.Connection) -> UsageReport | None:
            if rows_to_visit(connection, query, _LIGHT_ROWS) == _LIGHT_ROWS:
                return None
            if reaches_back(connection, query):
                return None
            return run_usage(connection, query, by_rows=True)

        report = await self._light.read(read)
        if report is None:
            report = await self._heavy.read(lambda connection: run_usage(connection, query))
        return report

    async def calls(self, query: CallsQuery) -> list[LedgerRow]:
        """Settled rows, newest first; ones that are hard to find wait their turn among large
        reports."""

        def read(connection: sqlite3.Connection) -> list[LedgerRow] | None:
            small = is_found_by_index(query.rows) or (
                rows_to_visit(connection, query.rows, _LIGHT_ROWS) < _LIGHT_ROWS
            )
            return run_calls(connection, query) if small else None

        found = await self._light.read(read)
        if found is None:
            found = await self._heavy.read(lambda connection: run_calls(connection, query))
        return found

    async def rows(self, request_id: str) -> list[LedgerRow]:
        """The call's row first, then those of its attempts in their order."""
        return await self._light.read(lambda connection: _rows(connection, request_id))

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
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(begun.set)

        def read(connection: sqlite3.Connection) -> list[list[Spent]]:
            return run_spent(connection, queries, tell)

        async with asyncio.TaskGroup() as reads, still():
            reading = reads.create_task(self._own.read(read))
            reading.add_done_callback(lambda _: begun.set())
            await begun.wait()
        return reading.result()

    async def calls_since(self, since: float) -> dict[tuple[str, int], int]:
        """(model, hour since the epoch) -> calls that began then, open ones included."""

        def read(connection: sqlite3.Connection) -> Counter[tuple[str, int]]:
            calls = calls_of(run_usage(connection, hourly_calls(since)))
            for row in map(decode_open, connection.execute(SELECT_OPEN)):
                if row.kind == "call" and row.started_at >= since:
                    calls[row.model, int(row.started_at // 3_600)] += 1
            return calls

        return dict(await self._own.read(read))


def _rows(connection: sqlite3.Connection, request_id: str) -> list[LedgerRow]:
    # "$" follows "#": the bounds are those of the prefix, which an index serves.
    names = (request_id, f"{request_id}#", f"{request_id}$")
    where = "WHERE id = ? OR (id > ? AND id < ?)"
    # What is open first: a call that is settled meanwhile is seen in both, never in none.
    waiting = [decode_open(row) for row in connection.execute(f"{SELECT_OPEN} {where}", names)]
    rows = [decode_settled(row) for row in connection.execute(f"{SELECT_SETTLED} {where}", names)]
    settled = {row.id for row in rows}
    rows += [row for row in waiting if row.id not in settled]
    return sorted(rows, key=lambda row: (len(row.id), row.id))


async def _refused(unavailable: StorageUnavailable) -> None:
    """To be told to whoever waits, and not to whoever asks."""
    raise unavailable
