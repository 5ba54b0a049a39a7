"""``/usage`` as SQL, in the dialect of each store. Names come from the tables below, values and tag
names are parameters."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.storage.base import ReportRefused
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport, UsageRow
from gateway.types import MICRO

MAX_GROUPS = 50_000
"""A report of more groups is told in part only where its query has a limit."""

_DAY_US = 86_400 * MICRO
_HOUR_US = 3_600 * MICRO
_COLUMNS = {
    "user": '"user"',
    "key": "key_id",
    "plan": "plan",
    "model": "model",
    "task": "task",
    "backend": "backend",
    "outcome": "outcome",
    "reason": "reason",
    "kind": "kind",
    "error": "error",
    "route": "route",
    "day": f"started_at / {_DAY_US}",
    "hour": f"started_at / {_HOUR_US}",
}
_TAG = re.compile(r"tag:([\w.:/-]{1,64})\Z")
_FAILED = "('error', 'interrupted')"
_SUMS = {
    "calls": "COUNT(*) FILTER (WHERE kind = 'call')",
    "errors": f"COUNT(*) FILTER (WHERE kind = 'call' AND outcome IN {_FAILED})",
    "cold_starts": "COUNT(*) FILTER (WHERE cold_us > 0)",
    **{
        name: f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)"
        for name in (
            "input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us", "cost_nano"
        )
    },
}  # fmt: skip
_SELECT_SUMS = ", ".join(f"{sql} AS {name}" for name, sql in _SUMS.items())


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of database writes what they do not write alike."""

    parameter: Callable[[int], str]
    """The mark of the first, second ... parameter."""
    tag: Callable[[str], str]
    """A row's tag, empty where it has none, by the mark of a parameter that names it."""
    tag_value: Callable[[str], str]
    """That parameter, by the tag's name."""
    grouped: str = ""
    """Stands before what a report is grouped by."""


def usage_sql(query: UsageQuery, dialect: Dialect) -> tuple[str, list[Any]]:
    """The statement and its parameters, in order. Of a query with a limit it goes once through the
    ledger as well: its groups are told and summed from one table. Raises ValueError for a dimension
    that is none, or a bad day."""
    values: list[Any] = []
    groups = "".join(
        f"{dialect.grouped}{_expression(name, values, dialect)} AS g{index}, "
        for index, name in enumerate(query.group_by)
    )
    conditions = " AND ".join(conditions_of(query, values, dialect)) or "TRUE"
    names = "".join(f", g{index}" for index in range(len(query.group_by)))
    grouped = f"SELECT {groups}{_SELECT_SUMS} FROM entries WHERE {conditions} "  # noqa: S608
    if names:
        grouped += f"GROUP BY {names.removeprefix(', ')} "
    if query.limit is not None:
        return _limited(grouped, names, query.limit), values
    return f"{grouped}ORDER BY cost_nano DESC{names} LIMIT {MAX_GROUPS + 1}", values


def _limited(grouped: str, names: str, limit: int) -> str:
    """(1, NULL, groups, sums) for each group told, then (0, their number, NULLs, sums of all)."""
    empty = "NULL, " * names.count(",")
    sums = ", ".join(f"CAST(COALESCE(SUM({name}), 0) AS BIGINT)" for name in _SUMS)
    return (
        f"WITH grouped AS ({grouped}) "  # noqa: S608
        "SELECT * FROM (SELECT 1 AS told, CAST(NULL AS BIGINT) AS counted, * FROM grouped "
        f"ORDER BY cost_nano DESC{names} LIMIT {limit}) AS dearest "
        f"UNION ALL SELECT 0, COUNT(*), {empty}{sums} FROM grouped "
        f"ORDER BY told DESC, cost_nano DESC{names}"
    )


def calls_sql(query: CallsQuery, select: str, dialect: Dialect) -> tuple[str, list[Any]]:
    """The statement for a page of single rows, newest first, and its parameters. Raises ValueError
    as ``usage_sql``."""
    values: list[Any] = []
    conditions = conditions_of(query.rows, values, dialect)
    if query.before is not None:
        at = round(query.before.started_at * MICRO)
        marks = [dialect.parameter(len(values) + number) for number in (1, 2, 3)]
        # The first of the two is the one that an index serves.
        conditions.append(f"started_at <= {marks[0]}")
        conditions.append(f"(started_at, id) < ({marks[1]}, {marks[2]})")
        values += [at, at, query.before.id]
    sql = (
        f"{select} WHERE {' AND '.join(conditions) or 'TRUE'} "
        f"ORDER BY started_at DESC, id DESC LIMIT {query.most}"
    )
    return sql, values


def report_of(query: UsageQuery, found: Sequence[Sequence[Any]]) -> UsageReport:
    """What the statement found. Raises ReportRefused for more than ``MAX_GROUPS`` groups where the
    query has no limit."""
    if query.limit is not None:
        return _part(query, found)
    if len(found) > MAX_GROUPS:
        raise ReportRefused(
            "too_many_groups",
            f"The report has more than {MAX_GROUPS} groups. Ask for the dearest of them by limit, "
            "for a shorter time by from and to, or for fewer dimensions in group_by.",
        )
    return UsageReport(rows=[_usage_row(query.group_by, row) for row in found])


def _part(query: UsageQuery, found: Sequence[Sequence[Any]]) -> UsageReport:
    """Of a statement with a limit: the groups that it told, and behind them the sum of all."""
    *told, (_, groups, *sums) = found
    rows = [_usage_row(query.group_by, tuple(row)[2:]) for row in told]
    missing = groups - len(rows)
    if not missing:
        return UsageReport(rows=rows)
    rest = dict(zip(_SUMS, sums[len(query.group_by) :], strict=True))
    for row in rows:
        for name in rest:
            rest[name] -= getattr(row, name)
    return UsageReport(rows=rows, groups_left_out=missing, left_out=UsageRow(group={}, **rest))


def conditions_of(query: UsageQuery, values: list[Any], dialect: Dialect) -> list[str]:
    """Conditions of a query, whose values are added to ``values``. Raises ValueError."""
    conditions = []
    for sign, bound in ((">=", query.since), ("<", query.until)):
        if bound is not None:
            values.append(round(bound * MICRO))
            conditions.append(f"started_at {sign} {dialect.parameter(len(values))}")
    for name, wanted in query.where.items():
        expression = _expression(name, values, dialect)
        values.append(_stored(name, wanted))
        conditions.append(f"{expression} = {dialect.parameter(len(values))}")
    return conditions


def _expression(name: str, values: list[Any], dialect: Dialect) -> str:
    """SQL for a dimension; a tag's name goes to the parameters. Raises ValueError."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    tag = _TAG.match(name)
    if tag is None:
        known = ", ".join(_COLUMNS)
        raise ValueError(f"{name!r} is no dimension; they are {known} and tag:NAME")
    values.append(dialect.tag_value(tag[1]))
    return dialect.tag(dialect.parameter(len(values)))


def _stored(name: str, wanted: str) -> str | int:
    """A filter's value as the expression gives it. Raises ValueError for a bad day or hour."""
    if name not in ("day", "hour"):
        return wanted
    try:
        instant = datetime.datetime.fromisoformat(wanted)
    except ValueError:
        raise ValueError(f"{wanted!r} is no {name} such as {_example(name)}") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=datetime.UTC)
    return int(instant.timestamp()) // (86_400 if name == "day" else 3_600)


def _example(name: str) -> str:
    return "2026-01-31" if name == "day" else "2026-01-31T13:00Z"


def _usage_row(group_by: tuple[str, ...], row: Sequence[Any]) -> UsageRow:
    count = len(group_by)
    group = {name: _label(name, value) for name, value in zip(group_by, row[:count], strict=True)}
    return UsageRow(group=group, **dict(zip(_SUMS, row[count:], strict=True)))


def _label(name: str, value: Any) -> str:
    if name == "day":
        return _instant(value * 86_400).strftime("%Y-%m-%d")
    if name == "hour":
        return _instant(value * 3_600).strftime("%Y-%m-%dT%H:00Z")
    return str(value)


def _instant(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
