"""``/usage`` as SQL. Names come from the tables below, values and tag names are parameters."""

from __future__ import annotations

import datetime
import re
import sqlite3
from typing import Any

import msgspec

from gateway.storage.base import ReportRefused, UsageQuery, UsageReport, UsageRow
from gateway.types import MICRO

MAX_GROUPS = 50_000
"""A report of more groups is told in part only where its query has a limit."""

_DAY_US = 86_400 * MICRO
_HOUR_US = 3_600 * MICRO
_COLUMNS = {
    "user": "user",
    "key": "key_id",
    "plan": "plan",
    "model": "model",
    "task": "task",
    "backend": "backend",
    "outcome": "outcome",
    "reason": "reason",
    "kind": "kind",
    "day": f"started_at / {_DAY_US}",
    "hour": f"started_at / {_HOUR_US}",
}
_TAG = re.compile(r"tag:([\w.:/-]{1,64})\Z")
_FAILED = "('error', 'interrupted')"
_SUMS = {
    "calls": "kind = 'call'",
    "errors": f"kind = 'call' AND outcome IN {_FAILED}",
    "cold_starts": "cold_us > 0",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "queue_us": "queue_us",
    "cold_us": "cold_us",
    "exec_us": "exec_us",
    "gpu_us": "gpu_us",
    "cost_nano": "cost_nano",
}
_SELECT_SUMS = ", ".join(f"COALESCE(SUM({sql}), 0) AS {name}" for name, sql in _SUMS.items())


def rows_to_visit(connection: sqlite3.Connection, query: UsageQuery, most: int) -> int:
    """How many rows a report has to visit, by the conditions that an index serves; ``most`` where
    there are as many or more, so that the count is soon done. Raises sqlite3.Error."""
    by_index = {name: value for name, value in query.where.items() if name == "user"}
    values: list[Any] = []
    conditions = _conditions(msgspec.structs.replace(query, where=by_index), values)
    sql = (
        "SELECT COUNT(*) FROM (SELECT 1 FROM entries "  # noqa: S608
        f"WHERE {' AND '.join(conditions) or 'TRUE'} LIMIT ?)"
    )
    count: int = connection.execute(sql, [*values, most]).fetchone()[0]
    return count


def run_usage(connection: sqlite3.Connection, query: UsageQuery) -> UsageReport:
    """Raises ValueError for a dimension that is none or a bad day, and ReportRefused for more than
    MAX_GROUPS groups where the query has no limit."""
    sql, values = usage_sql(query)
    found = connection.execute(sql, values).fetchall()
    if query.limit is not None:
        return _part(query, found)
    if len(found) > MAX_GROUPS:
        raise ReportRefused(
            "too_many_groups",
            f"The report has more than {MAX_GROUPS} groups. Ask for the dearest of them by limit, "
            "for a shorter time by from and to, or for fewer dimensions in group_by.",
        )
    return UsageReport(rows=[_usage_row(query.group_by, row) for row in found])


def _part(query: UsageQuery, found: list[tuple[Any, ...]]) -> UsageReport:
    """Of a statement with a limit: the groups that it told, and behind them the sum of all."""
    *told, (_, groups, *sums) = found
    rows = [_usage_row(query.group_by, row[2:]) for row in told]
    missing = groups - len(rows)
    if not missing:
        return UsageReport(rows=rows)
    rest = dict(zip(_SUMS, sums[len(query.group_by) :], strict=True))
    for row in rows:
        for name in rest:
            rest[name] -= getattr(row, name)
    return UsageReport(rows=rows, groups_left_out=missing, left_out=UsageRow(group={}, **rest))


def usage_sql(query: UsageQuery) -> tuple[str, list[Any]]:
    """The statement and its parameters, in order. Of a query with a limit it goes once through the
    ledger as well: its groups are kept in a temporary table, which SQLite puts into a file when it
    is large, and told and summed from there."""
    values: list[Any] = []
    # The plus keeps SQLite from walking an index in the order of a group: it would visit every
    # row of the ledger at random, where the time asked for, or the table's own order, is cheaper.
    groups = "".join(
        f"+{_expression(name, values)} AS g{index}, " for index, name in enumerate(query.group_by)
    )
    conditions = " AND ".join(_conditions(query, values)) or "TRUE"
    names = ", ".join(f"g{index}" for index in range(len(query.group_by)))
    grouped = f"SELECT {groups}{_SELECT_SUMS} FROM entries WHERE {conditions} "  # noqa: S608
    if not names:
        return (grouped if query.limit is None else _limited(grouped, "", query.limit)), values
    grouped += f"GROUP BY {names} "
    if query.limit is not None:
        return _limited(grouped, names, query.limit), values
    return grouped + f"ORDER BY cost_nano DESC, {names} LIMIT {MAX_GROUPS + 1}", values


def _limited(grouped: str, names: str, limit: int) -> str:
    """(1, NULL, groups, sums) for each group told, then (0, their number, NULLs, sums of all)."""
    empty = "".join("NULL, " for name in names.split(", ") if name)
    sums = ", ".join(f"COALESCE(SUM({name}), 0)" for name in _SUMS)
    order = f"cost_nano DESC{', ' if names else ''}{names}"
    return (
        f"WITH grouped AS ({grouped}) "  # noqa: S608
        f"SELECT * FROM (SELECT 1, NULL, * FROM grouped ORDER BY {order} LIMIT {limit}) "
        f"UNION ALL SELECT 0, COUNT(*), {empty}{sums} FROM grouped"
    )


def _conditions(query: UsageQuery, values: list[Any]) -> list[str]:
    conditions = []
    for sign, bound in ((">=", query.since), ("<", query.until)):
        if bound is not None:
            conditions.append(f"started_at {sign} ?")
            values.append(round(bound * MICRO))
    for name, wanted in query.where.items():
        conditions.append(f"{_expression(name, values)} = ?")
        values.append(_stored(name, wanted))
    return conditions


def _expression(name: str, values: list[Any]) -> str:
    """SQL for a dimension; a tag's path goes to the parameters. Raises ValueError."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    tag = _TAG.match(name)
    if tag is None:
        known = ", ".join(_COLUMNS)
        raise ValueError(f"{name!r} is no dimension; they are {known} and tag:NAME")
    values.append(f'$."{tag[1]}"')
    return "COALESCE(json_extract(tags, ?), '')"


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


def _usage_row(group_by: tuple[str, ...], row: tuple[Any, ...]) -> UsageRow:
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
