"""The plot of Spend: whom the money went to, and what starts, pings and idle machines have cost, as
bands; or as it adds up, against the time before."""

from __future__ import annotations

import asyncio
import datetime
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate

from gateway.console.drawing.plots import Band, Plot, PlotColumn, stacked
from gateway.console.drawing.words import MEASURES
from gateway.console.pages.spend_view import (
    SpendView,
    cold_nano,
    kind_asked,
    told_as,
    value_of,
)
from gateway.console.visits.asking import report_of
from gateway.console.visits.spans import TimeSlice, bounds, pieces_of, times_of
from gateway.console.visits.visit import Visit, link
from gateway.storage.queries import UsageReport, UsageRow
from gateway.types import NANO

USED = ("call", "attempt")
"""Kinds of rows that are somebody's: what he asked for, and what failed or was left of it."""
UNUSED = (
    ("ping", "kept warm", "warm"),
    ("idle", "idle", "idle"),
    ("correction", "corrections", "quiet"),
)
"""The other kinds, and the bands that they have."""
_AT_ONCE = 5_000
"""Sums that one report may have for a plot."""
_ROUNDED_NANO = 10_000
"""Starts are rounded in each sum of which they are a part: below it nobody spent anything."""


async def plot_of(
    visit: Visit,
    asked: SpendView,
    kinds: UsageReport,
    earlier: UsageReport,
    cold: UsageReport,
    colours: Mapping[str, str],
) -> Plot:
    """``kinds`` are the sums of each bucket by kind, ``cold`` those of its calls by backend,
    ``earlier`` those of the time before; ``colours`` has every group, and whether it has a band.
    Raises as ``report_of``."""
    pieces = pieces_of(asked.span, visit.tzinfo)
    value, bucket = value_of(asked.metric), asked.span.bucket
    totals = _values(kinds.rows, pieces, bucket, value)
    if asked.is_cumulative:
        return _cumulative(visit, asked, pieces, totals, earlier)
    bands = await _groups(visit, asked, pieces, colours, _without_starts(visit, asked, cold))
    unused = [
        Band(name, meaning, _values(_of_kind(kinds, kind), pieces, bucket, value))
        for kind, name, meaning in ([] if _tells_kinds(visit, asked) else UNUSED)
    ]
    if asked.metric == "cost":
        starts = _values(cold.rows, pieces, bucket, cold_nano(visit))
        unused.insert(0, Band("cold starts", "cold", starts))
    rest = list(totals)
    for band in (*bands, *unused):
        rest = [left - round(value) for left, value in zip(rest, band.values, strict=True)]
    if asked.metric == "cost":
        rest = [left if left >= _ROUNDED_NANO else 0 for left in rest]
    drawn = [*bands, Band("all others", "rest", rest), *unused]
    upwards = [
        Band(band.name, band.meaning, [max(0, value) for value in band.values]) for band in drawn
    ]
    return _drawn(visit, asked, pieces, upwards, totals, [])


async def _groups(
    visit: Visit,
    asked: SpendView,
    pieces: Sequence[TimeSlice],
    colours: Mapping[str, str],
    value: Callable[[UsageRow], int],
) -> list[Band]:
    """The largest groups. All are asked for at once where they are few, else each by itself."""
    meanings = {name: meaning for name, meaning in colours.items() if meaning != "rest"}
    bucket = asked.span.bucket
    if len(colours) * len(pieces) <= _AT_ONCE:
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
        shown = [row for row in rows if shows_all or row.group["kind"] in USED]
        bands.append(Band(name, meanings[name], _values(shown, pieces, bucket, value)))
    return bands


def _without_starts(visit: Visit, asked: SpendView, cold: UsageReport) -> Callable[[UsageRow], int]:
    """What is added up of a row, but for starts, which have a band of their own. Of a bucket's a
    group has the part that it has of their time: to split each group by backend as well would be
    dear."""
    value, bucket, dear = value_of(asked.metric), asked.span.bucket, cold_nano(visit)
    if asked.metric != "cost":
        return value
    nano: Counter[str] = Counter()
    lasted_us: Counter[str] = Counter()
    for row in cold.rows:
        nano[row.group[bucket]] += dear(row)
        lasted_us[row.group[bucket]] += row.cold_us

    def without(row: UsageRow) -> int:
        if row.group["kind"] != "call" or not row.cold_us:
            return value(row)
        if asked.by == "backend":
            return value(row) - dear(row)
        label = row.group[bucket]
        return value(row) - nano[label] * row.cold_us // max(1, lasted_us[label])

    return without


def _tells_kinds(visit: Visit, asked: SpendView) -> bool:
    """Whether rows that no call used are among the groups: one kind is asked for, or each."""
    return asked.by == "kind" or bool(kind_asked(visit))


def _of_kind(report: UsageReport, kind: str) -> list[UsageRow]:
    return [row for row in report.rows if row.group["kind"] == kind]


def _values(
    rows: Iterable[UsageRow],
    pieces: Sequence[TimeSlice],
    bucket: str,
    value: Callable[[UsageRow], int],
) -> list[int]:
    """The sum of each bucket."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row.group[bucket]] += value(row)
    return [sums[piece.label] for piece in pieces]


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
    form = {"hour": "%a %d %b %H:%M", "day": "%a %d %b", "month": "%b %Y"}[asked.span.bucket]
    return datetime.datetime.fromtimestamp(piece.since, zone).strftime(form)


def _height(metric: str) -> Callable[[float], str]:
    if metric == "cost":
        return lambda value: "$0" if not value else f"${value / NANO:,.4g}"
    return told_as(metric)
