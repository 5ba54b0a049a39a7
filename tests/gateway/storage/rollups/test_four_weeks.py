"""Four weeks that are over are summed up once more, and again when something comes late."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from pathlib import Path

import pytest

from gateway.storage.base import LedgerRow
from gateway.storage.queries import UsageQuery
from gateway.storage.rollups.cubes import ASKED, PLACED, TOTAL, WHO
from gateway.storage.rollups.four_weeks import STATE, WHOLE
from gateway.storage.sqlite.four_weeks import sum_up
from gateway.storage.sqlite.rows import connect
from tests.gateway.storage.sqlite.ledger_rows import ledger_at, settled_row
from tests.gateway.storage.test_rollups import rolled_up

BEGIN = 1_771_200_000.0
"""Monday, 2026-02-16 00:00 UTC, when four weeks begin."""
END = BEGIN + 28 * 86_400.0
OVER = END + 86_400.0
START = round(BEGIN) // 900
BY_PLACE = UsageQuery(group_by=("user", "backend", "hour_of_week"), zone="Europe/Berlin")
BY_HOUR = UsageQuery(group_by=("user", "model", "hour_of_week"), zone="Europe/Berlin")


def rows(count: int, name: str = "r") -> list[LedgerRow]:
    """One each seven hours, of four users; what they cost says which they are."""
    return [
        settled_row(
            f"{name}{n}", user=f"user-{n % 4}", started_at=BEGIN + n * 25_200.0, cost_nano=2**n
        )
        for n in range(count)
    ]


async def filled(path: Path) -> None:
    async with ledger_at(path) as ledger:
        await ledger.settle(rows(60))
        await rolled_up(ledger, over=False)


def whole(connection: sqlite3.Connection) -> list[int]:
    return [start for (start,) in connection.execute(WHOLE)]


async def test_they_are_summed_up_a_day_after_they_have_ended(tmp_path: Path) -> None:
    await filled(tmp_path / "ledger.db")
    with contextlib.closing(connect(tmp_path / "ledger.db")) as connection:
        assert not sum_up(connection, OVER - 1.0, lambda: True)
        assert sum_up(connection, OVER, lambda: True)
        assert whole(connection) == [START]
        assert not sum_up(connection, OVER, lambda: True)


async def test_sums_that_change_meanwhile_are_summed_up_again(tmp_path: Path) -> None:
    """By whichever version of Spillgate: the database itself says so."""
    await filled(tmp_path / "ledger.db")
    with contextlib.closing(connect(tmp_path / "ledger.db")) as connection:

        def changes() -> bool:
            connection.execute(f"UPDATE {TOTAL.sums} SET calls = calls WHERE span = 96")
            return True

        assert sum_up(connection, OVER, changes, small=0)
        assert whole(connection) == []
        assert sum_up(connection, OVER, lambda: True)
        assert whole(connection) == [START]


@pytest.mark.parametrize("steps", [0, 3, 20])
async def test_two_processes_that_sum_up_the_same_leave_what_is_right(
    tmp_path: Path, steps: int
) -> None:
    """One is late, and its sums are of before a row that came meanwhile."""
    path = tmp_path / "ledger.db"
    await filled(path)
    with contextlib.closing(connect(path)) as late, contextlib.closing(connect(path)) as other:
        done = itertools.count()

        def meanwhile() -> bool:
            if next(done) == steps:
                other.execute(
                    f"UPDATE {TOTAL.sums} SET calls = calls + 1 WHERE span = 96 AND start = {START}"
                )
                other.execute(f"UPDATE {WHO.sums} SET calls = calls + 100 WHERE span = 4")
                assert sum_up(other, OVER, lambda: True)
            return True

        assert sum_up(late, OVER, meanwhile, small=0)
        assert whole(late) == [START]
        sql = f"SELECT SUM(calls) FROM {WHO.sums} WHERE span = "
        [[hours]], [[folded]] = (late.execute(f"{sql}{span}").fetchall() for span in (4, -4))
    assert hours == folded


@pytest.mark.parametrize("steps", [0, 1, 4, 12])
async def test_what_breaks_off_is_not_read_and_is_done_again(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "ledger.db"
    await filled(path)
    with contextlib.closing(connect(path)) as connection:
        done = itertools.count()
        assert sum_up(connection, OVER, lambda: next(done) < steps, small=0)
        assert whole(connection) == []
        assert sum_up(connection, OVER, lambda: True, small=0)
        counts = {
            cube: connection.execute(
                f"SELECT SUM(calls) FROM {cube.sums} WHERE span = 2688"
            ).fetchone()[0]
            for cube in (TOTAL, WHO, ASKED)
        }
    assert set(counts.values()) == {60}


async def test_a_file_that_was_with_an_earlier_version_meanwhile_is_right(tmp_path: Path) -> None:
    """That one sums up no four weeks, and says that its schema is of before."""
    path = tmp_path / "ledger.db"
    await filled(path)
    async with ledger_at(path) as ledger:
        await rolled_up(ledger)
    with contextlib.closing(connect(path)) as connection:
        assert whole(connection) == [START]
        connection.execute("PRAGMA user_version = 16")
    async with ledger_at(path) as ledger:
        await ledger.settle(rows(30, "late"))
        await rolled_up(ledger, over=False)
        report = await ledger.usage(BY_HOUR)
        assert sum(row.cost_nano for row in report.rows) == 2**60 - 1 + 2**30 - 1
        assert await ledger.sum_up_four_weeks()
    assert not [*tmp_path.glob("*before*")]


async def test_sums_of_before_there_were_such_are_summed_up(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await filled(path)
    with contextlib.closing(connect(path)) as connection:
        for table in (STATE, ASKED.sums, ASKED.groups, ASKED.members):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 16")
    with contextlib.closing(connect(path)) as connection:
        assert sum_up(connection, OVER, lambda: True)
        assert whole(connection) == [START]


async def test_sums_of_a_version_that_had_fewer_are_summed_up_again(tmp_path: Path) -> None:
    """Of one of before there were those by backends, which may still run beside this one: what it
    says is whole lacks these."""
    path = tmp_path / "ledger.db"
    await filled(path)
    async with ledger_at(path) as ledger:
        by_rows = await ledger.usage(BY_PLACE)
        await rolled_up(ledger)
    with contextlib.closing(connect(path)) as connection:
        for table in (PLACED.sums, PLACED.groups, PLACED.members):
            connection.execute(f"DROP TABLE {table}")
        connection.execute(f"UPDATE {STATE} SET whole = 1")
        connection.execute("PRAGMA user_version = 18")
    async with ledger_at(path) as ledger:
        assert await ledger.usage(BY_PLACE) == by_rows
        await rolled_up(ledger)
        assert await ledger.usage(BY_PLACE) == by_rows
    with contextlib.closing(connect(path)) as connection:
        assert whole(connection) == [START]
        [[folded]] = connection.execute(f"SELECT SUM(calls) FROM {PLACED.sums} WHERE span = -4")
    assert folded == 60
