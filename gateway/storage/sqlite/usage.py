"""``/usage`` as SQL. Names come from the tables below, values and tag names are parameters."""

from __future__ import annotations

import datetime
import re
import sqlite3
from typing import Any

from gateway.storage.base import UsageQuery, UsageRow
from gateway.types import MICRO

MAX_GROUPS = 50_000
"""A report with more rows than this is a mistake: it is refused, not truncated."""

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


def run_usage(connection: sqlite3.Connection, query: UsageQuery) -> list[UsageRow]:
    """Raises ValueError for a dimension that is none, a bad day, or more than MAX_GROUPS rows."""
    sql, values = usage_sql(query)
    found = connection.execute(sql, values).fetchmany(MAX_GROUPS + 1)
    if len(found) > MAX_GROUPS:
        raise ValueError(f"more than {MAX_GROUPS} groups: ask for a shorter time or fewer groups")
    return [_usage_row(query.group_by, row) for row in found]


def usage_sql(query: UsageQuery) -> tuple[str, list[Any]]:
    """The statement and its parameters, in order."""
    values: list[Any] = []
    # The plus keeps SQLite from walking an index in the order of a group: it would visit every
    # row of the ledger at random, where the time asked for, or the table's own order, is cheaper.
    groups = "".join(
        f"+{_expression(name, values)} AS g{index}, " for index, name in enumerate(query.group_by)
    )
    conditions = " AND ".join(_conditions(query, values)) or "TRUE"
    names = ", ".join(f"g{index}" for index in range(len(query.group_by)))
    sql = (
        f"SELECT {groups}{_SELECT_SUMS} FROM entries WHERE {conditions} "  # noqa: S608
        + (f"GROUP BY {names} ORDER BY cost_nano DESC, {names} " if names else "")
        + f"LIMIT {MAX_GROUPS + 1}"
    )
    return sql, values


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
