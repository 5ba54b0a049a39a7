"""How the ledger's writer puts rows together."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.rows import encode_open, encode_settled
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.rows import connect
from gateway.storage.sqlite.writer import LARGE_BATCH, SMALL_BATCH, GroupWriter
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row


class ToldStatements:
    """Connects to a file, and keeps how many rows each statement inserted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._statements: set[str] = set()

    def connect(self) -> sqlite3.Connection:
        connection = connect(self._path)
        connection.set_trace_callback(self._hear)
        return connection

    def _hear(self, statement: str) -> None:
        if statement.startswith("INSERT"):
            self._statements.add(statement)  # told again for each trigger

    @property
    def rows(self) -> list[int]:
        """Of each statement."""
        return [statement.count("'req-") for statement in self._statements]


@pytest.mark.parametrize(
    ("settled", "opening"),
    [(1, 0), (16, 0), (17, 0), (31, 0), (32, 0), (33, 0), (100, 0), (0, 40), (20, 20), (50, 3)],
    ids=str,
)
async def test_all_that_waits_is_written_in_statements_of_few_sizes(
    settled: int, opening: int, tmp_path: Path
) -> None:
    """SQLite keeps each statement, the larger ones in some hundred kilobytes."""
    told = ToldStatements(tmp_path / "ledger.db")
    writer = GroupWriter(told.connect, now=FakeClock().monotonic, max_waiting=200, timeout_s=60.0)
    ended = [f"req-settled-{number}" for number in range(settled)]
    begun = [f"req-open-{number}" for number in range(opening)]
    writes = [writer.submit((encode_settled(settled_row(id)),)) for id in ended]
    writes += [writer.submit((encode_open(open_row(id), "me"),), opening=True) for id in begun]
    await asyncio.gather(*writes)
    await writer.aclose()
    ledger = SqliteLedger(tmp_path / "ledger.db")
    found = [len(await ledger.rows(id)) for id in ended]
    open_rows = {row.id for row in await ledger.open_rows()}
    await ledger.aclose()
    assert found == [1] * settled
    assert open_rows == set(begun)
    assert sum(told.rows) == settled + opening
    assert set(told.rows) <= {*range(1, SMALL_BATCH + 1), LARGE_BATCH}


async def test_a_row_that_cannot_be_written_harms_none_of_a_large_batch(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    writer = GroupWriter(
        lambda: connect(path), now=FakeClock().monotonic, max_waiting=200, timeout_s=60.0
    )
    rows = [encode_settled(settled_row(f"req-{number}")) for number in range(40)]
    bad = [*rows[7][:-1], None]
    writes = [writer.submit((bad if index == 7 else row,)) for index, row in enumerate(rows)]
    told = await asyncio.gather(*writes, return_exceptions=True)
    await writer.aclose()
    assert [index for index, one in enumerate(told) if isinstance(one, ValueError)] == [7]
    ledger = SqliteLedger(path)
    found = [len(await ledger.rows(f"req-{number}")) for number in range(40)]
    await ledger.aclose()
    assert found == [int(number != 7) for number in range(40)]
