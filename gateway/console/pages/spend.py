"""Spend: who or what it went to, by hour or day, against the time before."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import msgspec

from gateway.console.drawing.figures import amount, count, dollars, duration, money, places_for
from gateway.console.drawing.heat import Heat, heat_of
from gateway.console.drawing.plots import Band, Plot, PlotColumn, stacked
from gateway.console.drawing.words import MEASURES
from gateway.console.visits import sheets
from gateway.console.visits.asking import filters_of, is_dimension, report_of, summed, whole
from gateway.console.visits.spans import TimeSlice, TimeSpan, bounds, pieces_of, span_of, times_of
from gateway.console.visits.visit import HtmlPage, Sheet, Visit, link
from gateway.money.text import usd
from gateway.policy.sections.price import Price
from gateway.storage.queries import UsageReport, UsageRow
from gateway.types import MICRO, NANO, ApiError

_MOST_GROUPS = 200
_AT_ONCE = 5_000
"""Sums that one report may have for a plot."""
_BANDS = ("one", "two", "three", "four", "five", "six")
_USED = ("call", "attempt")
"""Kinds of rows that are somebody's: what he asked for, and what failed or was left of it."""
_UNUSED = (
    ("ping", "kept warm", "warm"),
    ("idle", "idle", "idle"),
    ("correction", "corrections", "quiet"),
)
"""The other kinds, and the bands that they have."""
BY = ("user", "model", "backend", "key", "plan", "tag:team", "route", "reason", "price", "kind")
"""What the page offers; any dimension may stand in the address."""


class SpendLine(msgspec.Struct, frozen=True):
    """A group: its sum, and that of the time before."""

    group: dict[str, str]
    row: UsageRow
    before: UsageRow | None
    href: str
    calls_href: str
    meaning: str


class SpendView(msgspec.Struct, frozen=True):
    """What the address asks for."""

    span: TimeSpan
    by: str
    then: str
    metric: str
    is_cumulative: bool

    @property
    def groups(self) -> tuple[str, ...]:
        """Dimensions, the outer one first."""
        return (self.by, self.then) if self.then else (self.by,)


async def show(visit: Visit) -> HtmlPage:
    """The plot, the table and, of users, who used which model."""
    asked = asked_of(visit)
    span = asked.span
    now, before, kinds, earlier, cold, crossed = await asyncio.gather(
        report_of(visit, span, asked.groups, limit=_MOST_GROUPS),
        report_of(visit, span.before, asked.groups, limit=_MOST_GROUPS),
        report_of(visit, span, (span.bucket, "kind")),
        report_of(visit, span.before, (span.bucket,)),
        report_of(visit, span, ("backend",), {"kind": "call"} | _kind_asked(visit)),
        report_of(visit, span, ("user", "model"), {"kind": "call"} | _kind_asked(visit), limit=400),
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
            "cold_nano": _cold(cold, visit),
            "plot": await _plot(visit, asked, kinds, earlier, lines),
            "heat": _heat(crossed, visit) if asked.by in ("user", "model") else None,
            "places": places_for(line.row.cost_nano for line in lines),
            "dimensions": _offered(visit, asked),
            "metrics": MEASURES,
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


def asked_of(visit: Visit) -> SpendView:
    """Raises ApiError 400 for what is no dimension or measure."""
    by = visit.params.get("by", "user" if visit.sees_others else "model")
    then, metric = visit.params.get("then", ""), visit.params.get("metric", "cost")
    for name, value in (("by", by), ("then", then)):
        if value and not is_dimension(value):
            words = f"{name} is one of {', '.join(BY)}, or tag:NAME"
            raise ApiError(400, "invalid_parameter", words, param=name)
    if metric not in MEASURES:
        words = f"metric is one of {', '.join(MEASURES)}"
        raise ApiError(400, "invalid_parameter", words, param="metric")
    is_cumulative = visit.params.get("cumulative") == "1"
    return SpendView(span_of(visit, "7d"), by, "" if then == by else then, metric, is_cumulative)


def _kind_asked(visit: Visit) -> dict[str, str]:
    return {"kind": kind} if (kind := filters_of(visit).get("kind")) else {}


def _offered(visit: Visit, asked: SpendView) -> list[str]:
    names = [name for name in BY if visit.sees_others or name != "user"]
    return [*names, *(one for one in (asked.by, asked.then) if one and one not in names)]


# --- measures ------------------------------------------------------------------------------------


def value_of(metric: str) -> Callable[[UsageRow], int]:
    """What is added up of a row."""
    return {
        "cost": lambda row: row.cost_nano,
        "calls": lambda row: row.calls,
        "gpu": lambda row: row.gpu_us,
        "tokens": lambda row: row.input_tokens + row.output_tokens,
    }[metric]


def told_as(metric: str) -> Callable[[float], str]:
    """How a value of it is written."""
    return {
        "cost": lambda value: dollars(round(value)),
        "calls": count,
        "gpu": lambda value: duration(value / MICRO),
        "tokens": amount,
    }[metric]


def _height(metric: str) -> Callable[[float], str]:
    if metric == "cost":
        return lambda value: "$0" if not value else f"${value / NANO:,.4g}"
    return told_as(metric)


def _cold(report: UsageReport, visit: Visit) -> int:
    """About what starts have cost, of backends whose price bills them: their part of the time."""
    found = 0
    for row in report.rows:
        backend = visit.gateway.active.backends.get(row.group["backend"])
        if backend is not None and _bills_starts(backend.price) and row.cold_us:
            found += row.cost_nano * row.cold_us // (row.cold_us + row.exec_us)
    return found


def _bills_starts(price: Price | None) -> bool:
    return price is not None and price.per_second is not None and "start" in price.bills


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
            meaning=shown.get(row.group[asked.by], "rest"),
        )
        for row in rows
    ]


def _coloured(rows: Sequence[UsageRow], asked: SpendView) -> dict[str, str]:
    """The outer groups that have a band of their own, and its colour."""
    named = {kind: meaning for kind, _, meaning in _UNUSED} if asked.by == "kind" else {}
    names = dict.fromkeys(row.group[asked.by] for row in rows if _is_band(row, asked))
    free = [name for name in names if name not in named]
    return dict(zip(free, _BANDS, strict=False)) | named


def _is_band(row: UsageRow, asked: SpendView) -> bool:
    if asked.by == "kind" or "kind" not in row.group:
        return not row.group[asked.by].startswith("system:")
    return row.group["kind"] in _USED


def _narrower(row: UsageRow, asked: SpendView, visit: Visit) -> str:
    """The same page of this group alone, by whatever is next."""
    order = ["user", "model", "backend", "reason"] if visit.sees_others else ["model", "backend"]
    taken = {asked.by, *filters_of(visit)}
    after = next((name for name in order if name not in taken), "reason")
    narrowed = {**row.group, "by": asked.then or after, "then": None}
    return visit.here(**narrowed)


def _calls_of(row: UsageRow, visit: Visit) -> str:
    kept = {name: visit.params.get(name) for name in ("range", "from", "to")}
    kept = kept if any(kept.values()) else {"range": "7d"}
    kind = {} if row.calls else {"kind": row.group.get("kind", "all")}
    return link("calls", {**kept, **filters_of(visit), **kind, **row.group})


# --- the plot ------------------------------------------------------------------------------------


async def _plot(
    visit: Visit,
    asked: SpendView,
    kinds: UsageReport,
    earlier: UsageReport,
    lines: Sequence[SpendLine],
) -> Plot:
    pieces = pieces_of(asked.span, visit.tzinfo)
    value, bucket = value_of(asked.metric), asked.span.bucket
    totals = _values(kinds.rows, pieces, bucket, value)
    if asked.is_cumulative:
        return _cumulative(visit, asked, pieces, totals, earlier)
    bands = await _groups(visit, asked, pieces, lines)
    unused = [
        Band(name, meaning, _values(_of_kind(kinds, kind), pieces, bucket, value))
        for kind, name, meaning in ([] if _tells_kinds(visit, asked) else _UNUSED)
    ]
    rest = list(totals)
    for band in (*bands, *unused):
        rest = [left - round(value) for left, value in zip(rest, band.values, strict=True)]
    drawn = [*bands, Band("all others", "rest", rest), *unused]
    upwards = [
        Band(band.name, band.meaning, [max(0, value) for value in band.values]) for band in drawn
    ]
    return _drawn(visit, asked, pieces, upwards, totals, [])


async def _groups(
    visit: Visit, asked: SpendView, pieces: Sequence[TimeSlice], lines: Sequence[SpendLine]
) -> list[Band]:
    """The largest groups. All are asked for at once where they are few, else each by itself."""
    meanings = {line.group[asked.by]: line.meaning for line in lines if line.meaning != "rest"}
    value, bucket = value_of(asked.metric), asked.span.bucket
    if len({line.group[asked.by] for line in lines}) * len(pieces) <= _AT_ONCE:
        dimensions = tuple(dict.fromkeys((bucket, asked.by, "kind")))
        report = await report_of(visit, asked.span, dimensions)
        each = {name: [r for r in report.rows if r.group[asked.by] == name] for name in meanings}
    else:
        found = await asyncio.gather(
            *(report_of(visit, asked.span, (bucket, "kind"), {asked.by: name}) for name in meanings)
        )
        each = {name: report.rows for name, report in zip(meanings, found, strict=True)}
    shows_all = _tells_kinds(visit, asked)
    bands = []
    for name, rows in each.items():
        shown = [row for row in rows if shows_all or row.group["kind"] in _USED]
        bands.append(Band(name, meanings[name], _values(shown, pieces, bucket, value)))
    return bands


def _tells_kinds(visit: Visit, asked: SpendView) -> bool:
    """Whether rows that no call used are among the groups: one kind is asked for, or each."""
    return asked.by == "kind" or bool(_kind_asked(visit))


def _of_kind(report: UsageReport, kind: str) -> list[UsageRow]:
    return [row for row in report.rows if row.group["kind"] == kind]


def _values(
    rows: Iterable[UsageRow],
    pieces: Sequence[TimeSlice],
    bucket: str,
    value: Callable[[UsageRow], int],
) -> list[int]:
    """The sum of each bucket."""
    sums = summed(rows, bucket)
    found = (sums.get((piece.label,)) for piece in pieces)
    return [0 if row is None else value(row) for row in found]


def _cumulative(
    visit: Visit,
    asked: SpendView,
    pieces: Sequence[TimeSlice],
    totals: Sequence[int],
    earlier: UsageReport,
) -> Plot:
    """This time's sum as it grows, and that of the time before."""
    value, bucket = value_of(asked.metric), asked.span.bucket
    found = {row.group[bucket]: value(row) for row in earlier.rows}
    before = [found.get(piece.label, 0) for piece in pieces_of(asked.span.before, visit.tzinfo)]
    before = (before + [0] * len(pieces))[: len(pieces)]
    lines = [
        Band("the time before", "before", list(accumulate(before))),
        Band("this time", "ink", list(accumulate(totals))),
    ]
    return _drawn(visit, asked, pieces, [], totals, lines)


def _drawn(
    visit: Visit,
    asked: SpendView,
    pieces: Sequence[TimeSlice],
    bands: Sequence[Band],
    totals: Sequence[int],
    lines: Sequence[Band],
) -> Plot:
    told = told_as(asked.metric)
    buckets = [
        PlotColumn(
            f"{_named(piece, visit.tzinfo, asked)}: {told(total)}",
            link("spend", {**visit.params, **bounds(piece)}),
        )
        for piece, total in zip(pieces, totals, strict=True)
    ]
    return stacked(
        bands,
        buckets,
        times_of(list(pieces), visit.tzinfo),
        told=_height(asked.metric),
        summary=f"{MEASURES[asked.metric]} by {asked.span.bucket}, stacked by {asked.by}: "
        f"{told(sum(totals))} in all",
        lines=lines,
    )


def _named(piece: TimeSlice, zone: datetime.tzinfo, asked: SpendView) -> str:
    form = "%a %d %b %H:%M" if asked.span.bucket == "hour" else "%a %d %b"
    return datetime.datetime.fromtimestamp(piece.since, zone).strftime(form)


def _heat(report: UsageReport, visit: Visit) -> Heat | None:
    cells = {
        (row.group["user"], row.group["model"]): row.cost_nano
        for row in report.rows
        if row.group["model"]
    }
    return heat_of(
        cells,
        told=lambda nano: money(nano, places_for(cells.values())),
        href=lambda user, model: visit.here(user=user, model=model, by="backend"),
    )
