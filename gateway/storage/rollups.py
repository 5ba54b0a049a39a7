"""Roll-ups: the sums of an hour and of a day, for each group of rows that are alike.

A group is a value of every dimension that is a column, and all tags; ``rollups`` has the sums of
each group for each hour (``span`` 1) and UTC day (``span`` 24) in which it had rows, and
``rollup_durations`` how long its calls took. They are made of settled rows, which never change, in
the background: every row is rolled up once, whenever it comes, into the hour in which it began.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from gateway.storage.base import ReportRefused
from gateway.storage.calendar import HOUR_US, MOMENTS, Calendar
from gateway.storage.durations import bucket_sql
from gateway.storage.queries import UsageQuery
from gateway.storage.reports import (
    COLUMNS,
    SUMMED,
    Dialect,
    Statement,
    durations_of,
    filters_of,
    row_durations,
    rows_part,
    sum_of,
)
from gateway.types import MICRO

SPANS = (1, 24)
"""Hours that one roll-up is of."""
GROUP = (*COLUMNS.values(), "tags")
"""The columns that make a group."""
_SUMS = ("entries", "cold_starts", *SUMMED)
_KEY = ("span", "start", "group_id")
"""Those of an hour lie side by side, so that what is added touches few pages."""
_TABLES = (("rollups", _KEY, _SUMS), ("rollup_durations", (*_KEY, "bucket"), ("entries",)))
_CALL = "b.kind = 'call'"
_BATCH_SUMS = {
    "entries": "COUNT(*)",
    "cold_starts": "COUNT(*) FILTER (WHERE cold_us > 0)",
    **{name: f"CAST(SUM({name}) AS BIGINT)" for name in SUMMED},
}
_ERROR = "g.kind = 'call' AND g.outcome IN ('error', 'interrupted')"
_MEASURES = {
    "calls": "CASE WHEN g.kind = 'call' THEN r.entries ELSE 0 END",
    "errors": f"CASE WHEN {_ERROR} THEN r.entries ELSE 0 END",
    "refused": f"CASE WHEN {_ERROR} AND g.backend = '' THEN r.entries ELSE 0 END",
    "cold_starts": "r.cold_starts",
    **{name: f"r.{name}" for name in SUMMED},
    "idle_nano": "CASE WHEN g.kind = 'idle' THEN r.cost_nano ELSE 0 END",
}
_START_US = f"(r.start * {HOUR_US})"


# --- the tables ----------------------------------------------------------------------------------


class Types(msgspec.Struct, frozen=True):
    """How a database writes the types of the tables' columns."""

    text: str
    integer: str
    tags: str
    group_id: str
    """Of a number that it gives itself, and what else a group has."""
    ends: str = ""
    """Behind a table without other order than its key's."""


def tables(types: Types) -> list[str]:
    """The statements that make them."""
    group = ", ".join(
        f"{name} {types.tags if name == 'tags' else types.text} NOT NULL" for name in GROUP
    )
    return [
        f"CREATE TABLE rollup_groups ({types.group_id}, {group})",
        *(
            f"CREATE TABLE {table} ({_columns((*key, *sums), types)}, "
            f"PRIMARY KEY ({', '.join(key)})){types.ends}"
            for table, key, sums in _TABLES
        ),
    ]


def _columns(names: Iterable[str], types: Types) -> str:
    return ", ".join(f"{name} {types.integer} NOT NULL" for name in names)


# --- rows that are rolled up ---------------------------------------------------------------------


def batch_of(source: str) -> str:
    """Settled rows by hour, group and, of calls, how long they took; ``source`` is the condition
    that says which."""
    sums = ", ".join(f"{sql} AS {name}" for name, sql in _BATCH_SUMS.items())
    bucket = f"CASE WHEN kind = 'call' THEN {bucket_sql()} ELSE 0 END"
    return (
        f"SELECT started_at / {HOUR_US} AS start, {', '.join(GROUP)}, {bucket} AS bucket, "  # noqa: S608
        f"{sums} FROM entries WHERE {source} "
        f"GROUP BY started_at / {HOUR_US}, {', '.join(GROUP)}, {bucket}"
    )


def add_batch(batch: str, same_group: str) -> list[str]:
    """The statements that add ``batch`` (a table, or a query in brackets) to the roll-ups;
    ``same_group`` says when ``b`` of it is of the group ``g``."""
    return [
        _add(table, key, sums, batch, same_group, span)
        for table, key, sums in _TABLES
        for span in SPANS
    ]


def _add(
    table: str,
    key: tuple[str, ...],
    sums: tuple[str, ...],
    batch: str,
    same_group: str,
    span: int,
) -> str:
    start = "b.start" if span == 1 else f"b.start / {span} * {span}"
    of_calls = "bucket" in key
    grouped = f"{start}, g.id{', b.bucket' if of_calls else ''}"
    added = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    columns = ", ".join(f"CAST(SUM(b.{name}) AS BIGINT)" for name in sums)
    return (
        f"INSERT INTO {table} ({', '.join((*key, *sums))}) "  # noqa: S608
        f"SELECT {span}, {grouped}, {columns} "
        f"FROM {batch} AS b JOIN rollup_groups AS g ON {same_group} "
        f"WHERE {_CALL if of_calls else 'TRUE'} GROUP BY {grouped} "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {added}"
    )


# --- reports of them -----------------------------------------------------------------------------


class Cut(msgspec.Struct, frozen=True):
    """How a query's time is taken apart: whole hours of UTC, of which whole days, and what is left
    at its ends. Hours are counted from the epoch, instants are microseconds; None has no end."""

    hours: tuple[int | None, int | None]
    days: tuple[int | None, int | None] | None
    """Of the hours; None where the report is of hours."""
    ends: tuple[tuple[int, int], ...]
    """Parts of an hour."""

    def spans(self) -> Iterator[tuple[int, int | None, int | None]]:
        """(hours of a roll-up, first, one past the last)."""
        first, last = self.hours
        if self.days is None:
            yield 1, first, last
            return
        begin, end = self.days
        yield 24, begin, end
        if first != begin:
            yield 1, first, begin
        if last != end:
            yield 1, end, last


def cut_of(query: UsageQuery, calendar: Calendar | None) -> Cut | None:
    """How a narrowed query is answered from roll-ups; None where rows alone tell: its hours are
    none of UTC's, or there is no whole one."""
    moments = {name for name in (*query.group_by, *query.where) if name in MOMENTS}
    if moments and calendar is not None and not calendar.in_whole_hours:
        return None
    of_hours = bool(moments - {"day", "month"} if query.zone == "UTC" else moments)
    since = None if query.since is None else round(query.since * MICRO)
    until = None if query.until is None else round(query.until * MICRO)
    first = None if since is None else -(-since // HOUR_US)
    last = None if until is None else until // HOUR_US
    if first is not None and last is not None and first >= last:
        return None
    ends = []
    if since is not None and first is not None and since < first * HOUR_US:
        ends.append((since, first * HOUR_US))
    if until is not None and last is not None and last * HOUR_US < until:
        ends.append((last * HOUR_US, until))
    return Cut((first, last), None if of_hours else _days(first, last), tuple(ends))


def _days(first: int | None, last: int | None) -> tuple[int | None, int | None] | None:
    begin = None if first is None else -(-first // 24) * 24
    end = None if last is None else last // 24 * 24
    return None if begin is not None and end is not None and begin >= end else (begin, end)


def check_archived(query: UsageQuery, cut: Cut | None, before_us: int) -> None:
    """Raises ReportRefused where rows tell what a report is of, and those are archived."""
    if not before_us:
        return
    if cut is None:
        begins = [0 if query.since is None else round(query.since * MICRO)]
    else:
        begins = [begin for begin, _ in cut.ends]
    if any(begin < before_us for begin in begins):
        raise archived(before_us)


def check_rows(query: UsageQuery, before_us: int) -> None:
    """Raises ReportRefused for a list of a narrowed query that begins in time whose rows are
    archived. One that has no beginning is told down to there."""
    if query.since is not None and round(query.since * MICRO) < before_us:
        raise ReportRefused(
            "archived",
            f"Rows of before {_when(before_us)} are archived. Ask for calls from then on; those "
            "before are in the files of store.keep.archive, and /usage has their sums.",
        )


def archived(before_us: int) -> ReportRefused:
    """Of a report that takes rows which are archived."""
    return ReportRefused(
        "archived",
        f"Rows of before {_when(before_us)} are archived; sums by whole hours of UTC are "
        "kept. Ask from a whole hour to a whole hour, in a zone whose hours are whole, or for a "
        "later time.",
    )


def _when(at_us: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_us // MICRO, datetime.UTC):%Y-%m-%dT%H:%MZ}"


class Reading(msgspec.Struct, frozen=True):
    """A narrowed query, and how it is read."""

    query: UsageQuery
    dialect: Dialect
    calendar: Calendar | None
    cut: Cut | None
    """None: from rows alone."""
    waiting: str
    """The condition of rows that wait to be rolled up."""

    def sums(self) -> tuple[str, list[Any]]:
        """The statement of its report, and the parameters."""
        statement = Statement(self.dialect)
        parts = [_part(self.query, statement, self.calendar, *span) for span in self._spans()]
        for query, conditions in self._rows():
            parts.append(rows_part(query, statement, self.calendar, *conditions))
        return sum_of(self.query, parts), statement.values

    def durations(self) -> tuple[str, list[Any]]:
        """The same of how long calls took."""
        statement = Statement(self.dialect)
        parts = [
            _durations_part(self.query, statement, self.calendar, *span) for span in self._spans()
        ]
        for query, conditions in self._rows():
            parts.append(row_durations(query, statement, self.calendar, *conditions))
        return durations_of(self.query, parts), statement.values

    def _spans(self) -> Iterable[tuple[int, int | None, int | None]]:
        return () if self.cut is None else self.cut.spans()

    def _rows(self) -> Iterator[tuple[UsageQuery, list[str]]]:
        """What is read as rows: queries, and what else must hold for them."""
        if self.cut is None:
            yield self.query, []
            return
        timeless = msgspec.structs.replace(self.query, since=None, until=None)
        for begin, end in self.cut.ends:
            yield timeless, [f"started_at >= {begin}", f"started_at < {end}"]
        first, last = self.cut.hours
        later = [] if first is None else [f"started_at >= {first * HOUR_US}"]
        earlier = [] if last is None else [f"started_at < {last * HOUR_US}"]
        yield timeless, [self.waiting, *later, *earlier]


def _part(
    query: UsageQuery,
    statement: Statement,
    calendar: Calendar | None,
    span: int,
    first: int | None,
    last: int | None,
) -> str:
    """Roll-ups of one span from ``first`` to before ``last``, added up by their group, and by the
    moments that the report is of."""
    columns = _groups(query, statement, calendar)
    columns += [f"CAST(SUM({sql}) AS BIGINT) AS {name}" for name, sql in _MEASURES.items()]
    where = _where(query, statement, calendar, span, first, last)
    return (
        f"SELECT {', '.join(columns)} FROM {_joined('rollups')} WHERE {where} "  # noqa: S608
        f"GROUP BY {_grouping(query)}"
    )


def _durations_part(
    query: UsageQuery,
    statement: Statement,
    calendar: Calendar | None,
    span: int,
    first: int | None,
    last: int | None,
) -> str:
    columns = _groups(query, statement, calendar)
    columns += ["r.bucket AS bucket", "CAST(SUM(r.entries) AS BIGINT) AS calls"]
    where = _where(query, statement, calendar, span, first, last)
    return (
        f"SELECT {', '.join(columns)} FROM {_joined('rollup_durations')} WHERE {where} "  # noqa: S608
        f"GROUP BY {_grouping(query, ', r.bucket')}"
    )


def _joined(table: str) -> str:
    # A cross join keeps this order in SQLite: there are far more roll-ups than groups.
    return f"{table} AS r CROSS JOIN rollup_groups AS g"


def _groups(query: UsageQuery, statement: Statement, calendar: Calendar | None) -> list[str]:
    return [
        f"{statement.dimension(name, _START_US, calendar, 'g.')} AS g{index}"
        for index, name in enumerate(query.group_by)
    ]


def _where(
    query: UsageQuery,
    statement: Statement,
    calendar: Calendar | None,
    span: int,
    first: int | None,
    last: int | None,
) -> str:
    conditions = [f"r.span = {span}"]
    conditions += [] if first is None else [f"r.start >= {first}"]
    conditions += [] if last is None else [f"r.start < {last}"]
    conditions.append("g.id = r.group_id")
    return " AND ".join(conditions + filters_of(query, statement, calendar, _START_US, "g."))


def _grouping(query: UsageQuery, then: str = "") -> str:
    """What roll-ups are added up by. Where only moments are asked for, that is the hour or day of a
    roll-up: its table has that order, and nothing needs to be sorted."""
    if all(name in MOMENTS for name in query.group_by):
        return f"r.start{then}"
    moments = (f", g{index}" for index, name in enumerate(query.group_by) if name in MOMENTS)
    return f"g.id{then}{''.join(moments)}"
