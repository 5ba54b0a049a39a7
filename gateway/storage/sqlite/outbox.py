"""The outbox in the file of an SQLite ledger: a thread and a connection of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.storage.base import unavailable
from gateway.storage.outbox_statements import Statement
from gateway.storage.sql_outbox import Rows
from gateway.storage.sqlite.journals import Inode, inode_of
from gateway.storage.sqlite.outbox_tables import NOW
from gateway.storage.sqlite.rows import connect
from gateway.store_urls import Synchronous


class SqliteStatements:
    """Runs statements in the ledger ``path``, whose file it makes where it is missing.

    ``now_us``  the time instead of the machine's, for tests.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "normal",
        now_us: Callable[[], int] | None = None,
    ) -> None:
        self._path = Path(path)
        self._synchronous: Synchronous = synchronous
        self._now_us = now_us
        self._thread = ThreadPoolExecutor(1, "outbox")
        self._connection: sqlite3.Connection | None = None
        self._inode: Inode | None = None

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, batch)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise unavailable(error, f"outbox {self._path}: {error}") from error

    async def aclose(self) -> None:
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    # --- on the thread ---

    def _run(self, batch: Sequence[Statement]) -> list[Rows]:
        connection = self._connected()
        try:
            with contextlib.closing(connection.cursor()) as cursor:
                return self._transaction(cursor, batch)
        except sqlite3.Error:
            self._disconnect()
            raise

    def _transaction(self, cursor: sqlite3.Cursor, batch: Sequence[Statement]) -> list[Rows]:
        reads = all(sql.startswith("SELECT") for sql, _ in batch)
        cursor.execute("BEGIN" if reads else "BEGIN IMMEDIATE")
        try:
            found = [
                list(cursor.execute(self._worded(sql), values).fetchall()) for sql, values in batch
            ]
            cursor.execute("COMMIT")
        except BaseException:
            cursor.connection.rollback()
            raise
        return found

    def _worded(self, sql: str) -> str:
        now = NOW if self._now_us is None else str(self._now_us())
        for word, said in _SAID.items():
            sql = sql.replace(word, said)
        return sql.replace("{now}", now)

    def _connected(self) -> sqlite3.Connection:
        """To the file that stands at the path now."""
        if self._connection is not None and self._inode != inode_of(self._path):
            self._disconnect()
        if self._connection is None:
            self._connection = connect(self._path, synchronous=self._synchronous)
            self._inode = inode_of(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()


_SAID = {
    "{lock}": "",
    "{skip}": "",
    "{each_of}": "JOIN jobs AS line ON line.number IN ",
    "{each}": "",
}
