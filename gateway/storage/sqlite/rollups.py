"""Roll-ups in SQLite: made in small steps beside the writer, read with the rows that came since.

Rows are inserted in the order of their rowid, and only so; ``rollup_state`` names the last one that
is rolled up. By its id, for VACUUM gives rows new numbers and leaves their order as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from gateway.storage.base import StorageUnavailable
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.storage.reports import Durations, calendar_for, narrowed, report_of
from gateway.storage.rollups.adding import BATCH, add, batch_of, parts_of
from gateway.storage.rollups.archived import check_archived
from gateway.storage.rollups.cubes import DAY, FULL, GROUP, QUARTER_US, TOTAL
from gateway.storage.rollups.cuts import cut_of
from gateway.storage.rollups.four_weeks import WHOLE
from gateway.storage.rollups.reading import Reading, Unsummed
from gateway.storage.rollups.spending import Sources, spent_statement
from gateway.storage.row_archive import ArchiveSql
from gateway.storage.spent import Spent, SpentQuery, spent_of
from gateway.storage.sqlite.dialect import SQLITE
from gateway.storage.sqlite.rollup_tables import PLACING, same
from gateway.storage.sqlite.transactions import writing
from gateway.storage.sqlite.usage import bounds

BATCH_ROWS = 2_000
"""Of the first batch, which says how many rows the next one has."""
_BATCH_SUMS = 16_000
"""So many are added in some fifteen milliseconds, in which others may not write."""
_LEAST_ROWS, _MOST_ROWS = 1_000, 25_000
_MANY = 100_000
_NEW = "rollup_new"
_NAMES = ", ".join(GROUP)
_GROUP = f"(SELECT g.id FROM {FULL.groups} AS g WHERE {same('g', 'entries')})"  # noqa: S608
_UNKNOWN = f"SELECT 1 FROM temp.{BATCH} WHERE full_id IS NULL LIMIT 1"  # noqa: S608
_ADD_GROUPS = (
    f"INSERT INTO {FULL.groups} ({_NAMES}) SELECT DISTINCT {_NAMES} FROM temp.{_NEW} "  # noqa: S608
    "WHERE TRUE ON CONFLICT DO NOTHING",
    *PLACING,
)
_OF_NEW = f"entries WHERE rowid IN (SELECT number FROM temp.{_NEW})"  # noqa: S608
_SUM_NEW = (
    f"DELETE FROM temp.{BATCH} WHERE full_id IS NULL",  # noqa: S608
    f"INSERT INTO temp.{BATCH} {batch_of(_OF_NEW, _GROUP)}",
)
_TABLES = parts_of()
_ADD = tuple(add())
_STATE = "SELECT rolled_up_to, archived_before, quarters_from FROM rollup_state"
_LAST = "(SELECT rowid FROM entries WHERE id = (SELECT rolled_up_to FROM rollup_state))"
ARCHIVE = ArchiveSql(
    rolled_up=f"rowid < {_LAST}",  # that one stays: it says how far the roll-ups reach
    waits=f"rowid > {_LAST}",
    waiting=f"SELECT COALESCE(MAX(rowid), 0) - COALESCE({_LAST}, 0) FROM entries",  # noqa: S608
)


class BatchSize:
    """How many rows are rolled up at once: the more of them share a sum, the more."""

    def __init__(self) -> None:
        self.rows = BATCH_ROWS

    def learn(self, rows: int, sums: int) -> None:
        """So many rows were added to so many sums. What was left at the end tells nothing: fewer
        rows share fewer sums."""
        if rows < self.rows and sums <= _BATCH_SUMS:
            return
        fit = rows * _BATCH_SUMS // max(1, sums)
        self.rows = max(_LEAST_ROWS, min(_MOST_ROWS, 8 * rows, fit))


def roll_up(
    connection: sqlite3.Connection,
    goes_on: Callable[[], bool],
    least: int = 1,
    size: BatchSize | None = None,
) -> int:
    """Rolls up what waits, a batch at a time, until fewer rows than ``least`` do or ``goes_on``
    says no; how many rows that were. ``size`` learns from each batch. Others may write, and roll
    up, meanwhile. Raises StorageUnavailable and sqlite3.Error, which leave each batch whole or
    undone."""
    rows, size = 0, size or BatchSize()
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16384")
    # Whoever writes the calls never comes to a log so long that it has to be folded in there.
    connection.execute("PRAGMA wal_autocheckpoint = 4096")
    while connection.execute(ARCHIVE.waiting).fetchone()[0] >= least:
        found = _roll_up_batch(connection, size)
        rows += found
        if not found or not goes_on():
            break
    return rows


def _roll_up_batch(connection: sqlite3.Connection, size: BatchSize) -> int:
    state = connection.execute(_STATE).fetchone()[0]
    first = rowid_of(connection, state)
    last = connection.execute(
        "SELECT MAX(rowid), COUNT(*) FROM (SELECT rowid FROM entries WHERE rowid > ? "
        "ORDER BY rowid LIMIT ?)",
        (first, size.rows),
    ).fetchone()
    if not last[1]:
        return 0
    [name] = connection.execute("SELECT id FROM entries WHERE rowid = ?", last[:1]).fetchone()
    _sum_up(connection, f"rowid > {first} AND rowid <= {last[0]}")
    before = connection.total_changes
    with writing(connection):
        moved = connection.execute(
            "UPDATE rollup_state SET rolled_up_to = ? WHERE rolled_up_to = ?", (name, state)
        )
        if moved.rowcount:  # else another process has rolled them up
            for statement in _ADD:
                connection.execute(statement)
            size.learn(last[1], connection.total_changes - before)
    return int(last[1])


def _sum_up(connection: sqlite3.Connection, source: str) -> None:
    """Makes the tables of what is to be added, while others may write; a group that is new may be
    known before it has sums."""
    connection.execute("BEGIN")  # a group that is new is so for both statements
    try:
        _make(connection, BATCH, batch_of(f"entries WHERE {source}", _GROUP))
        if unknown := connection.execute(_UNKNOWN).fetchone():
            _make(connection, _NEW, f"SELECT rowid AS number, {_NAMES} FROM entries {_new(source)}")  # noqa: S608
    finally:
        connection.execute("COMMIT")
    if unknown:
        _add_groups(connection)
    for table, query in _TABLES.items():
        _make(connection, table, query)


def _new(source: str) -> str:
    return f"WHERE {source} AND {_GROUP} IS NULL"


def _add_groups(connection: sqlite3.Connection) -> None:
    with writing(connection):
        for statement in _ADD_GROUPS:
            connection.execute(statement)
    for statement in _SUM_NEW:
        connection.execute(statement)


def _make(connection: sqlite3.Connection, table: str, query: str) -> None:
    """Fills a table of the connection's own, which it makes but once: with each new table SQLite
    reads every statement anew."""
    none = f"SELECT * FROM ({query}) LIMIT 0"  # noqa: S608
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} AS {none}")
    connection.execute(f"DELETE FROM temp.{table}")  # noqa: S608
    connection.execute(f"INSERT INTO temp.{table} {query}")


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


def run_usage(
    connection: sqlite3.Connection, query: UsageQuery, *, by_rows: bool = False
) -> UsageReport:
    """``by_rows``: not from roll-ups, where rows tell. Raises ValueError for a dimension or a zone
    that is none or a bad day, and ReportRefused."""
    query = narrowed(query)
    connection.execute("BEGIN")  # what is rolled up and what waits are read at one moment
    try:
        state, archived_before, quarters_from = connection.execute(_STATE).fetchone()
        calendar = calendar_for(query, *_bounds(connection, archived_before))
        waiting = _waiting(connection, rowid_of(connection, state))
        over = [start for (start,) in connection.execute(WHOLE)]

        def reading(timed: bool) -> Reading:
            cut = cut_of(query, calendar, quarters_from=quarters_from, timed=timed, over=over)
            if by_rows and not (archived_before and cut):
                cut = None
            check_archived(query, cut, archived_before)
            return Reading(query, SQLITE, calendar, cut, waiting)

        found = connection.execute(*reading(False).sums()).fetchall()
        report = report_of(query, found, calendar)
        if not query.durations:
            return report
        durations = Durations(query, report, calendar)
        for row in connection.execute(*reading(True).durations()):
            durations.add(row)
        return durations.report()
    finally:
        connection.execute("COMMIT")


def run_spent(
    connection: sqlite3.Connection, queries: Sequence[SpentQuery], begun: Callable[[], None]
) -> list[list[Spent]]:
    """As ``Ledger.sums`` says. Raises StorageUnavailable."""
    connection.execute("BEGIN")
    try:
        state, _, quarters_from = connection.execute(_STATE).fetchone()  # it is as of now
        begun()
        waiting = _waiting(connection, rowid_of(connection, state))
        sources = Sources(waiting, quarters_from, bounds(connection)[1] or 0)
        return [
            [spent_of(one.side, row) for row in connection.execute(spent_statement(one, sources))]
            for one in queries
        ]
    finally:
        connection.execute("COMMIT")


def _waiting(connection: sqlite3.Connection, rolled_up_to: int) -> Unsummed:
    """While many wait, that is no way to find them: the report's time may be. Of what has a plus
    before it, SQLite takes no index."""
    last = connection.execute("SELECT MAX(rowid) FROM entries").fetchone()[0] or 0
    if last - rolled_up_to > _MANY:
        return Unsummed(f"+rowid > {rolled_up_to}")
    return Unsummed(f"rowid > {rolled_up_to}", "+started_at")


def _bounds(connection: sqlite3.Connection, archived_before: int) -> tuple[int | None, ...]:
    known = bounds(connection)
    if not archived_before:
        return known
    sql = f"SELECT MIN(start) FROM {TOTAL.sums} WHERE span = {DAY}"  # noqa: S608
    oldest = connection.execute(sql).fetchone()[0]
    return *known, archived_before, None if oldest is None else oldest * QUARTER_US
