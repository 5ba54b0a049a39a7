"""Spend: who or what it went to, by hour, day or month, against the time before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from gateway.console.drawing.figures import money, places_for
from gateway.console.drawing.heat import Heat, heat_of
from gateway.console.drawing.words import MEASURES
from gateway.console.pages.spend_plot import UNUSED, USED, plot_of
from gateway.console.pages.spend_view import (
    BY,
    SpendView,
    asked_of,
    cold_nano,
    kind_asked,
    told_as,
    value_of,
)
from gateway.console.visits import sheets
from gateway.console.visits.asking import filters_of, report_of, summed, whole
from gateway.console.visits.spans import EACH, TimeSlice, bounds
from gateway.console.visits.visit import HtmlPage, Sheet, Visit, link
from gateway.money.text import usd
from gateway.storage.queries import UsageReport, UsageRow
from gateway.types import MICRO

_MOST_GROUPS = 200
_BANDS = ("one", "two", "three", "four", "five", "six")


class SpendLine(msgspec.Struct, frozen=True):
    """A group: its sum, and that of the time before."""

    group: dict[str, str]
    row: UsageRow
    before: UsageRow | None
    href: str
    calls_href: str
    failed_href: str
    meaning: str


async def show(visit: Visit) -> HtmlPage:
    """The plot, the table and, of users, who used which model."""
    asked = asked_of(visit)
    span = asked.span
    now, before, kinds, earlier, cold, crossed = await asyncio.gather(
        report_of(visit, span, asked.groups, limit=_MOST_GROUPS),
        report_of(visit, span.before, asked.groups, limit=_MOST_GROUPS),
        report_of(visit, span, (span.bucket, "kind")),
        report_of(visit, span.before, (span.bucket,)),
        report_of(visit, span, (span.bucket, "backend"), {"kind": "call"} | kind_asked(visit)),
        report_of(visit, span, ("user", "model"), limit=400),
    )
    lines = _lines(now, before, asked, visit)
    return HtmlPage(
        "spend.html",
        {
            "span": span,
            "asked": asked,
            "lines": lines,
            "left_out": now.left_out,
            "groups_left_out": now.groups_left_out,
            "total": whole(kinds),
            "of_kind": summed(kinds.rows, "kind"),
            "before": whole(earlier),
            "cold_nano": sum(map(cold_nano(visit), cold.rows)),
            "plot": await plot_of(visit, asked, kinds, earlier, cold, _colours(lines, asked)),
            "heat": _heat(crossed, visit) if asked.by in ("user", "model") else None,
            "places": places_for(line.row.cost_nano for line in lines),
            "dimensions": _offered(visit, asked),
            "metrics": MEASURES,
            "rolls": list(EACH),
            "before_ends": bounds(TimeSlice("", span.before.since, span.before.until)),
            "told": told_as(asked.metric),
            "value": value_of(asked.metric),
            "filters": filters_of(visit),
        },
    )


async def sheet(visit: Visit) -> Sheet:
    """The table, all groups that the page would show."""
    asked = asked_of(visit)
    report = await report_of(visit, asked.span, asked.groups, limit=50_000)
    head = (*asked.groups, "calls", "errors", "cold_starts", "gpu_seconds", "input_tokens",
            "output_tokens", "cost_usd", "idle_usd")  # fmt: skip
    rows = (
        (
            *(row.group[name] for name in asked.groups),
            *(row.calls, row.errors, row.cold_starts, row.gpu_us / MICRO),
            *(row.input_tokens, row.output_tokens),
            *(usd(row.cost_nano, padded=True), usd(row.idle_nano, padded=True)),
        )
        for row in report.rows
    )
    return sheets.sheet_of("spend", head, rows)


def _offered(visit: Visit, asked: SpendView) -> list[str]:
    names = [name for name in BY if visit.sees_others or name != "user"]
    return [*names, *(one for one in (asked.by, asked.then) if one and one not in names)]


# --- the table -----------------------------------------------------------------------------------


def _lines(
    now: UsageReport, before: UsageReport, asked: SpendView, visit: Visit
) -> list[SpendLine]:
    then = {tuple(row.group.values()): row for row in before.rows}
    value = value_of(asked.metric)
    rows = sorted(now.rows, key=value, reverse=True)
    shown = _coloured(rows, asked)
    return [
        SpendLine(
            group=row.group,
            row=row,
            before=then.get(tuple(row.group.values())),
            href=_narrower(row, asked, visit),
            calls_href=_calls_of(row, visit),
            failed_href=_calls_of(row, visit, outcome="error"),
            meaning=shown.get(row.group[asked.by], "rest"),
        )
        for row in rows
    ]


def _coloured(rows: Sequence[UsageRow], asked: SpendView) -> dict[str, str]:
    """The outer groups that have a band of their own, and its colour."""
    named = {kind: meaning for kind, _, meaning in UNUSED} if asked.by == "kind" else {}
    names = dict.fromkeys(row.group[asked.by] for row in rows if _is_band(row, asked))
    free = [name for name in names if name not in named]
    return dict(zip(free, _BANDS, strict=False)) | named


def _colours(lines: Sequence[SpendLine], asked: SpendView) -> dict[str, str]:
    return {line.group[asked.by]: line.meaning for line in lines}


def _is_band(row: UsageRow, asked: SpendView) -> bool:
    if asked.by == "kind" or "kind" not in row.group:
        return not row.group[asked.by].startswith("system:")
    return row.group["kind"] in USED


def _narrower(row: UsageRow, asked: SpendView, visit: Visit) -> str:
    """The same page of this group alone, by whatever is next."""
    order = ["user", "model", "backend", "reason"] if visit.sees_others else ["model", "backend"]
    taken = {asked.by, *filters_of(visit)}
    after = next((name for name in order if name not in taken), "reason")
    narrowed = {**row.group, "by": asked.then or after, "then": None}
    return visit.here(**narrowed)


def _calls_of(row: UsageRow, visit: Visit, **more: str) -> str:
    kept = {name: visit.params.get(name) for name in ("range", "from", "to")}
    kept = kept if any(kept.values()) else {"range": "7d"}
    kind = {} if row.calls else {"kind": row.group.get("kind", "all")}
    return link("calls", {**kept, **filters_of(visit), **kind, **row.group, **more})


def _heat(report: UsageReport, visit: Visit) -> Heat | None:
    cells = {
        (row.group["user"], row.group["model"]): row.cost_nano
        for row in report.rows
        if row.group["model"] and not row.group["user"].startswith("system:")
    }
    return heat_of(
        cells,
        told=lambda nano: money(nano, places_for(cells.values())),
        href=lambda user, model: visit.here(user=user, model=model, by="backend"),
    )
