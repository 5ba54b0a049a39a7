"""Backends: how each stands, what it takes and costs, and what an operator may do to it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from gateway.api.admin import backends as admin
from gateway.api.admin import pings
from gateway.api.admin.endpoint import Handler
from gateway.backends.live import LiveBackend
from gateway.console.drawing.figures import duration
from gateway.console.drawing.plots import Band, Plot, PlotColumn, PlotText, stacked
from gateway.console.drawing.prices import price_facts, price_words
from gateway.console.visits import sheets
from gateway.console.visits.acts import done
from gateway.console.visits.asking import report_of, summed, whole
from gateway.console.visits.spans import bounds, pieces_of, span_of, times_of
from gateway.console.visits.standings import standings
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link, told_instant
from gateway.storage.queries import UsageReport
from gateway.types import MICRO, ApiError

_BINS = 14


async def show(visit: Visit) -> HtmlPage:
    """All of them, or the one that the path names."""
    if visit.rest:
        notice = _DONE.get(visit.params.get("done", ""), "")
        return await _one(visit, notice)
    span = span_of(visit, "24h")
    report, stand = await asyncio.gather(
        report_of(visit, span, ("backend", "kind")), standings(visit)
    )
    active = visit.gateway.active.backends
    _, told = await admin.list_backends(visit.gateway, visit.scope, b"")
    return HtmlPage(
        "backends.html",
        {
            "span": span,
            "backends": stand,
            "used": summed(report.rows, "backend"),
            "prices": {name: price_words(active[name].price) for name in active},
            "left_behind": told["left_behind"],
        },
    )


async def sheet(visit: Visit) -> Sheet:
    """As they stand."""
    head = ("backend", "kind", "state", "slots", "running", "in_line", "warm_idle", "cold_p50_s",
            "cold_p95_s", "price")  # fmt: skip
    active = visit.gateway.active.backends
    rows = [
        (one.name, one.kind, one.words, one.slots, one.running, one.in_line, one.warm_idle,
         one.cold_p50, one.cold_p95, price_words(active[one.name].price))
        for one in await standings(visit)
    ]  # fmt: skip
    return sheets.sheet_of("backends", head, rows)


async def drain(visit: Visit) -> Given:
    """Sends it no more calls."""
    route = ("POST", "/admin/backends/{backend:path}/drain")
    return await _change(visit, route, admin.drain, "drained")


async def enable(visit: Visit) -> Given:
    """Sends it calls again."""
    route = ("POST", "/admin/backends/{backend:path}/enable")
    return await _change(visit, route, admin.enable, "enabled")


async def ask(visit: Visit) -> Given:
    """Asks it at once how it is, which the gateway else does now and then; costs nothing."""
    name = visit.form.get("backend", "")
    backend = visit.gateway.active.backend(name)
    backend.probed(await backend.adapter.probe())
    return Onward(link("backends", {}, name) + "?done=asked")


async def ping(visit: Visit) -> Given:
    """Asks it by its cheapest real call, which may take as long as a cold start; says what that did
    and cost."""
    name = visit.form.get("backend", "")
    route = ("POST", "/admin/backends/{backend:path}/ping")
    told = await done(visit, route, pings.ping, {"backend": name})
    seen = msgspec.structs.replace(visit, rest=name, params={})
    return await _one(seen, _came_of(told), told["row"])


def _came_of(told: dict[str, Any]) -> str:
    """What a ping did, in a sentence."""
    took, paid = duration(told["took_seconds"]), f"It cost ${told['cost_usd']}"
    if told["means"] == "probe":
        return f"It was asked, and is {'ready' if told['ready'] else 'not ready'}."
    if told["outcome"] != "success":
        why = ": ".join(part for part in (told["error"], told["message"]) if part)
        return f"It did not answer, after {took}: {why}. {paid}."
    cold = told["cold_start_seconds"]
    how = f"a cold start of {duration(cold)}" if cold else "a warm worker"
    return f"It answered after {took}, by {how}. {paid}."


async def _change(visit: Visit, route: tuple[str, str], handler: Handler, word: str) -> Given:
    name = visit.form.get("backend", "")
    await done(visit, route, handler, {"backend": name})
    return Onward(link("backends", {}, name) + f"?done={word}")


# --- one of them ---------------------------------------------------------------------------------


async def _one(visit: Visit, notice: str, row: str | None = None) -> HtmlPage:
    backend = visit.gateway.active.backends.get(visit.rest)
    if backend is None:
        known = ", ".join(visit.gateway.active.backends) or "none"
        words = f"The policy in force has no backend of this name. It has: {known}."
        raise ApiError(404, "backend_not_found", words, param="backend")
    span = span_of(visit, "24h")
    where = {"backend": backend.name}
    by_time, by_model, stand = await asyncio.gather(
        report_of(visit, span, (span.bucket, "kind"), where),
        report_of(visit, span, ("model", "kind"), where, limit=100),
        standings(visit),
    )
    cold = backend.learned.cold
    stood = next(one for one in stand if one.name == backend.name)
    return HtmlPage(
        "backend.html",
        {
            "span": span,
            "one": stood,
            "total": whole(by_time),
            "plot": _load(by_time, visit, backend),
            "starts": None if cold is None else _starts(cold.samples),
            "seen": 0 if cold is None else max(0, len(cold.samples) - 10),
            "facts": _facts(backend, stood.row["asked_at"], visit),
            "models": {
                row.group["model"]: row for row in by_model.rows if row.group["kind"] == "call"
            },
            "runs": _runs(visit, backend),
            "done": notice,
            "row": row,
            "visit": visit,
            "quote": pings.quote_of(backend),
        },
    )


_DONE = {
    "drained": "It is sent no more calls. Those that it has run to their ends.",
    "enabled": "It is sent calls again.",
    "asked": "It was asked just now, and what it said stands below.",
}


def _load(report: UsageReport, visit: Visit, backend: LiveBackend) -> Plot:
    """Calls at once, starts apart."""
    span = span_of(visit, "24h")
    pieces = pieces_of(span, visit.tzinfo)
    by_label = summed(report.rows, span.bucket)
    rows = [by_label.get((piece.label,)) for piece in pieces]
    lengths = [max(1.0, piece.until - piece.since) * MICRO for piece in pieces]
    runs = [(row.exec_us if row else 0) / us for row, us in zip(rows, lengths, strict=True)]
    colds = [(row.cold_us if row else 0) / us for row, us in zip(rows, lengths, strict=True)]
    is_ours = backend.price is None or backend.price.reserved
    buckets = [
        PlotColumn(
            f"{row.calls if row else 0:,} calls, {run:.2f} at once",
            link("calls", {"backend": backend.name, **bounds(piece)}),
        )
        for piece, row, run in zip(pieces, rows, runs, strict=True)
    ]
    return stacked(
        [
            Band("busy", "reserved" if is_ours else "overflow", runs),
            Band("cold start", "cold", colds),
        ],
        buckets,
        times_of(pieces, visit.tzinfo),
        told=lambda height: f"{height:g}",
        summary=f"Calls at once at {backend.name}, at most {max(runs, default=0):.2f}",
    )


def _starts(samples: list[float]) -> Plot:
    """How long starts took: those seen, and those that the policy foresees."""
    most = max(samples) * 1.0001 or 1.0
    counts = [0] * _BINS
    for sample in samples:
        counts[min(_BINS - 1, int(sample / most * _BINS))] += 1
    buckets = [
        PlotColumn(f"{duration(at * most / _BINS)} to {duration((at + 1) * most / _BINS)}: {n}", "")
        for at, n in enumerate(counts)
    ]
    times = [PlotText(duration(most * part), part * 100) for part in (0.0, 0.25, 0.5, 0.75)]
    return stacked(
        [Band("starts", "cold", counts)],
        buckets,
        times,
        told=lambda height: f"{height:g}",
        summary=f"How long {len(samples)} starts took, up to {duration(most)}",
        least=1.0,
    )


def _runs(visit: Visit, backend: LiveBackend) -> dict[str, Any]:
    """How long a call of each model runs there, as was learned."""
    return {
        model: backend.learned.run_time(model) for model in visit.gateway.active.served_by(backend)
    }


def _facts(backend: LiveBackend, asked_at: str | None, visit: Visit) -> list[tuple[str, str]]:
    common, price = backend.spec.common, backend.price
    by = []
    if price is not None and price.source:
        by = [("by", f"{price.source}, {price.as_of}" if price.as_of else price.source)]
    return [
        ("kind", backend.spec.kind),
        *price_facts(price),
        *by,
        ("at most at once", "as many as it likes" if backend.slots is None else f"{backend.slots}"),
        ("needed to be ready", "yes" if common.required else "no"),
        ("failures in a row", f"{backend.rests.health.failures}"),
        ("asked last", "never" if asked_at is None else told_instant(asked_at, visit, "second")),
        ("it said", backend.standing.told or _said(backend.standing.probed_ready)),
    ]


def _said(ready: bool | None) -> str:
    return "nothing" if ready is None else "ready" if ready else "not ready"
