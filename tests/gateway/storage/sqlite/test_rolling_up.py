"""A file's rows are rolled up in batches of several sizes, and not before it is worth it."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

from benchmarks.reports.rows import fill
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.rollups import BATCH_ROWS, roll_up, run_usage
from gateway.storage.sqlite.rows import connect
from tests.gateway.storage.sqlite.ledger_rows import ledger_at, settled_row

EVERYTHING = UsageQuery(group_by=("user", "model", "reason", "kind"))


def test_batches_of_which_each_has_new_groups_add_up_to_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    fill(path, 3 * BATCH_ROWS, now=1_767_268_800.0)
    with contextlib.closing(connect(path)) as connection:
        connection.execute("UPDATE entries SET user = user || rowid WHERE rowid % 50 = 0")
        rows = run_usage(connection, EVERYTHING)
        batches = itertools.count()
        added = roll_up(connection, lambda: next(batches) >= 0)
        assert added == 3 * BATCH_ROWS
        assert next(batches) > 1
        assert run_usage(connection, EVERYTHING) == rows
        assert connection.execute("SELECT SUM(calls) FROM rollup_full_sums").fetchone()[0]


async def test_few_rows_wait_until_they_are_worth_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row(f"r{n}") for n in range(4)])
        with contextlib.closing(connect(path)) as connection:
            assert roll_up(connection, lambda: True, least=5) == 0
            await ledger.settle([settled_row("r4")])
            assert roll_up(connection, lambda: True, least=5) == 5
            assert roll_up(connection, lambda: True) == 0
