"""The first page: what runs, what it costs, and who spends it."""

from __future__ import annotations

import asyncio
import datetime
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.api.usage.forecast import forecast_of
from gateway.console.drawing.figures import counted, dollars, duration, midnight, places_for, share
from gateway.console.drawing.plots import Band, Plot, PlotColumn, stacked
from gateway.console.visits import sheets
from gateway.console.visits.asking import filters_of, report_of, summed, whole
from gateway.console.visits.spans import TimeSlice, TimeSpan, bounds, pieces_of, span_of, times_of
from gateway.console.visits.standings import StandingOf, reserved_names, standings
from gateway.console.visits.visit import HtmlPage, Sheet, Visit, link
from gateway.money.forecasts import parse_scope
from gateway.storage.durations import percentile_s
from gateway.storage.queries import UsageReport, UsageRow
from gateway.types import MICRO, NANO

_SPENDERS = 8
_HOUR_S = 3_600.0
_BY = ("hour", "backend", "kind")


class Figure(msgspec.Struct, frozen=True):
    """A number that somebody acts on, and the page behind it."""

    label: str
    value: str
    beside: str
    note: str
    href: str


class Load(msgspec.Struct, frozen=True):
    """Calls at once, in the mean of one bucket."""

    piece: TimeSlice
    reserved: float
    overflow: float
    cold: float
    calls: int


class Spender(msgspec.Struct, frozen=True):
    """A line of who spends: whoever it is, or what nobody used."""

    name: str
    calls: int | None
    nano: int
    meaning: str
    href: str
    calls_href: str


async def show(visit: Visit) -> HtmlPage:
    """Everything at once: one turn of the ledger's threads."""
    span = span_of(visit, "24h")
    hour = TimeSpan("1h", visit.now_at - _HOUR_S, visit.now_at, visit.zone)
    today = TimeSpan("today", midnight(visit.now_at, visit.tzinfo), visit.now_at, visit.zone)
    by = "user" if visit.sees_others else "model"
    recent, load, spent, leads = await asyncio.gather(
        report_of(visit, hour, (), {"kind": "call"}, durations=True),
        report_of(visit, span, _by(span)),
        report_of(visit, today, (by, "kind"), limit=200),
        _month(visit),
    )
    backends = await standings(visit) if visit.is_admin else []
    loads = _loads(load, span, visit)
    return HtmlPage(
        "now.html",
        {
            "span": span,
            "figures": [
                _calls(recent, visit),
                _delay(recent, visit),
                _today(spent, visit),
                leads,
                _errors(load, span, visit),
            ],
            "plot": _plot(loads, backends, visit),
            "slots": _slots(backends),
            "backends": backends,
            "per_backend": summed(load.rows, "backend"),
            "by": by,
            "spenders": (spenders := _spenders(spent, by)),
            "places": places_for(one.nano for one in spenders),
            "spent": whole(spent).cost_nano,
            "is_empty": not whole(load).calls and not backends,
            "filters": filters_of(visit),
        },
    )


async def sheet(visit: Visit) -> Sheet:
    """The load of each bucket."""
    span = span_of(visit, "24h")
    loads = _loads(await report_of(visit, span, _by(span)), span, visit)
    head = ("from", "calls", "reserved_busy", "warm_overflow", "cold")
    rows = [
        (
            bounds(one.piece)["from"],
            one.calls,
            round(one.reserved, 4),
            round(one.overflow, 4),
            round(one.cold, 4),
        )
        for one in loads
    ]
    return sheets.sheet_of("load", head, rows)


def _by(span: TimeSpan) -> tuple[str, ...]:
    return (span.bucket, *_BY[1:])


# --- numbers -------------------------------------------------------------------------------------


def _calls(recent: UsageReport, visit: Visit) -> Figure:
    row = whole(recent)
    each_s = row.calls / _HOUR_S
    note = f"{each_s:.1f} a second" if each_s >= 0.1 else f"{row.calls / 60:.1f} a minute"
    href = link("calls", {"range": "1h", **filters_of(visit)})
    return Figure("Calls in the last hour", f"{row.calls:,}", "", note, href)


def _delay(recent: UsageReport, visit: Visit) -> Figure:
    row = whole(recent)
    half, most = (percentile_s(row.durations, part) for part in (0.5, 0.95))
    note, beside = "no call has ended in the last hour", ""
    if row.calls:
        waited = duration(row.queue_us / row.calls / MICRO)
        note, beside = f"p50 / p95 of the last hour, {waited} of it in line", f"/ {duration(most)}"
    return Figure(
        "From request to answer",
        duration(half),
        beside,
        note,
        link("calls", {"range": "1h", **filters_of(visit)}),
    )


def _today(spent: UsageReport, visit: Visit) -> Figure:
    kept = sum(row.cost_nano for row in spent.rows if row.group.get("kind") == "ping")
    row = whole(spent)
    note = f"of it idle {dollars(row.idle_nano)}, kept warm {dollars(kept)}"
    if not visit.is_admin:
        note = f"in {counted(row.calls, 'call')}"
    return Figure(
        "Spent today", dollars(row.cost_nano), "", note, link("spend", {"range": "today"})
    )


async def _month(visit: Visit) -> Figure:
    """A budget says when it is full and how sure that is."""
    whose = parse_scope("gateway" if visit.is_admin else None, visit.who)
    told = await forecast_of(visit.gateway, visit.context, whose)
    window = next((one for one in told["windows"] if one["unit"] == "usd"), None)
    href = link("spend", {"range": "month"})
    if window is None:
        return Figure("This month", dollars(0), "", "no limit of money holds", href)
    spent, limit = _nano(window["spent"]), window["limit"]
    span = f"This {window['window']}"
    if limit is None:
        low, high = _nano(window["low"]), _nano(window["high"])
        note = f"ends at {dollars(low)} to {dollars(high)}, as it goes on; no limit holds"
        return Figure(span, dollars(spent), f"→ {dollars(_nano(window['expected']))}", note, href)
    note = _full(window, visit.tzinfo)
    return Figure(f"{span}, against {dollars(_nano(limit))}", dollars(spent), "", note, href)


def _full(window: dict[str, Any], zone: datetime.tzinfo) -> str:
    at, low, high = (window[name] for name in ("exhausted_at", "earliest", "latest"))
    if at is None:
        return f"not full before it ends; {dollars(_nano(window['expected']))} by then"
    within = f"{_day(low, zone)} to {_day(high, zone)}" if high else f"{_day(low, zone)} or later"
    return f"full on {_day(at, zone)} ({within})"


def _day(text: str, zone: datetime.tzinfo) -> str:
    return f"{datetime.datetime.fromisoformat(text).astimezone(zone):%d %b}"


def _nano(text: str) -> int:
    return round(float(text) * NANO)


def _errors(load: UsageReport, span: TimeSpan, visit: Visit) -> Figure:
    row = whole(load)
    return Figure(
        f"Failed, {_called(span)}",
        share(row.errors, row.calls),
        "",
        f"{row.errors:,} of {counted(row.calls, 'call')}, {counted(row.cold_starts, 'cold start')}",
        link("calls", {**_span_params(visit), "outcome": "error", **filters_of(visit)}),
    )


def _span_params(visit: Visit) -> dict[str, str | None]:
    kept = {name: visit.params.get(name) for name in ("range", "from", "to")}
    return kept if any(kept.values()) else {"range": "24h"}


def _called(span: TimeSpan) -> str:
    return {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days"}.get(
        span.name, "in this time"
    )


# --- load ----------------------------------------------------------------------------------------


def _loads(report: UsageReport, span: TimeSpan, visit: Visit) -> list[Load]:
    ours = reserved_names(visit)
    found: defaultdict[str, list[UsageRow]] = defaultdict(list)
    for row in report.rows:
        found[row.group[span.bucket]].append(row)
    return [_load(piece, found[piece.label], ours) for piece in pieces_of(span, visit.tzinfo)]


def _load(piece: TimeSlice, rows: Sequence[UsageRow], ours: set[str]) -> Load:
    seconds = max(piece.until - piece.since, 1.0) * MICRO
    here = sum(row.exec_us for row in rows if row.group["backend"] in ours)
    there = sum(row.exec_us for row in rows if row.group["backend"] not in ours)
    cold = sum(row.cold_us for row in rows)
    calls = sum(row.calls for row in rows)
    return Load(piece, here / seconds, there / seconds, cold / seconds, calls)


def _slots(backends: Sequence[StandingOf]) -> int | None:
    """Calls that reserved backends run at once; None where that is not bounded."""
    slots = [one.slots for one in backends if one.is_reserved]
    return sum(one or 0 for one in slots) if slots and None not in slots else None


def _plot(loads: Sequence[Load], backends: Sequence[StandingOf], visit: Visit) -> Plot:
    slots = _slots(backends)
    highest = max((one.reserved + one.overflow + one.cold for one in loads), default=0.0)
    idle = [0.0] * len(loads)
    if slots is not None and slots <= 4 * max(highest, 0.25):
        idle = [max(0.0, slots - one.reserved) for one in loads]
    buckets = [PlotColumn(_tip(one, visit.tzinfo), _rows_of(one.piece, visit)) for one in loads]
    total = sum(one.calls for one in loads)
    return stacked(
        [
            Band("reserved, busy", "reserved", [one.reserved for one in loads]),
            Band("reserved, idle", "idle", idle),
            Band("warm overflow", "overflow", [one.overflow for one in loads]),
            Band("cold start", "cold", [one.cold for one in loads]),
        ],
        buckets,
        times_of([one.piece for one in loads], visit.tzinfo),
        told=lambda height: f"{height:g}",
        summary=f"Calls at once, stacked: {counted(total, 'call')}, at most {highest:.2f} at once",
    )


def _tip(one: Load, zone: datetime.tzinfo) -> str:
    at = datetime.datetime.fromtimestamp(one.piece.since, zone)
    return (
        f"{at:%a %d %b %H:%M}: {counted(one.calls, 'call')}; at once {one.reserved:.2f} reserved, "
        f"{one.overflow:.2f} overflow, {one.cold:.2f} starting"
    )


def _rows_of(piece: TimeSlice, visit: Visit) -> str:
    return link("calls", {**filters_of(visit), **bounds(piece)})


# --- who spends ----------------------------------------------------------------------------------


def _spenders(spent: UsageReport, by: str) -> list[Spender]:
    """The dearest, then what is left, then what no call used."""
    used = [row for row in spent.rows if row.group["kind"] in ("call", "attempt")]
    named = sorted(summed(used, by).values(), key=lambda row: -row.cost_nano)
    lines = [
        Spender(
            row.group[by],
            row.calls,
            row.cost_nano,
            "accent",
            link("spend", {"range": "today", by: row.group[by]}),
            link("calls", {"range": "today", by: row.group[by]}),
        )
        for row in named[:_SPENDERS]
    ]
    rest = sum(row.cost_nano for row in named[_SPENDERS:])
    left = 0 if spent.left_out is None else spent.left_out.cost_nano
    if rest or left:
        href = link("spend", {"range": "today", "by": by})
        calls = link("calls", {"range": "today"})
        lines.append(Spender("all others", None, rest + left, "accent", href, calls))
    for kind, name, meaning in (("idle", "idle", "idle"), ("ping", "kept warm", "warm")):
        nano = sum(row.cost_nano for row in spent.rows if row.group["kind"] == kind)
        if nano:
            href = link("spend", {"range": "today", "kind": kind, "by": "backend"})
            rows = link("calls", {"range": "today", "kind": kind})
            lines.append(Spender(name, None, nano, meaning, href, rows))
    return lines
