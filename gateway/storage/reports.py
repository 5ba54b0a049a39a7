"""``/usage`` as SQL, in the dialect of each store. Names come from the tables below, values and tag
names are parameters.

A report is a sum over parts: rows, and hours or days that are rolled up (``rollups``). Each part
gives the same columns, so that a report is the same however it is cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.storage.base import ReportRefused
from gateway.storage.calendar import (
    MOMENTS,
    Calendar,
    calendar_of,
    hour_of_week,
    interval_of,
    zone_of,
)
from gateway.storage.durations import BUCKETS, bucket_sql
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport, UsageRow
from gateway.types import MICRO

MAX_GROUPS = 50_000
"""A report of more groups is told in part only where its query has a limit."""
MAX_TIMED_GROUPS = 5_000
"""The most groups of which it is told how long calls took."""

COLUMNS = {
    "user": '"user"',
    "key": "key_id",
    "plan": "plan",
    "model": "model",
    "task": "task",
    "backend": "backend",
    "price": "price",
    "outcome": "outcome",
    "reason": "reason",
    "kind": "kind",
    "error": "error",
    "route": "route",
}
"""Dimensions that are a column."""
SUMMED = ("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us", "cost_nano")
_TAG = re.compile(r"tag:([\w.:/-]{1,64})\Z")
_ERROR = "kind = 'call' AND outcome IN ('error', 'interrupted')"
MEASURES = {
    "calls": "CASE WHEN kind = 'call' THEN 1 ELSE 0 END",
    "errors": f"CASE WHEN {_ERROR} THEN 1 ELSE 0 END",
    "refused": f"CASE WHEN {_ERROR} AND backend = '' THEN 1 ELSE 0 END",
    "cold_starts": "CASE WHEN cold_us > 0 THEN 1 ELSE 0 END",
    **{name: name for name in SUMMED},
    "idle_nano": "CASE WHEN kind = 'idle' THEN cost_nano ELSE 0 END",
}
"""What a report adds up, of one row."""


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of database writes what they do not write alike."""

    parameter: Callable[[int], str]
    """The mark of the first, second ... parameter."""
    tag: Callable[[str, str], str]
    """A row's tag, empty where it has none, by the column of its tags and the mark of a parameter
    that names it."""
    tag_value: Callable[[str], str]
    """That parameter, by the tag's name."""
    grouped: str = ""
    """Stands before what a report is grouped by."""


class Statement:
    """SQL as it is written, from its beginning to its end, and the parameters in their order."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.values: list[Any] = []

    def value(self, value: Any) -> str:
        """The mark of one more parameter."""
        self.values.append(value)
        return self.dialect.parameter(len(self.values))

    def dimension(self, name: str, instant: str, calendar: Calendar | None, table: str = "") -> str:
        """SQL for a dimension of a row of ``table``. Raises ValueError for one that is none."""
        if name in COLUMNS:
            return f"{table}{COLUMNS[name]}"
        if name in MOMENTS:
            assert calendar is not None, "a report by time has a calendar"
            return calendar.expression(name, instant)
        tag = _TAG.match(name)
        if tag is None:
            raise ValueError(f"{name!r} is no dimension; they are {_known()} and tag:NAME")
        return self.dialect.tag(f"{table}tags", self.value(self.dialect.tag_value(tag[1])))


def _known() -> str:
    return ", ".join((*COLUMNS, *MOMENTS))


def check(query: UsageQuery) -> None:
    """Raises ValueError for a dimension or a zone that is none."""
    zone_of(query.zone)
    for name in (*query.group_by, *query.where):
        if name not in COLUMNS and name not in MOMENTS and _TAG.match(name) is None:
            raise ValueError(f"{name!r} is no dimension; they are {_known()} and tag:NAME")


def columns_of(query: UsageQuery) -> frozenset[str]:
    """The columns of rows that tell its dimensions, moments apart."""
    names = (name for name in (*query.group_by, *query.where) if name not in MOMENTS)
    return frozenset(COLUMNS.get(name, "tags") for name in names)


def moments_of(query: UsageQuery) -> frozenset[str]:
    """Its dimensions that are read from when a call began."""
    return frozenset(name for name in (*query.group_by, *query.where) if name in MOMENTS)


def narrowed(query: UsageQuery) -> UsageQuery:
    """The same query, where a day, an hour or a month that is asked for is a bound of its time.
    Raises ValueError."""
    check(query)
    zone = zone_of(query.zone)
    since, until = query.since, query.until
    where = dict(query.where)
    for name in ("month", "day", "hour"):
        if name in where:
            begin, end = interval_of(name, where.pop(name), zone)
            since = begin if since is None else max(since, begin)
            until = end if until is None else min(until, end)
    return msgspec.structs.replace(query, since=since, until=until, where=where)


def needs_calendar(query: UsageQuery) -> bool:
    """Whether anything of it is a moment."""
    return bool(moments_of(query))


def calendar_for(query: UsageQuery, *known: int | None) -> Calendar | None:
    """That of a narrowed query, over what it asks for of what is between the instants that are
    ``known``; None where it needs none."""
    if not needs_calendar(query):
        return None
    there = [at for at in known if at is not None] or [0]
    first = max(min(there), round((query.since or 0.0) * MICRO))
    last = max(there) if query.until is None else min(max(there), round(query.until * MICRO))
    return calendar_of(zone_of(query.zone), first, last)


# --- the statement -----------------------------------------------------------------------------


def rows_part(
    query: UsageQuery, statement: Statement, calendar: Calendar | None, *more: str
) -> str:
    """Each row of a narrowed query as a row of a report; ``more`` are conditions."""
    return _rows(query, statement, calendar, MEASURES, more)


def row_durations(
    query: UsageQuery, statement: Statement, calendar: Calendar | None, *more: str
) -> str:
    """The same of how long calls took."""
    columns = {"bucket": bucket_sql(), "calls": "1"}
    return _rows(query, statement, calendar, columns, ("kind = 'call'", *more))


def _rows(
    query: UsageQuery,
    statement: Statement,
    calendar: Calendar | None,
    named: Mapping[str, str],
    more: Sequence[str],
) -> str:
    grouped = statement.dialect.grouped
    columns = [
        f"{grouped}{statement.dimension(name, 'started_at', calendar)} AS g{index}"
        for index, name in enumerate(query.group_by)
    ]
    columns += [f"{sql} AS {name}" for name, sql in named.items()]
    conditions = [*conditions_of(query, statement, calendar), *more]
    return f"SELECT {', '.join(columns)} FROM entries WHERE {' AND '.join(conditions) or 'TRUE'}"  # noqa: S608


def sum_of(query: UsageQuery, parts: Sequence[str]) -> str:
    """The statement that adds its parts up; with a limit its groups are told and summed from one
    table, so that it goes through each part once."""
    names = "".join(f", g{index}" for index in range(len(query.group_by)))
    grouped = (
        f"SELECT {names.removeprefix(', ')}{', ' if names else ''}{_SUMS} "  # noqa: S608
        f"FROM ({' UNION ALL '.join(parts)}) AS parts"
    )
    if names:
        grouped += f" GROUP BY {names.removeprefix(', ')}"
    if query.limit is not None:
        return _limited(grouped, names, query.limit)
    if query.every_group:
        return grouped
    return f"{grouped} ORDER BY cost_nano DESC{names} LIMIT {MAX_GROUPS + 1}"


_SUMS = ", ".join(f"CAST(COALESCE(SUM({name}), 0) AS BIGINT) AS {name}" for name in MEASURES)


def _limited(grouped: str, names: str, limit: int) -> str:
    """(1, NULL, groups, sums) for each group told, then (0, their number, NULLs, sums of all)."""
    empty = "NULL, " * names.count(",")
    return (
        f"WITH grouped AS ({grouped}) "  # noqa: S608
        "SELECT * FROM (SELECT 1 AS told, CAST(NULL AS BIGINT) AS counted, * FROM grouped "
        f"ORDER BY cost_nano DESC{names} LIMIT {limit}) AS dearest "
        f"UNION ALL SELECT 0, COUNT(*), {empty}{_SUMS} FROM grouped "
        f"ORDER BY told DESC, cost_nano DESC{names}"
    )


def durations_of(query: UsageQuery, parts: Sequence[str]) -> str:
    """The statement that counts the calls of each group by their bucket: (groups, bucket,
    calls)."""
    names = "".join(f"g{index}, " for index in range(len(query.group_by)))
    return (
        f"SELECT {names}bucket, CAST(SUM(calls) AS BIGINT) "  # noqa: S608
        f"FROM ({' UNION ALL '.join(parts)}) AS parts GROUP BY {names}bucket"
    )


def calls_sql(
    query: CallsQuery, select: str, dialect: Dialect, calendar: Calendar | None
) -> tuple[str, list[Any]]:
    """The statement for a page of single rows, newest first, and its parameters; ``rows`` are
    narrowed."""
    statement = Statement(dialect)
    conditions = conditions_of(query.rows, statement, calendar)
    if query.before is not None:
        at = round(query.before.started_at * MICRO)
        # The first of the two is the one that an index serves.
        conditions.append(f"started_at <= {statement.value(at)}")
        after = (statement.value(at), statement.value(query.before.id))
        conditions.append(f"(started_at, id) < ({', '.join(after)})")
    sql = (
        f"{select} WHERE {' AND '.join(conditions) or 'TRUE'} "
        f"ORDER BY started_at DESC, id DESC LIMIT {query.most}"
    )
    return sql, statement.values


def conditions_of(query: UsageQuery, statement: Statement, calendar: Calendar | None) -> list[str]:
    """On rows, of a narrowed query."""
    conditions = []
    for sign, bound in ((">=", query.since), ("<", query.until)):
        if bound is not None:
            conditions.append(f"started_at {sign} {statement.value(round(bound * MICRO))}")
    return conditions + filters_of(query, statement, calendar, "started_at")


def filters_of(
    query: UsageQuery,
    statement: Statement,
    calendar: Calendar | None,
    instant: str,
    table: str = "",
) -> list[str]:
    """The values that dimensions must have. Raises ValueError for an hour of the week that is
    none."""
    return [
        f"{statement.dimension(name, instant, calendar, table)} = "
        f"{statement.value(hour_of_week(wanted) if name == 'hour_of_week' else wanted)}"
        for name, wanted in query.where.items()
    ]


# --- what it found -----------------------------------------------------------------------------


def report_of(
    query: UsageQuery, found: Sequence[Sequence[Any]], calendar: Calendar | None
) -> UsageReport:
    """What the statement found. Raises ReportRefused for more groups than may be told, where the
    query has no limit."""
    if query.limit is not None:
        return _part(query, found, calendar)
    if len(found) > MAX_GROUPS and not query.every_group:
        raise _too_many(MAX_GROUPS)
    return UsageReport(rows=[_usage_row(query, row, calendar) for row in found])


def _too_many(most: int) -> ReportRefused:
    return ReportRefused(
        "too_many_groups",
        f"The report has more than {most} groups. Ask for the dearest of them by limit, "
        "for a shorter time by from and to, or for fewer dimensions in group_by.",
    )


def _part(
    query: UsageQuery, found: Sequence[Sequence[Any]], calendar: Calendar | None
) -> UsageReport:
    """Of a statement with a limit: the groups that it told, and behind them the sum of all."""
    *told, (_, groups, *sums) = (tuple(row) for row in found)
    missing = groups - len(told)
    rows = [_usage_row(query, row[2:], calendar) for row in told]
    if not missing:
        return UsageReport(rows=rows)
    count = len(query.group_by)
    rest = sums[count:]
    for row in told:
        rest = [left - each for left, each in zip(rest, row[2 + count :], strict=True)]
    return UsageReport(rows=rows, groups_left_out=missing, left_out=_sums({}, rest))


def _usage_row(query: UsageQuery, row: Sequence[Any], calendar: Calendar | None) -> UsageRow:
    count = len(query.group_by)
    return _sums(_group(query, row[:count], calendar), row[count:])


def _group(query: UsageQuery, row: Sequence[Any], calendar: Calendar | None) -> dict[str, str]:
    return {
        name: calendar.label(name, value) if calendar and name in MOMENTS else str(value)
        for name, value in zip(query.group_by, row, strict=True)
    }


def _sums(group: dict[str, str], sums: Sequence[int]) -> UsageRow:
    named: dict[str, Any] = dict(zip(MEASURES, sums, strict=True))
    return UsageRow(group=group, **named)


class Durations:
    """How long the calls of a report's groups took, as it is told row by row. Raises ReportRefused
    for a report of more groups than that is told of."""

    def __init__(self, query: UsageQuery, report: UsageReport, calendar: Calendar | None) -> None:
        if len(report.rows) > MAX_TIMED_GROUPS:
            raise _too_many(MAX_TIMED_GROUPS)
        self._query = query
        self._report = report
        self._calendar = calendar
        self._told = {tuple(row.group.values()): [0] * BUCKETS for row in report.rows}
        self._left_out = [0] * BUCKETS

    def add(self, row: Sequence[Any]) -> None:
        """What ``durations_of`` found of one group and bucket."""
        *group, bucket, calls = row
        name = tuple(_group(self._query, group, self._calendar).values())
        self._told.get(name, self._left_out)[bucket] += calls

    def report(self) -> UsageReport:
        """The same report, with them."""
        rows = [
            msgspec.structs.replace(row, durations=tuple(self._told[tuple(row.group.values())]))
            for row in self._report.rows
        ]
        left_out = self._report.left_out
        if left_out is not None:
            left_out = msgspec.structs.replace(left_out, durations=tuple(self._left_out))
        return msgspec.structs.replace(self._report, rows=rows, left_out=left_out)


# --- what was spent ----------------------------------------------------------------------------

_UNCOUNTED = frozenset({"idle", "correction"})
"""Kinds for which no limit holds."""
