"""Lists of single rows in SQLite's SQL, and how much a report has to visit."""

from __future__ import annotations

import sqlite3

import msgspec

from gateway.storage.base import LedgerRow
from gateway.storage.calendar import Calendar
from gateway.storage.queries import CallsQuery, UsageQuery
from gateway.storage.reports import (
    Statement,
    calendar_for,
    calls_sql,
    conditions_of,
    narrowed,
    needs_calendar,
)
from gateway.storage.rollups.archived import check_rows
from gateway.storage.rows import decode_settled
from gateway.storage.sqlite.dialect import SQLITE
from gateway.storage.sqlite.rows import SELECT_SETTLED
from gateway.types import MICRO


def rows_to_visit(connection: sqlite3.Connection, query: UsageQuery, most: int) -> int:
    """How many rows a report has to visit, by the conditions that an index serves; ``most`` where
    there are as many or more, so that the count is soon done. Raises sqlite3.Error."""
    query = narrowed(query)
    by_index = {name: value for name, value in query.where.items() if name == "user"}
    statement = Statement(SQLITE)
    conditions = conditions_of(msgspec.structs.replace(query, where=by_index), statement, None)
    sql = (
        "SELECT COUNT(*) FROM (SELECT 1 FROM entries "  # noqa: S608
        f"WHERE {' AND '.join(conditions) or 'TRUE'} LIMIT {most})"
    )
    count: int = connection.execute(sql, statement.values).fetchone()[0]
    return count


def run_calls(connection: sqlite3.Connection, query: CallsQuery) -> list[LedgerRow]:
    """As ``Ledger.calls`` says. Raises ValueError for a dimension that is none, and
    ReportRefused."""
    rows = narrowed(query.rows)
    check_rows(rows, archived_before(connection))
    calendar = _calendar(connection, rows)
    asked = msgspec.structs.replace(query, rows=rows)
    sql, values = calls_sql(asked, SELECT_SETTLED, SQLITE, calendar)
    return [decode_settled(row) for row in connection.execute(sql, values)]


def archived_before(connection: sqlite3.Connection) -> int:
    """Rows that began before are archived; microseconds since the epoch, 0 where none are."""
    return int(connection.execute("SELECT archived_before FROM rollup_state").fetchone()[0])


def reaches_back(connection: sqlite3.Connection, query: UsageQuery) -> bool:
    """Whether a report is of time whose rows are archived: it may be long, however few rows there
    are. Raises ValueError for a dimension that is none."""
    since = narrowed(query).since or 0.0
    return round(since * MICRO) < archived_before(connection)


def _calendar(connection: sqlite3.Connection, query: UsageQuery) -> Calendar | None:
    return calendar_for(query, *bounds(connection)) if needs_calendar(query) else None


def bounds(connection: sqlite3.Connection) -> tuple[int | None, int | None]:
    """When the first and the last row began."""
    # One at a time, an index answers.
    first, last = (
        connection.execute(f"SELECT {which}(started_at) FROM entries").fetchone()[0]  # noqa: S608
        for which in ("MIN", "MAX")
    )
    return first, last


def is_found_by_index(query: UsageQuery) -> bool:
    """Whether few more rows are visited than told: an index has the time, and a user's own; nearly
    all rows are calls."""
    others = {name: value for name, value in query.where.items() if name != "user"}
    return others in ({}, {"kind": "call"})
