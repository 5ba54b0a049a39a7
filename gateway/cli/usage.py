"""``spillgate usage``: the report of /usage, straight from the ledger, or beside the bills."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.app import open_ledger
from gateway.cli.reconcile import EVERY, Unbilled, reconcile
from gateway.cli.shared import add_config, command, fail, policy_with_stores
from gateway.clock import SystemClock
from gateway.money import reconciliation
from gateway.money.reconciliation import Comparison, period_of
from gateway.money.usage_reports import as_csv, as_json, as_table, parse_usage_query
from gateway.policy.model import Policy
from gateway.storage.base import UsageQuery, UsageReport
from gateway.types import ApiError, Principal

_OPERATOR = Principal(key_id="operator", user="operator", role="admin")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 1: a bill could not be had; 2: the request or the policy cannot be read."""
    parser = command(
        "usage",
        "Cost, device seconds and calls, summed as you like; with --reconcile, what platforms bill "
        "beside what the ledger has. Exit status 1: a bill could not be had.",
        "spillgate usage --config config/default.yaml --group-by user,model --from 7d",
    )
    add_config(parser)
    parser.add_argument(
        "--group-by",
        default="user",
        metavar="LIST",
        help="of user, key, plan, model, task, backend, day, hour, outcome, reason, kind, tag:NAME",
    )
    parser.add_argument(
        "--from", "--since", dest="since", metavar="TIME", help="a date, or such as 7d"
    )
    parser.add_argument("--to", "--until", dest="until", metavar="TIME", help="a date, or 1d")
    parser.add_argument(
        "--reconcile",
        nargs="?",
        const=EVERY,
        metavar="BACKEND",
        help="the platform's bill beside the ledger; left out: of every backend that has one",
    )
    parser.add_argument("--where", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--limit", metavar="N", help="the N dearest groups; the rest as one sum")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument("--json", action="store_const", const="json", dest="format")
    options = parser.parse_args(arguments)
    params = {"group_by": options.group_by}
    given = {"from": options.since, "to": options.until, "limit": options.limit}
    params |= {name: value for name, value in given.items() if value is not None}
    params |= dict(_pair(text) for text in options.where)
    try:
        query = parse_usage_query(params, _OPERATOR, now_at=SystemClock().time())
    except ApiError as error:
        fail(error.message)
    if options.reconcile is not None:
        return _reconcile(options.config, options.reconcile, query, options.format)
    report = asyncio.run(_read(policy_with_stores(options.config), query))
    print(_render(options.format, report, query), end="")
    if report.groups_left_out and options.format == "csv":
        print(f"{report.groups_left_out} groups are left out", file=sys.stderr)
    return 0


def _reconcile(config: Path, name: str, query: UsageQuery, form: str) -> int:
    if form == "csv" or query.where or query.limit is not None:
        fail("--reconcile compares whole backends, as a table or as JSON")
    clock = SystemClock()
    try:
        period = period_of(query.since, query.until, clock.time())
    except ValueError as error:
        fail(str(error))
    found = asyncio.run(reconcile(policy_with_stores(config), name, period, clock))
    compared = [one for one in found if isinstance(one, Comparison)]
    unbilled = [one for one in found if isinstance(one, Unbilled)]
    if form == "json":
        told = {
            "object": "reconciliation",
            "backends": [reconciliation.as_json(one) for one in compared],
            "not_had": {one.backend: one.why for one in unbilled},
        }
        print(json.dumps(told, indent=2))
    else:
        for same in compared:
            print(reconciliation.as_text(same))
        for one in unbilled:
            print(f"{one.backend}: no bill: {one.why}", file=sys.stderr)
    return 1 if unbilled else 0


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


def _render(form: str, report: UsageReport, query: UsageQuery) -> str:
    if form == "json":
        return json.dumps(as_json(report, query), indent=2) + "\n"
    return as_csv(report, query) if form == "csv" else as_table(report, query)
