"""Roll-ups in SQLite: made in small steps beside the writer, read with the rows that came since.

Rows are inserted in the order of their rowid, and only so; ``rollup_state`` names the last one that
is rolled up. By its id, for VACUUM gives rows new numbers and leaves their order as it is.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

from gateway.storage.base import StorageUnavailable
from gateway.storage.calendar import HOUR_US
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.storage.reports import Durations, calendar_for, narrowed, report_of
from gateway.storage.rollups import (
    GROUP,
    Reading,
    add_batch,
    batch_of,
    check_archived,
    cut_of,
)
from gateway.storage.row_archive import ArchiveSql
from gateway.storage.sqlite.dialect import SQLITE
from gateway.storage.sqlite.usage import bounds

BATCH_ROWS = 2_000
"""Rolled up in some twenty milliseconds, of which others may not write for two."""
_MANY = 100_000
_BATCH = "rollup_batch"
_NAMES = ", ".join(GROUP)
_SAME = " AND ".join(f"g.{name} = b.{name}" for name in GROUP)
_GROUPS = (
    f"INSERT INTO rollup_groups ({_NAMES}) SELECT DISTINCT {_NAMES} FROM {_BATCH} "  # noqa: S608
    "WHERE TRUE ON CONFLICT DO NOTHING"
)
_STATE = "SELECT rolled_up_to, archived_before FROM rollup_state"
_LAST = "(SELECT rowid FROM entries WHERE id = (SELECT rolled_up_to FROM rollup_state))"
ARCHIVE = ArchiveSql(
    rolled_up=f"rowid < {_LAST}",  # that one stays: it says how far the roll-ups reach
    waits=f"rowid > {_LAST}",
    waiting=f"SELECT COALESCE(MAX(rowid), 0) - COALESCE({_LAST}, 0) FROM entries",  # noqa: S608
)


def roll_up(connection: sqlite3.Connection, goes_on: Callable[[], bool]) -> int:
    """Rolls up what waits, a batch at a time, until nothing does or ``goes_on`` says no; how many
    rows that were. Others may write, and roll up, meanwhile. Raises StorageUnavailable and
    sqlite3.Error, which leave each batch whole or undone."""
    rows = 0
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16384")
    while found := _roll_up_batch(connection):
        rows += found
        if not goes_on():
            break
    return rows


def _roll_up_batch(connection: sqlite3.Connection) -> int:
    state = connection.execute(_STATE).fetchone()[0]
    first = rowid_of(connection, state)
    sql = f"SELECT rowid, id FROM entries WHERE rowid > {first} ORDER BY rowid LIMIT {BATCH_ROWS}"  # noqa: S608
    found = connection.execute(sql).fetchall()
    if not found:
        return 0
    last, name = found[-1]
    connection.execute(f"DROP TABLE IF EXISTS temp.{_BATCH}")
    source = f"rowid > {first} AND rowid <= {last}"
    connection.execute(f"CREATE TEMP TABLE {_BATCH} AS {batch_of(source)}")
    with _writing(connection):
        moved = connection.execute(
            "UPDATE rollup_state SET rolled_up_to = ? WHERE rolled_up_to = ?", (name, state)
        )
        if moved.rowcount:  # else another process has rolled them up
            connection.execute(_GROUPS)
            for statement in add_batch(_BATCH, _SAME):
                connection.execute(statement)
    return len(found)


def rowid_of(connection: sqlite3.Connection, id: str) -> int:
    """The number of the last row that is rolled up; 0 where none is. Raises StorageUnavailable
    where that row is gone: nobody knows then which rows the roll-ups have."""
    if not id:
        return 0
    found = connection.execute("SELECT rowid FROM entries WHERE id = ?", (id,)).fetchone()
    if found is None:
        raise StorageUnavailable(
            f"the ledger's roll-ups reach to the row {id!r}, which somebody has deleted"
        )
    return int(found[0])


@contextlib.contextmanager
def _writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def run_usage(
    connection: sqlite3.Connection, query: UsageQuery, *, by_rows: bool = False
) -> UsageReport:
    """``by_rows``: not from roll-ups, where rows tell. Raises ValueError for a dimension or a zone
    that is none or a bad day, and ReportRefused."""
    query = narrowed(query)
    connection.execute("BEGIN")  # what is rolled up and what waits are read at one moment
    try:
        state, archived_before = connection.execute(_STATE).fetchone()
        calendar = calendar_for(query, *_bounds(connection, archived_before))
        cut = cut_of(query, calendar)
        if by_rows and not (archived_before and cut):
            cut = None
        check_archived(query, cut, archived_before)
        waiting = _waiting(connection, rowid_of(connection, state))
        reading = Reading(query, SQLITE, calendar, cut, waiting)
        report = report_of(query, connection.execute(*reading.sums()).fetchall(), calendar)
        if not query.durations:
            return report
        durations = Durations(query, report, calendar)
        for row in connection.execute(*reading.durations()):
            durations.add(row)
        return durations.report()
    finally:
        connection.execute("COMMIT")


def _waiting(connection: sqlite3.Connection, rolled_up_to: int) -> str:
    """The condition of rows that wait. While many do, it is no way to find them: the report's time
    may be."""
    last = connection.execute("SELECT MAX(rowid) FROM entries").fetchone()[0] or 0
    return f"{'+' if last - rolled_up_to > _MANY else ''}rowid > {rolled_up_to}"


def _bounds(connection: sqlite3.Connection, archived_before: int) -> tuple[int | None, ...]:
    known = bounds(connection)
    if not archived_before:
        return known
    oldest = connection.execute("SELECT MIN(start) FROM rollups WHERE span = 24").fetchone()[0]
    return *known, archived_before, None if oldest is None else oldest * HOUR_US
