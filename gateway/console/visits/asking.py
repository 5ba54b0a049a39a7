"""What pages ask the ledger: always what the reader may see, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from gateway.console.visits.spans import TimeSpan
from gateway.console.visits.visit import Visit
from gateway.money.usage_reports import DIMENSIONS, parse_usage_query, total_of
from gateway.storage.queries import UsageQuery, UsageReport, UsageRow

_TAG = re.compile(r"tag:[\w.:/-]{1,64}\Z")
ALL_KINDS = ("kind", "all")
"""A parameter that narrows nothing: it asks for rows of every kind where calls alone are usual."""
_MOMENTS = ("month", "day", "hour", "hour_of_week")


def is_dimension(name: str) -> bool:
    """Whether a report may be grouped or narrowed by it."""
    return name in DIMENSIONS or _TAG.match(name) is not None


def filters_of(visit: Visit) -> dict[str, str]:
    """The parameters of the address that narrow a page: a dimension, and the value it must have."""
    return {
        name: value
        for name, value in visit.params.items()
        if is_dimension(name) and name not in _MOMENTS and (name, value) != ALL_KINDS
    }


def query_of(
    visit: Visit,
    span: TimeSpan,
    group_by: tuple[str, ...],
    where: Mapping[str, str] | None = None,
    *,
    limit: int | None = None,
    durations: bool = False,
) -> UsageQuery:
    """``where`` is added to the filters of the address. Raises ApiError as ``/usage`` does: 403 for
    a user who asks for another one's."""
    asked = filters_of(visit) | dict(where or {}) | {"group_by": ",".join(group_by)}
    query = parse_usage_query(asked, visit.who, now_at=visit.now_at)
    return msgspec.structs.replace(
        query,
        since=span.since,
        until=span.until,
        zone=visit.zone,
        limit=limit,
        durations=durations,
    )


async def report_of(
    visit: Visit,
    span: TimeSpan,
    group_by: tuple[str, ...],
    where: Mapping[str, str] | None = None,
    *,
    limit: int | None = None,
    durations: bool = False,
) -> UsageReport:
    """What the ledger says. Raises ApiError, ReportRefused and StorageUnavailable."""
    query = query_of(visit, span, group_by, where, limit=limit, durations=durations)
    return await visit.gateway.ledger.usage(query)


def whole(report: UsageReport) -> UsageRow:
    """The sum of all its groups, those that were left out too."""
    return total_of(report.rows if report.left_out is None else [*report.rows, report.left_out])


def summed(rows: Iterable[UsageRow], *names: str) -> dict[tuple[str, ...], UsageRow]:
    """The rows added up by some of their groups alone."""
    found: dict[tuple[str, ...], list[UsageRow]] = {}
    for row in rows:
        found.setdefault(tuple(row.group[name] for name in names), []).append(row)
    return {
        group: msgspec.structs.replace(
            total_of(members), group=dict(zip(names, group, strict=True))
        )
        for group, members in found.items()
    }
