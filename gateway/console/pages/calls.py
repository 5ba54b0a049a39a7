"""Calls: those that fit, newest first, and what they come to."""

from __future__ import annotations

import asyncio

import msgspec

from gateway.console.drawing.figures import places_for
from gateway.console.drawing.words import ERROR_WORDS, OUTCOMES
from gateway.console.pages import call
from gateway.console.pages.spend_plot import USED
from gateway.console.visits.asking import filters_of, query_of, report_of, whole
from gateway.console.visits.spans import span_of
from gateway.console.visits.visit import Given, HtmlPage, Onward, Sheet, Visit, link
from gateway.keys.permitted import may_use
from gateway.money.call_lists import parse_calls_query
from gateway.money.call_streams import CallStream, read_page
from gateway.money.usage_reports import total_of
from gateway.storage.queries import CallsQuery, UsageReport, UsageRow

_PAGE = 50


async def show(visit: Visit) -> Given:
    """One page of them; an id leads to its record."""
    if visit.rest:
        return await call.show(visit)
    if wanted := visit.params.get("id", "").strip():
        return Onward(link("calls", {}, wanted))
    span = span_of(visit, "24h", whole_hours=False)
    query = _query(visit)
    page, report = await asyncio.gather(
        read_page(visit.gateway.ledger, query),
        report_of(visit, span, ("kind",)),
    )
    return HtmlPage(
        "calls.html",
        {
            "span": span,
            "rows": page.rows,
            "totals": page.totals,
            "places": max(4, places_for(page.totals.values())),
            "next": page.next,
            "total": _total(visit, report),
            "filters": filters_of(visit),
            "choices": _choices(visit),
            "outcomes": OUTCOMES,
            "error_words": ERROR_WORDS,
        },
    )


async def sheet(visit: Visit) -> Sheet:
    """All of them, however many, as a stream."""
    query = _query(visit)
    ledger = visit.gateway.ledger
    stream = CallStream(ledger, query, "csv", attempts=False, now_at=visit.now_at)
    return Sheet("calls.csv", stream.pieces())


def _query(visit: Visit) -> CallsQuery:
    params = filters_of(visit) | {"limit": str(_PAGE)}
    if after := visit.params.get("after"):
        params["after"] = after
    asked = parse_calls_query(params, visit.who, now_at=visit.now_at)
    span = span_of(visit, "24h", whole_hours=False)
    rows = query_of(visit, span, (), _kind(visit))
    return msgspec.structs.replace(asked, rows=rows)


_OF_AN_END = frozenset(("outcome", "error", "reason", "backend"))
"""What an attempt has of its own, so that it may fit where its call does not."""


def _total(visit: Visit, report: UsageReport) -> UsageRow:
    """Of the calls and the attempts that failed them, as each line has it; of rows of a kind, and
    of calls that ended in a certain way, by themselves."""
    filters = filters_of(visit)
    if "kind" in filters:
        return whole(report)
    kinds = ("call",) if _OF_AN_END & filters.keys() else USED
    return total_of([row for row in report.rows if row.group["kind"] in kinds])


def _kind(visit: Visit) -> dict[str, str]:
    """Calls alone, unless others are asked for."""
    return {} if "kind" in visit.params else {"kind": "call"}


def _choices(visit: Visit) -> dict[str, list[str]]:
    """What the form offers: the models that the key may use, and the backends behind them."""
    specs = visit.gateway.active.policy.models
    models = [name for name in specs if may_use(visit.who.permitted, name)]
    backends = dict.fromkeys(backend for name in models for backend in specs[name].backends)
    return {"model": models, "backend": list(backends)}
