"""Reports over the ledger: sums that add up, filters that narrow, statements that take no text."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.money.usage_reports import total_of
from gateway.storage.base import LedgerRow, ReportRefused, Spent, UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.usage import MAX_GROUPS, usage_sql
from tests.gateway.storage.sqlite.ledger_rows import (
    NOON,
    ledger_at,
    ledger_of,
    open_row,
    settled_row,
    settled_rows,
)

SUMS = ("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us", "cost_nano")


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(settled_rows, max_size=12),
    group_by=st.lists(
        st.sampled_from(["user", "key", "plan", "model", "day", "hour", "kind", "tag:team"]),
        max_size=3,
        unique=True,
    ),
)
def test_groups_add_up_to_the_rows_to_the_nano_dollar(
    rows: list[LedgerRow], group_by: list[str]
) -> None:
    """However the report is grouped, no row is lost or counted twice."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]

    async def check() -> None:
        async with ledger_of(rows) as ledger:
            found = (await ledger.usage(UsageQuery(group_by=tuple(group_by)))).rows
        for name in SUMS:
            assert sum(getattr(each, name) for each in found) == sum(
                getattr(row, name) for row in rows
            )
        assert sum(each.calls for each in found) == sum(row.kind == "call" for row in rows)
        assert sum(each.cold_starts for each in found) == sum(row.cold_us > 0 for row in rows)
        assert [each.cost_nano for each in found] == sorted(
            (each.cost_nano for each in found), reverse=True
        )

    asyncio.run(check())


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(settled_rows, max_size=12), tag=st.sampled_from(["team", "größe"]))
def test_groups_by_a_tag_are_those_of_the_rows(rows: list[LedgerRow], tag: str) -> None:
    """A row without the tag is in the group of the empty name."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]
    expected: dict[tuple[str, str], int] = {}
    for row in rows:
        name = (row.user, row.tags.get(tag, ""))
        expected[name] = expected.get(name, 0) + row.cost_nano

    async def check() -> None:
        async with ledger_of(rows) as ledger:
            found = (await ledger.usage(UsageQuery(group_by=("user", f"tag:{tag}")))).rows
        assert {
            (each.group["user"], each.group[f"tag:{tag}"]): each.cost_nano for each in found
        } == expected

    asyncio.run(check())


async def test_errors_count_failed_calls_and_open_rows_count_nowhere(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row("open", hold_nano=5))
        await ledger.settle(
            [
                settled_row("a"),
                settled_row("b", outcome="error"),
                settled_row("c", outcome="interrupted", cold_us=1),
                settled_row("d", outcome="cancelled"),
                settled_row("a#1", kind="attempt", outcome="error", cold_us=1),
                settled_row("p", kind="ping", outcome="ping", cost_nano=3),
            ]
        )
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert (total.calls, total.errors, total.cold_starts, total.cost_nano) == (4, 2, 2, 3)


async def test_filters_and_times_narrow_a_report(tmp_path: Path) -> None:
    """``since`` is included and ``until`` is not; a day and an hour are UTC's."""
    rows = [
        settled_row("a", started_at=NOON, tags={"team": "x"}),
        settled_row("b", started_at=NOON + 86_400, user="bob", tags={"team": "y"}),
    ]
    asked = [
        (UsageQuery(since=NOON + 1), ["2026-01-02"]),
        (UsageQuery(until=NOON + 86_400), ["2026-01-01"]),
        (UsageQuery(since=NOON, until=NOON + 86_401), ["2026-01-01", "2026-01-02"]),
    ]
    filtered = {
        "user": ("bob", ["2026-01-02"]),
        "tag:team": ("x", ["2026-01-01"]),
        "day": ("2026-01-01", ["2026-01-01"]),
        "hour": ("2026-01-02T12:00Z", ["2026-01-02"]),
        "key": ("k1", ["2026-01-01", "2026-01-02"]),
        "model": ("' OR '1'='1", []),
    }
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle(rows)
        for query, days in asked:
            assert sorted(await days_of(ledger, query)) == days
        for name, (value, days) in filtered.items():
            query = UsageQuery(where={name: value})
            assert sorted(await days_of(ledger, query)) == days


async def days_of(ledger: SqliteLedger, query: UsageQuery) -> list[str]:
    found = (await ledger.usage(msgspec.structs.replace(query, group_by=("day",)))).rows
    return [row.group["day"] for row in found]


@pytest.mark.parametrize(
    "name", ["users", "", "user; DROP TABLE entries", "tag:", 'tag:a"b', "tag:a]', '$", "tag:$[0]"]
)
async def test_a_dimension_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        for query in (UsageQuery(group_by=(name,)), UsageQuery(where={name: "x"})):
            with pytest.raises(ValueError, match="no dimension"):
                await ledger.usage(query)
        with pytest.raises(ValueError, match="no day such as"):
            await ledger.usage(UsageQuery(where={"day": "yesterday"}))


def test_names_of_tags_and_values_are_parameters_and_no_part_of_the_statement() -> None:
    sql, values = usage_sql(UsageQuery(group_by=("tag:team",), where={"user": "x' --"}))
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
                sql, values = usage_sql(query)
                plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                assert index in str(plan)


async def test_what_was_spent_is_summed_for_each_key_user_and_plan_since_an_instant(
    tmp_path: Path,
) -> None:
    """A call counts in the window in which it began, however long it ran."""
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle(
            [
                settled_row("old", started_at=NOON - 1, ended_at=NOON + 9, cost_nano=100),
                settled_row("a", plan="free", cost_nano=1, gpu_us=10),
                settled_row("a#1", plan="free", kind="attempt", cost_nano=2, gpu_us=20),
                settled_row("b", key_id="k2", cost_nano=4),
            ]
        )
        assert await ledger.spent_since(NOON) == [
            Spent(key_id="k1", user="alice", plan="free", gpu_us=30, nano_usd=3),
            Spent(key_id="k2", user="alice", plan="", gpu_us=0, nano_usd=4),
        ]


async def test_calls_are_counted_by_model_and_hour_with_those_still_open(tmp_path: Path) -> None:
    hour = int(NOON) // 3600
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle(
            [
                settled_row("old", started_at=NOON - 1),
                settled_row("a"),
                settled_row("a#1", kind="attempt"),
                settled_row("b", started_at=NOON + 3600, model="gpt"),
            ]
        )
        assert await ledger.calls_since(NOON) == {("minilm", hour): 2, ("gpt", hour + 1): 1}


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


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(settled_rows, max_size=12),
    group_by=st.lists(st.sampled_from(["user", "day", "kind"]), max_size=3, unique=True),
    limit=st.integers(1, 4),
)
def test_a_limit_tells_the_dearest_groups_and_the_sum_of_the_others(
    rows: list[LedgerRow], group_by: list[str], limit: int
) -> None:
    """Beside the same report without a limit."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]
    query = UsageQuery(group_by=tuple(group_by))

    async def check() -> None:
        async with ledger_of(rows) as ledger:
            whole = (await ledger.usage(query)).rows
            part = await ledger.usage(msgspec.structs.replace(query, limit=limit))
        assert part.rows == whole[:limit]
        assert part.groups_left_out == max(0, len(whole) - limit)
        others = whole[limit:]
        expected = None if not others else msgspec.structs.replace(total_of(others), group={})
        assert part.left_out == expected

    asyncio.run(check())
