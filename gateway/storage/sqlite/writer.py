"""Group commit: one thread owns the write connection and commits all that waits, at once.

A call alone is committed at once. In company, what arrives while the thread commits is the next
batch, which leaves ``SPACING_S`` after the last one at the earliest. A batch is one transaction,
and one statement where it can be; its callers are woken by one call into the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue

import msgspec

from adapters.waiting import mark_seen
from gateway.storage.base import (
    MaybeWritten,
    StorageShortage,
    StorageUnavailable,
    unavailable,
)
from gateway.storage.rows import Encoded, same_call
from gateway.storage.sqlite.rows import (
    SCHEMA_VERSION,
    SELECT_OPEN,
    insert_open,
    insert_settled,
)

SMALL_BATCH, LARGE_BATCH = 16, 32
"""The most rows of a batch: the first where fewer wait than the second. SQLite keeps a statement
for each number up to the first, and one for the second, which costs a fifth less a row; to keep
those between as well would take three times the memory."""

SPACING_S = 0.001
"""A millisecond is less than a call in company waits for its turn on the event loop. Twice as much
bounds what a gateway serves: a batch of sixteen rows is then eight thousand a second at the most,
and a paid call writes two."""

Failure = Exception | None

_KEEPS_CONNECTION = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NOT_THE_DISK = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
"""What one bad row raises; every other error of SQLite is about the file that holds all rows."""


class _Write(msgspec.Struct, eq=False):
    """Rows of one caller, which are written together. No rows: only try whether the disk writes."""

    rows: Sequence[Encoded]
    opening: bool
    done: asyncio.Future[None]
    asked_at: float

    @property
    def abandoned(self) -> bool:
        """Nobody waits, and it is not a settlement whose caller was merely cancelled."""
        return self.done.done() and (self.opening or not self.done.cancelled())


class GroupWriter:
    """Belongs to one event loop, that of its first ``submit``."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        connection: sqlite3.Connection | None = None,
        *,
        now: Callable[[], float],
        max_waiting: int,
        timeout_s: float,
    ) -> None:
        self._connect = connect
        self._now = now
        self._max_waiting = max_waiting
        self._timeout_s = timeout_s
        self._batches: SimpleQueue[list[_Write]] = SimpleQueue()
        self._waiting: deque[_Write] = deque()
        self._under_way = 0
        """Of those that wait, the first ones: how many are with the thread."""
        self._handing_over = False
        self._in_company = False
        """Whether the last batch held more than one call's rows."""
        self._begun_at = 0.0
        self._emptied: asyncio.Future[None] | None = None
        """Set at the end: done when nothing waits any more."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._connection = connection
        self._closed = False
        self._stuck = False
        self._outdated = False
        """Its connection is to another file than the one that is there now."""
        self.failing = ""
        """Why the last write failed; empty while writes succeed."""
        self.written = 0
        """Rows that were committed."""

    # --- on the event loop ---

    def submit(self, rows: Sequence[Encoded], *, opening: bool = False) -> asyncio.Future[None]:
        """Done when the rows are durable. Fails with StorageUnavailable, or ValueError for rows
        that can never be written; raises StorageUnavailable where no more may wait. ``opening``: a
        row whose id is taken can never be written."""
        if self._closed:
            raise StorageUnavailable("the ledger is closed")
        if self._stuck:
            raise StorageUnavailable(self.failing)
        if len(self._waiting) >= self._max_waiting:
            raise StorageUnavailable(f"{self._max_waiting} writes wait for the ledger already")
        loop = self._loop or self._start()
        write = _Write(rows, opening, loop.create_future(), self._now())
        self._waiting.append(write)
        if not self._handing_over and not self._under_way:
            self._hand_over_soon(loop)
        return write.done

    def _hand_over_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handing_over = True
        pause = self._begun_at + SPACING_S - self._now() if self._in_company else 0.0
        if pause > 0:
            loop.call_later(pause, self._hand_over)
        else:
            loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Gives the thread what the calls of this turn of the loop have brought."""
        self._handing_over = False
        most = LARGE_BATCH if len(self._waiting) >= LARGE_BATCH else SMALL_BATCH
        batch: list[_Write] = []
        rows = 0
        for write in self._waiting:
            batch.append(write)
            rows += len(write.rows)
            if rows >= most:
                break
        if batch and not self._under_way:
            self._under_way = len(batch)
            self._in_company = len(batch) > 1
            self._begun_at = self._now()
            self._batches.put(batch)

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self._loop

    def tend(self) -> None:
        """Called about once a second: nobody waits past the time-out, and a disk that failed is
        tried again even if no call comes."""
        self._expire(self._now() - self._timeout_s)
        if self.failing and not self._waiting and not self._closed:
            self.submit(()).add_done_callback(mark_seen)

    def reconnect(self) -> None:
        """What is written from now on goes to whatever stands at the path."""
        self._outdated = True

    def _expire(self, asked_before: float) -> None:
        for index, write in enumerate(self._waiting):
            if write.asked_at > asked_before:
                return
            if not write.done.done():
                self._stuck = True
                self.failing = f"the ledger's disk has not answered for {self._timeout_s:g} s"
                unavailable = MaybeWritten if index < self._under_way else StorageUnavailable
                write.done.set_exception(unavailable(self.failing))

    def _resolve(self, batch: list[_Write], failures: list[Failure], disk: str) -> None:
        self._stuck = False
        self.failing = disk
        self._under_way = 0
        for _ in batch:
            self._waiting.popleft()
        if self._waiting and not self._handing_over:
            assert self._loop is not None
            self._in_company = True
            self._hand_over_soon(self._loop)
        elif self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)
        for write, failure in zip(batch, failures):  # noqa: B905 - strict makes a dict first
            if failure is None:
                self.written += len(write.rows)
            if write.done.done():
                continue
            if failure is None:
                write.done.set_result(None)
            else:
                write.done.set_exception(failure)

    async def aclose(self) -> None:
        """Writes what waits, then ends the thread; waits for it no longer than the time-out."""
        if self._closed:
            return
        self._closed = True
        if self._loop is None:
            self._disconnect()
            return
        if self._waiting:
            self._emptied = self._loop.create_future()
            self._hand_over()
            await asyncio.wait((self._emptied,), timeout=self._timeout_s)
        self._batches.put([])
        await self._loop.run_in_executor(None, self._thread.join, self._timeout_s)
        self._expire(float("inf"))

    # --- on the writer's thread ---

    def _run(self) -> None:
        while batch := self._batches.get():
            failures, disk = self._write(batch)
            with contextlib.suppress(RuntimeError):  # the loop is gone, and so is who waited
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._resolve, batch, failures, disk)
        self._disconnect()

    def _write(self, batch: list[_Write]) -> tuple[list[Failure], str]:
        """What became of each write, and what is wrong with the disk, if anything."""
        try:
            all_new = self._commit([write for write in batch if not write.abandoned])
            return [None if all_new else self._open_again(write) for write in batch], ""
        except _NOT_THE_DISK as error:
            if len(batch) > 1:
                return self._write_each(batch)
            return [ValueError(f"the row cannot be written: {error}")], ""
        except Exception as error:  # the thread must outlive whatever a disk can do
            failure = self._give_up(error)
            # What the process lacks says nothing of the disk: the next call tries it again.
            disk = "" if isinstance(failure, StorageShortage) else str(failure)
            return [type(failure)(*failure.args) for _ in batch], disk

    def _write_each(self, batch: list[_Write]) -> tuple[list[Failure], str]:
        """One row of the batch is at fault: the others must not suffer for it."""
        failures: list[Failure] = []
        disk = ""
        for write in batch:
            one, disk = self._write([write])
            failures += one
        return failures, disk

    def _commit(self, writes: list[_Write]) -> bool:
        """In one transaction. True when each row that opens is new."""
        if self._outdated:
            self._outdated = False
            self._leave()
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        opening = _parts([row for write in writes if write.opening for row in write.rows])
        settled = _parts([row for write in writes if not write.opening for row in write.rows])
        if len(opening) + len(settled) <= 1:
            return _execute(connection, opening, settled)
        connection.execute("BEGIN IMMEDIATE")
        try:
            all_new = _execute(connection, opening, settled)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
        return all_new

    def _open_again(self, write: _Write) -> Failure:
        """Of a row that opens where there is one: the same call's is replaced, because it asks
        another backend or cannot know whether it was written; another call's is a conflict."""
        connection = self._connection
        if not write.opening or write.abandoned or connection is None:
            return None
        for id, _, entry in write.rows:
            found = connection.execute(f"{SELECT_OPEN} WHERE id = ?", (id,)).fetchone()
            if found is None or not same_call(found[0], entry):
                return ValueError(f"the ledger has an entry {id!r} already")
            if found[0] != entry:
                connection.execute("UPDATE open_entries SET entry = ? WHERE id = ?", (entry, id))
        return None

    def _give_up(self, error: Exception) -> StorageUnavailable:
        """Says why, on one line. Autocommit has rolled the statement back."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _KEEPS_CONNECTION:
            self._disconnect()
        return unavailable(error, " ".join(f"ledger: {error}".split()))

    def _leave(self) -> None:
        """Moves the log into the file, wherever that is now: its log stays where it was."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


def _parts(rows: list[Encoded]) -> list[list[Encoded]]:
    """The rows of each statement."""
    parts = []
    while rows:
        count = LARGE_BATCH if len(rows) >= LARGE_BATCH else SMALL_BATCH
        parts.append(rows[:count])
        rows = rows[count:]
    return parts


def _execute(
    connection: sqlite3.Connection, opening: list[list[Encoded]], settled: list[list[Encoded]]
) -> bool:
    """True when each row that opens is new."""
    new = [_insert(connection, insert_open, rows) == len(rows) for rows in opening]
    for rows in settled:
        _insert(connection, insert_settled, rows)
    if not opening and not settled:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")  # writes, and changes nothing
    return all(new)


def _insert(
    connection: sqlite3.Connection, statement: Callable[[int], str], rows: list[Encoded]
) -> int:
    """How many of the rows were not there."""
    return connection.execute(
        statement(len(rows)), [value for row in rows for value in row]
    ).rowcount
