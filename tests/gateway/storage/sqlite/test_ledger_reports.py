"""Reports over SQLite: parameters, indexes, and what is too much."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import ReportRefused
from gateway.storage.queries import CallsCursor, CallsQuery, UsageQuery
from gateway.storage.reports import MAX_GROUPS, calls_sql
from gateway.storage.rollups.reading import Reading, Unsummed
from gateway.storage.sqlite.dialect import SQLITE
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.rows import SELECT_SETTLED
from tests.gateway.storage.sqlite.ledger_rows import NOON, ledger_at, settled_row


def by_rows(query: UsageQuery) -> tuple[str, list[object]]:
    """The statement of a report that no roll-up serves."""
    return Reading(query, SQLITE, None, None, Unsummed("")).sums()


def test_names_of_tags_and_values_are_parameters_and_no_part_of_the_statement() -> None:
    sql, values = by_rows(UsageQuery(group_by=("tag:team",), where={"user": "x' --"}))
    assert "team" not in sql
    assert "x'" not in sql
    assert values == ['$."team"', "x' --"]


async def test_a_user_report_and_a_time_report_are_served_by_an_index(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db"):
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            for query, index in (
                (UsageQuery(where={"user": "alice"}), "entries_by_user"),
                (UsageQuery(since=NOON), "entries_by_time"),
            ):
                sql, values = by_rows(query)
                plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                assert index in str(plan)


async def test_a_report_that_takes_too_long_ends_by_itself(tmp_path: Path) -> None:
    """The time is that of the clock: here it runs out before the first row."""
    clock = FakeClock()
    ledger = SqliteLedger(tmp_path / "ledger.db", clock=clock, read_timeout_s=-1.0)
    for start in range(0, 4_000, 500):
        numbers = range(start, start + 500)
        await ledger.settle([settled_row(f"r{n}", tags={"a": f"{n}"}) for n in numbers])
    with pytest.raises(ReportRefused, match="from and to") as refused:
        await ledger.usage(UsageQuery(group_by=("tag:a", "tag:b", "tag:c", "hour")))
    assert refused.value.fault == "report_too_slow"
    await ledger.aclose()


MANY = """
WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number WHERE n < ?)
INSERT INTO entries SELECT n, 'call', 'success', n, n, 'k', 'user-' || n, '', '{}', '', '', '', '',
'', '', 200, '', 0, 0, 0, 0, 0, 0, 0, 0, n, 'none', '', '', '' FROM number
"""


async def test_more_groups_than_a_report_may_have_are_refused_or_told_in_part(
    tmp_path: Path,
) -> None:
    """The part and what is left out of it are the whole."""
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            connection.execute(MANY, (MAX_GROUPS + 1,))
            connection.commit()
        with pytest.raises(ReportRefused, match="limit") as refused:
            await ledger.usage(UsageQuery())
        report = await ledger.usage(UsageQuery(limit=2))
    assert refused.value.fault == "too_many_groups"
    assert [row.cost_nano for row in report.rows] == [50_001, 50_000]
    assert report.left_out is not None
    assert (report.groups_left_out, report.left_out.calls) == (49_999, 49_999)
    assert report.left_out.cost_nano == sum(range(1, 50_000))


@pytest.mark.parametrize(
    ("where", "index"), [({"user": "alice"}, "entries_by_user"), ({}, "entries_by_time")]
)
async def test_a_page_of_calls_is_read_from_an_index(
    where: dict[str, str], index: str, tmp_path: Path
) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([settled_row()])
    rows, before = UsageQuery(where=where), CallsCursor(NOON, "r9")
    sql, values = calls_sql(
        CallsQuery(rows=rows, most=5, before=before), SELECT_SETTLED, SQLITE, None
    )
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    assert index in plan
