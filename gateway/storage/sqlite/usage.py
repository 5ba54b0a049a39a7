"""``/usage`` and ``/usage/calls`` in SQLite's SQL."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from gateway.storage.reports import Dialect, calls_sql, conditions_of, report_of, usage_sql
from gateway.storage.rows import decode_settled
from gateway.storage.sqlite.rows import SELECT_SETTLED

SQLITE = Dialect(
    parameter=lambda number: "?",
    tag=lambda mark: f"COALESCE(json_extract(tags, {mark}), '')",
    tag_value=lambda name: f'$."{name}"',
    # The plus keeps SQLite from walking an index in the order of a group: it would visit every
    # row of the ledger at random, where the time asked for, or the table's own order, is cheaper.
    grouped="+",
)


def rows_to_visit(connection: sqlite3.Connection, query: UsageQuery, most: int) -> int:
    """How many rows a report has to visit, by the conditions that an index serves; ``most`` where
    there are as many or more, so that the count is soon done. Raises sqlite3.Error."""
    by_index = {name: value for name, value in query.where.items() if name == "user"}
    values: list[Any] = []
    conditions = conditions_of(msgspec.structs.replace(query, where=by_index), values, SQLITE)
    sql = (
        "SELECT COUNT(*) FROM (SELECT 1 FROM entries "  # noqa: S608
        f"WHERE {' AND '.join(conditions) or 'TRUE'} LIMIT ?)"
    )
    count: int = connection.execute(sql, [*values, most]).fetchone()[0]
    return count


def run_usage(connection: sqlite3.Connection, query: UsageQuery) -> UsageReport:
    """Raises ValueError for a dimension that is none or a bad day, and ReportRefused for more than
    ``MAX_GROUPS`` groups where the query has no limit."""
    sql, values = usage_sql(query, SQLITE)
    return report_of(query, connection.execute(sql, values).fetchall())


def run_calls(connection: sqlite3.Connection, query: CallsQuery) -> list[LedgerRow]:
    """As ``Ledger.calls`` says. Raises ValueError for a dimension that is none."""
    sql, values = calls_sql(query, SELECT_SETTLED, SQLITE)
    return [decode_settled(row) for row in connection.execute(sql, values)]


def is_found_by_index(query: UsageQuery) -> bool:
    """Whether few more rows are visited than told: an index has the time, and a user's own; nearly
    all rows are calls."""
    others = {name: value for name, value in query.where.items() if name != "user"}
    return others in ({}, {"kind": "call"})
