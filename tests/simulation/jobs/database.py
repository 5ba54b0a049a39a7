"""The ledger's database as far as jobs and messages need it: the product's own statements, done on
the server in one step each."""

from __future__ import annotations

import functools
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.storage.base import LedgerRow
from gateway.storage.jobs.base import WAITS_IN_STORE
from gateway.storage.outbox_statements import Statement
from gateway.storage.rows import encode_open, encode_settled
from gateway.storage.sql_outbox import Rows
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.storage.sqlite.rows import connect, insert_open, insert_settled
from gateway.types import MICRO
from tests.simulation.network import Link


class Database(SqliteStatements):
    """In memory, with a ledger's schema. ``check`` raises what keeps it from writing."""

    def __init__(self, clock: Clock, check: Callable[[], None]) -> None:
        super().__init__(":memory:", now_us=lambda: round(clock.time() * MICRO))
        self._memory = _made()
        self._check = check

    def apply(self, batch: Sequence[Statement]) -> list[Rows]:
        """What the statements give, in one transaction. Raises StorageUnavailable."""
        if not all(sql.startswith("SELECT") for sql, _ in batch):
            self._check()
        return self._run(batch)

    def read(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a question that is of no gateway."""
        return self._memory.execute(sql, values).fetchall()

    def opened(self, owner: str, row: LedgerRow) -> bool:
        """Keeps an open row; False for that of a job, which is nobody's."""
        values = encode_open(row, owner)
        found = self.read("SELECT owner FROM open_entries WHERE id = ?", row.id)
        if found and found[0][0] == WAITS_IN_STORE:
            self.read("UPDATE open_entries SET entry = ? WHERE id = ?", values[2], row.id)
            return False
        self.read(insert_open(1), *values)
        return True

    def settled(self, row: LedgerRow) -> None:
        """Keeps a settled row, which is open no more."""
        self.read(insert_settled(1), *encode_settled(row))

    def _connected(self) -> sqlite3.Connection:
        return self._memory

    def _disconnect(self) -> None:
        pass


class LinkedStatements:
    """Statements of one process."""

    def __init__(self, database: Database, link: Link) -> None:
        self._database = database
        self._link = link

    async def run(self, batch: Sequence[Statement], *, apart: bool = False) -> list[Rows]:
        return await self._link.ask(lambda: self._database.apply(batch))

    async def aclose(self) -> None:
        return None


@functools.cache
def _empty() -> sqlite3.Connection:
    with tempfile.TemporaryDirectory() as folder:
        made = connect(Path(folder) / "ledger.db")
        memory = sqlite3.connect(":memory:")
        made.backup(memory)
        made.close()
    return memory


def _made() -> sqlite3.Connection:
    memory = sqlite3.connect(":memory:", isolation_level=None)
    _empty().backup(memory)
    return memory
