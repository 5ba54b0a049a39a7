"""Incidents: what broke, when, and what was done: by the gateway, and by administrators."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from gateway.console.drawing.plots import Band, Plot, PlotColumn, stacked
from gateway.console.drawing.words import ERROR_WORDS
from gateway.console.visits import sheets
from gateway.console.visits.asking import report_of, summed
from gateway.console.visits.spans import TimeSlice, bounds, pieces_of, span_of, times_of
from gateway.console.visits.standings import standings
from gateway.console.visits.visit import HtmlPage, Sheet, Visit, link
from gateway.keys.audit import acts_of, audit_json
from gateway.storage.audit import AuditQuery
from gateway.storage.queries import UsageReport, UsageRow

_LEAST = 3
_SHARE = 0.02
"""From so many failed calls, and such a share of a backend's, an hour is one in which it broke."""
_ACTS = 40
_COLOURS = ("one", "two", "three", "four", "five", "six")


class Incident(msgspec.Struct, frozen=True):
    """A backend that failed calls in hours that follow one another."""

    backend: str
    since: float
    until: float
    calls: int
    failed: int
    elsewhere: int
    """Calls that another backend answered after the first choice had failed, in these hours."""
    href: str
    calls_href: str
    elsewhere_href: str


async def show(visit: Visit) -> HtmlPage:
    """The newest first."""
    span = span_of(visit, "7d")
    by_backend, by_error, by_reason, acts, stand = await asyncio.gather(
        report_of(visit, span, (span.bucket, "backend"), {"kind": "call"}),
        report_of(visit, span, (span.bucket, "error"), {"kind": "call", "outcome": "error"}),
        report_of(visit, span, (span.bucket,), {"kind": "call", "reason": "FAILOVER"}),
        asyncio.to_thread(visit.gateway.keys.audit, AuditQuery(most=2 * _ACTS)),
        standings(visit),
    )
    pieces = pieces_of(span, visit.tzinfo)
    return HtmlPage(
        "incidents.html",
        {
            "span": span,
            "incidents": incidents_of(by_backend, by_reason, pieces, span.bucket),
            "plot": _plot(by_error, pieces, span.bucket, visit),
            "errors": sorted(summed(by_error.rows, "error").values(), key=lambda one: -one.errors),
            "acts": audit_json(acts_of(acts)[:_ACTS], AuditQuery(most=_ACTS))["data"],
            "away": [one for one in stand if one.light == "away"],
            "refused": visit.gateway.refused,
        },
    )


async def sheet(visit: Visit) -> Sheet:
    """The incidents as CSV."""
    span = span_of(visit, "7d")
    by_backend, by_reason = await asyncio.gather(
        report_of(visit, span, (span.bucket, "backend"), {"kind": "call"}),
        report_of(visit, span, (span.bucket,), {"kind": "call", "reason": "FAILOVER"}),
    )
    found = incidents_of(by_backend, by_reason, pieces_of(span, visit.tzinfo), span.bucket)
    head = ("backend", "from", "to", "calls", "failed", "answered_elsewhere")
    rows = []
    for one in found:
        ends = bounds(TimeSlice("", one.since, one.until))
        rows.append((one.backend, ends["from"], ends["to"], one.calls, one.failed, one.elsewhere))
    return sheets.sheet_of("incidents", head, rows)


def incidents_of(
    by_backend: UsageReport, by_reason: UsageReport, pieces: Sequence[TimeSlice], bucket: str
) -> list[Incident]:
    """The newest first."""
    rows = {(row.group["backend"], row.group[bucket]): row for row in by_backend.rows}
    moved = {row.group[bucket]: row.calls for row in by_reason.rows}
    found: list[Incident] = []
    for backend in sorted({name for name, _ in rows if name}):
        broken: list[tuple[TimeSlice, UsageRow]] = []
        for piece in pieces:
            row = rows.get((backend, piece.label))
            if row is not None and _is_broken(row):
                broken.append((piece, row))
            elif broken:
                found.append(_incident(backend, broken, moved))
                broken = []
        if broken:
            found.append(_incident(backend, broken, moved))
    return sorted(found, key=lambda one: -one.since)


def _is_broken(row: UsageRow) -> bool:
    return row.errors >= _LEAST and row.errors >= _SHARE * row.calls


def _incident(
    backend: str, broken: Iterable[tuple[TimeSlice, UsageRow]], moved: dict[str, int]
) -> Incident:
    pieces, rows = zip(*broken, strict=True)
    whole = TimeSlice("", pieces[0].since, pieces[-1].until)
    return Incident(
        backend=backend,
        since=whole.since,
        until=whole.until,
        calls=sum(row.calls for row in rows),
        failed=sum(row.errors for row in rows),
        elsewhere=sum(moved.get(piece.label, 0) for piece in pieces),
        href=link("calls", {"backend": backend, "outcome": "error", **bounds(whole)}),
        calls_href=link("calls", {"backend": backend, **bounds(whole)}),
        elsewhere_href=link("calls", {"reason": "FAILOVER", **bounds(whole)}),
    )


def _plot(report: UsageReport, pieces: Sequence[TimeSlice], bucket: str, visit: Visit) -> Plot:
    by_error: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in report.rows:
        by_error[row.group["error"]][row.group[bucket]] = row.errors
    largest = sorted(by_error, key=lambda name: -sum(by_error[name].values()))
    bands = [
        Band(
            ERROR_WORDS.get(name, name),
            meaning,
            [by_error[name].get(piece.label, 0) for piece in pieces],
        )
        for name, meaning in zip(largest, _COLOURS, strict=False)
    ]
    rest = [
        sum(by_error[name].get(piece.label, 0) for name in largest[len(_COLOURS) :])
        for piece in pieces
    ]
    totals = [sum(each.get(piece.label, 0) for each in by_error.values()) for piece in pieces]
    columns = [
        PlotColumn(f"{total:,} failed", link("calls", {"outcome": "error", **bounds(piece)}))
        for piece, total in zip(pieces, totals, strict=True)
    ]
    return stacked(
        [*bands, Band("all others", "rest", rest)],
        columns,
        times_of(list(pieces), visit.tzinfo),
        told=lambda height: f"{height:g}",
        summary=f"Failed calls by {bucket}, stacked by error: {sum(totals):,} in all",
        least=1.0,
    )
