"""Reports that take rows which are in files by now are refused, with what to ask instead."""

from __future__ import annotations

import datetime

from gateway.storage.base import ReportRefused
from gateway.storage.queries import UsageQuery
from gateway.storage.rollups.cuts import Cut
from gateway.types import MICRO


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
        f"Rows of before {_when(before_us)} are archived; sums by quarters of an hour are kept, "
        "or by whole hours of UTC. Ask from one to another, or for a later time.",
    )


def _when(at_us: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_us // MICRO, datetime.UTC):%Y-%m-%dT%H:%MZ}"
