"""``spillgate usage``: the report of /usage, straight from the ledger, or beside the bills."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.bills import texts
from gateway.bills.comparison import Comparison
from gateway.bills.periods import Period, period_of
from gateway.cli.acts import ACTS, act_of_this_user, audited
from gateway.cli.shared import add_config, command, fail, policy_with_stores, table
from gateway.cli.spending.forecast import forecast
from gateway.cli.spending.reconcile import EVERY, Reconciliation, Unbilled, reconcile
from gateway.cli.spending.watch import watch
from gateway.clock import SystemClock
from gateway.money.call_lists import CallsPage, calls_json, parse_calls_query
from gateway.money.call_streams import FORMS, CallStream, read_page
from gateway.money.focus import contract_commitments, cost_and_usage, focus_query
from gateway.money.text import iso, usd
from gateway.money.usage_reports import (
    DIMENSIONS,
    as_csv,
    as_json,
    as_table,
    parse_usage_query,
)
from gateway.opening.stores import open_ledger
from gateway.policy.model import Policy
from gateway.storage.base import LedgerRow
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from gateway.types import MICRO, ApiError, Principal

_OPERATOR = Principal(key_id="operator", user="operator", role="admin")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 1: a bill could not be had; 2: the request or the policy cannot be read."""
    options = _parser().parse_args(arguments)
    given = {
        "from": options.since,
        "to": options.until,
        "limit": options.limit,
        "tz": options.tz,
        "percentiles": "true" if options.percentiles else None,
    }
    params = {name: value for name, value in given.items() if value is not None}
    params |= dict(_pair(text) for text in options.where)
    try:
        if options.calls:
            return _calls(options, params)
        params = {"group_by": options.group_by, **params}
        query = parse_usage_query(params, _OPERATOR, now_at=SystemClock().time())
    except ApiError as error:
        fail(error.message)
    if options.watch is not None and (
        options.format not in ("table", "json") or options.forecast or options.reconcile
    ):
        fail("--watch tells sums, as a table or as JSON")
    if options.format == "jsonl":
        fail("--format jsonl belongs to --calls")
    if options.forecast is not None:
        return forecast(options.config, options.forecast, options.format)
    if options.reconcile is not None:
        return _reconcile(options, query)
    for name in ("bill", "book", "runs"):
        if getattr(options, name):
            fail(f"--{name} belongs to --reconcile BACKEND")
    policy = policy_with_stores(options.config)
    if options.format == "focus-commitments":
        print(contract_commitments(policy, SystemClock().time()), end="")
        return 0
    if options.watch is not None:
        return watch(lambda: _again(options, params, policy), options.watch)
    if options.format == "focus":
        query = _focus(query)
    report = asyncio.run(_read(policy, query))
    print(_render(options.format, report, query, policy), end="")
    if report.groups_left_out and options.format in ("csv", "focus"):
        print(f"{report.groups_left_out} groups are left out", file=sys.stderr)
    return 0


def _again(options: argparse.Namespace, params: dict[str, str], policy: Policy) -> str:
    """The report of now: what ``7d`` began at has moved on."""
    query = parse_usage_query(params, _OPERATOR, now_at=SystemClock().time())
    return _render(options.format, asyncio.run(_read(policy, query)), query, policy)


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "usage",
        "Cost, device seconds and calls, summed as you like; with --calls, single calls, newest "
        "first; with --reconcile, what platforms bill beside what the ledger has. Exit status 0: "
        "done, whatever the figures say; 1: a bill could not be had; 2: it was asked wrongly, or "
        "the ledger cannot be read.",
        "spillgate usage --config config/default.yaml --group-by user,model --from 7d",
    )
    add_config(parser)
    parser.add_argument(
        "--group-by", default="user", metavar="LIST", help=f"of {', '.join(DIMENSIONS)}, tag:NAME"
    )
    parser.add_argument(
        "--from", "--since", dest="since", metavar="TIME", help="a date, or such as 7d"
    )
    parser.add_argument("--to", "--until", dest="until", metavar="TIME", help="a date, or 1d")
    parser.add_argument("--tz", metavar="ZONE", help="whose days and hours; UTC if left out")
    parser.add_argument(
        "--percentiles", action="store_true", help="how long calls took, as CSV or JSON too"
    )
    parser.add_argument(
        "--calls",
        action="store_true",
        help="single calls that have ended, newest first: --limit of them (50), --after the `next` "
        "that the page before ended with",
    )
    parser.add_argument("--after", default="", metavar="NEXT", help="with --calls: the next page")
    _add_reconcile(parser)
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of these alone, by any of what one may group by, such as outcome=error",
    )
    parser.add_argument(
        "--forecast",
        metavar="SCOPE",
        help="where the spend of user:NAME, key:ID, plan:NAME, tag:NAME=VALUE or the gateway leads",
    )
    parser.add_argument("--limit", metavar="N", help="the N dearest groups; the rest as one sum")
    parser.add_argument(
        "--format",
        choices=("table", "csv", "json", "jsonl", "focus", "focus-commitments"),
        default="table",
        help="jsonl: with --calls, all of them, as csv does; focus: FOCUS 1.3 by the day, with "
        "tag:NAME of --group-by; focus-commitments: its dataset of the policy's commitments",
    )
    parser.add_argument("--json", action="store_const", const="json", dest="format")
    parser.add_argument(
        "--watch",
        nargs="?",
        type=_seconds,
        const=5.0,
        metavar="S",
        help="the report again every so many seconds (5), until Ctrl-C",
    )
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 86400 seconds, found {text!r}")
    return value


def _add_reconcile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reconcile",
        nargs="?",
        const=EVERY,
        metavar="BACKEND",
        help="the platform's bill beside the ledger; left out: of every backend that has one",
    )
    parser.add_argument(
        "--bill",
        type=Path,
        metavar="FILE",
        help="with --reconcile BACKEND: its bill as CSV, with the columns day (or start, end), usd "
        "and, where there are any, seconds, calls, label, fee_usd",
    )
    parser.add_argument(
        "--runs",
        action="store_true",
        help="with --bill: its seconds are of runs alone, not of workers' whole time",
    )
    parser.add_argument(
        "--book",
        action="store_true",
        help="with --reconcile: books what the bill of whole days has and the ledger has not, as "
        "rows of the kind correction",
    )


def _calls(options: argparse.Namespace, params: dict[str, str]) -> int:
    if options.format.startswith("focus") or options.reconcile is not None:
        fail("--calls tells single calls, as a table, JSON, JSON lines or CSV")
    given = {**params, "after": options.after}
    query = parse_calls_query(given, _OPERATOR, now_at=SystemClock().time())
    if options.format in FORMS:
        asyncio.run(_stream_calls(policy_with_stores(options.config), query, options.format))
        return 0
    page = asyncio.run(_read_calls(policy_with_stores(options.config), query))
    if options.format == "json":
        print(json.dumps(calls_json(page), indent=2))
        return 0
    print(table(_HEADS, [_cells(row, page.totals[row.id]) for row in page.rows]), end="")
    if page.next:
        print(f"more: --after {page.next}")
    return 0


_HEADS = ("began", "id", "user", "model", "backend", "outcome", "status", "error", "gpu s", "USD")


def _cells(row: LedgerRow, total_nano: int) -> tuple[str, ...]:
    return (
        *(iso(row.started_at, "seconds"), row.id, row.user, row.model, row.backend, row.outcome),
        *(str(row.status), row.error, f"{row.gpu_us / MICRO:.3f}", usd(total_nano, padded=True)),
    )


async def _stream_calls(policy: Policy, query: CallsQuery, form: str) -> None:
    ledger = open_ledger(policy)
    now_at = SystemClock().time()
    try:
        stream = CallStream(ledger, query, form, attempts=form == "jsonl", now_at=now_at)
        async for piece in stream.pieces():
            sys.stdout.buffer.write(piece)
    finally:
        await ledger.aclose()


async def _read_calls(policy: Policy, query: CallsQuery) -> CallsPage:
    ledger = open_ledger(policy)
    try:
        return await read_page(ledger, query)
    finally:
        await ledger.aclose()


def _reconcile(options: argparse.Namespace, query: UsageQuery) -> int:
    form = options.format
    if form not in ("table", "json") or query.where or query.limit is not None:
        fail("--reconcile compares whole backends, as a table or as JSON")
    clock = SystemClock()
    wanted = Reconciliation(
        name=options.reconcile,
        period=_period(options, query, clock.time()),
        file=options.bill,
        of_runs=options.runs,
        book=options.book,
    )
    policy = policy_with_stores(options.config)
    booking: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if wanted.book:
        booking = audited(policy, act_of_this_user(ACTS["usage", "--book"], wanted.name))
    with booking:
        found = asyncio.run(reconcile(policy, wanted, clock))
    compared = [one for one in found if isinstance(one, Comparison)]
    unbilled = [one for one in found if isinstance(one, Unbilled)]
    if form == "json":
        told = {
            "object": "reconciliation",
            "backends": [texts.as_json(one) for one in compared],
            "not_had": {one.backend: one.why for one in unbilled},
        }
        print(json.dumps(told, indent=2))
    else:
        for same in compared:
            print(texts.as_text(same))
        for one in unbilled:
            print(f"{one.backend}: no bill: {one.why}", file=sys.stderr)
    return 1 if unbilled else 0


def _period(options: argparse.Namespace, query: UsageQuery, now_at: float) -> Period | None:
    """None: all that the file covers."""
    if options.bill is not None and query.since is None and query.until is None:
        return None
    try:
        return period_of(query.since, query.until, now_at, days=options.book)
    except ValueError as error:
        fail(str(error))


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        fail(f"--where {text!r}: write it as NAME=VALUE")
    return name, value


async def _read(policy: Policy, query: UsageQuery) -> UsageReport:
    ledger = open_ledger(policy)
    try:
        return await ledger.usage(query)
    finally:
        await ledger.aclose()


def _focus(query: UsageQuery) -> UsageQuery:
    try:
        return focus_query(query)
    except ApiError as error:
        fail(error.message)


def _render(form: str, report: UsageReport, query: UsageQuery, policy: Policy) -> str:
    if form == "focus":
        return cost_and_usage(report, policy)
    if form == "json":
        return json.dumps(as_json(report, query), indent=2) + "\n"
    return as_csv(report, query) if form == "csv" else as_table(report, query)
