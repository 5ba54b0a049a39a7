"""What is asked of the ledger: reports by the dimensions, times and zones that people ask for, and
what a start asks; and the same of its rows alone."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

import msgspec

from gateway.storage.base import Ledger
from gateway.storage.calendar import Calendar
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.storage.reports import calendar_for, narrowed, report_of
from gateway.storage.rollups.reading import Reading, Unsummed
from gateway.storage.sqlite.dialect import SQLITE
from gateway.windows import bounds, read_window

REPORTS = {
    "by user": UsageQuery(),
    "by user, model, day": UsageQuery(group_by=("user", "model", "day"), limit=1_000),
    "by user and backend": UsageQuery(group_by=("user", "backend")),
    "by backend, month": UsageQuery(group_by=("backend", "month")),
    "by tag:team": UsageQuery(group_by=("tag:team",)),
    "by model, outcome, error": UsageQuery(group_by=("model", "outcome", "error")),
    "by key, 1000 dearest": UsageQuery(group_by=("key", "day"), limit=1_000),
    "by hour": UsageQuery(group_by=("hour",)),
    "by hour of week, in Berlin": UsageQuery(group_by=("hour_of_week",), zone="Europe/Berlin"),
    "by day, in Berlin": UsageQuery(group_by=("day",), zone="Europe/Berlin"),
    "by user and month, in Berlin": UsageQuery(group_by=("user", "month"), zone="Europe/Berlin"),
    "by user, model, month, Berlin": UsageQuery(
        group_by=("user", "model", "month"), zone="Europe/Berlin"
    ),
    "by day, in Kolkata": UsageQuery(group_by=("day",), zone="Asia/Kolkata"),
    "by backend, hour of week, Kolkata": UsageQuery(
        group_by=("backend", "hour_of_week"), zone="Asia/Kolkata"
    ),
    "by user and month, in Kolkata": UsageQuery(group_by=("user", "month"), zone="Asia/Kolkata"),
    "by user, hour of week, in Berlin": UsageQuery(
        group_by=("user", "hour_of_week"), zone="Europe/Berlin"
    ),
    "by user, hour of week, Kolkata": UsageQuery(
        group_by=("user", "hour_of_week"), zone="Asia/Kolkata"
    ),
    "by user, model, hour of week": UsageQuery(
        group_by=("user", "model", "hour_of_week"), zone="Europe/Berlin"
    ),
    "by user, backend, hour of week": UsageQuery(
        group_by=("user", "backend", "hour_of_week"), limit=1_000
    ),
    "by user, backend, hour, Berlin": UsageQuery(
        group_by=("user", "backend", "hour_of_week"), zone="Europe/Berlin", limit=1_000
    ),
    "by user and day, in Berlin": UsageQuery(
        group_by=("user", "day"), zone="Europe/Berlin", limit=1_000
    ),
    "by user and day, in Kolkata": UsageQuery(
        group_by=("user", "day"), zone="Asia/Kolkata", limit=1_000
    ),
    "percentiles of all": UsageQuery(group_by=(), durations=True),
    "percentiles by model": UsageQuery(group_by=("model",), durations=True),
    "percentiles by day, in Berlin": UsageQuery(
        group_by=("day",), zone="Europe/Berlin", durations=True
    ),
    "percentiles by user": UsageQuery(durations=True),
    "percentiles by user and model": UsageQuery(group_by=("user", "model"), durations=True),
    "one user by day": UsageQuery(group_by=("day",), where={"user": "user-7"}),
    "one user by model": UsageQuery(group_by=("model",), where={"user": "user-7"}),
    "one backend by user": UsageQuery(where={"backend": "backend-1"}),
    "by user, 30 days": UsageQuery(since=-30 * 86_400.0),
    "by user, all but 12 minutes": UsageQuery(since=-360 * 86_400.0, until=-754.5),
}
"""Instants are seconds from the end of the ledger."""
WINDOWS = (
    *("second", "minute", "hour", "day Europe/Berlin", "week", "month", "month from 15"),
    *("90s", "30m", "24h", "7d", "30d", "31d"),
)
"""Of limits, those that a person may write and those that are the dearest to count."""


def at(query: UsageQuery, now: float) -> UsageQuery:
    """The query of a ledger that ends ``now``."""
    moved = {
        name: None if moment is None else now + moment
        for name, moment in (("since", query.since), ("until", query.until))
    }
    return msgspec.structs.replace(query, since=moved["since"], until=moved["until"])


async def restored(ledger: Ledger, now: float | None = None) -> int:
    """Asks what a start asks, of limits in every window on both sides; how many sums that were."""
    now = time.time() if now is None else now
    sums = 0
    for text in WINDOWS:
        window = read_window(text)
        since_us, _ = bounds(text, round(now * 1e6))
        step_us = window.step_us if window.rolling else 0
        sums += len(await ledger.spent_since(since_us / 1e6, step_us=step_us))
        sums += len(await ledger.spent_since(since_us / 1e6, side="places", step_us=step_us))
    await ledger.take_abandoned()
    await ledger.calls_since(now - 86_400)
    return sums


def from_rows(connection: sqlite3.Connection, query: UsageQuery) -> UsageReport:
    """The report of a file's rows, of which no sum is asked."""
    query = msgspec.structs.replace(narrowed(query), durations=False)
    first, last = connection.execute(
        "SELECT MIN(started_at), MAX(started_at) FROM entries"
    ).fetchone()
    calendar: Calendar | None = calendar_for(query, first, last)
    statement: tuple[str, list[Any]] = Reading(query, SQLITE, calendar, None, Unsummed("")).sums()
    return report_of(query, connection.execute(*statement).fetchall(), calendar)


def same(report: UsageReport, rows: UsageReport) -> bool:
    """Whether two reports tell the same, how long calls took apart."""
    return [_told(row) for row in report.rows] == [_told(row) for row in rows.rows] and _told(
        report.left_out
    ) == _told(rows.left_out)


def _told(row: Any) -> dict[str, Any] | None:
    return None if row is None else msgspec.to_builtins(msgspec.structs.replace(row, durations=()))
