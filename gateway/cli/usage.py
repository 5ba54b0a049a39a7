"""``spillgate usage``: the report of /usage, straight from the ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from gateway.app import open_ledger
from gateway.cli.shared import add_config, command, fail, policy_offline
from gateway.clock import SystemClock
from gateway.policy.model import Policy
from gateway.reports import as_csv, as_json, as_table, parse_usage_query
from gateway.storage.base import UsageQuery, UsageRow
from gateway.types import ApiError, Principal

_OPERATOR = Principal(key_id="operator", user="operator", role="admin")


def main(arguments: Sequence[str]) -> int:
    parser = command(
        "usage",
        "Cost, device seconds and calls, summed as you like.",
        "spillgate usage --config config/default.yaml --group-by user,model --from 7d",
    )
    add_config(parser)
    parser.add_argument(
        "--group-by",
        default="user",
        metavar="LIST",
        help="of user, key, plan, model, task, backend, day, hour, outcome, reason, kind, tag:NAME",
    )
    parser.add_argument("--from", dest="since", metavar="TIME", help="a date, or such as 7d")
    parser.add_argument("--to", metavar="TIME", help="a date, or such as 1d")
    parser.add_argument("--where", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table")
    parser.add_argument("--json", action="store_const", const="json", dest="format")
    options = parser.parse_args(arguments)
    params = {"group_by": options.group_by}
    params |= {} if options.since is None else {"from": options.since}
    params |= {} if options.to is None else {"to": options.to}
    params |= dict(_pair(text) for text in options.where)
    try:
        query = parse_usage_query(params, _OPERATOR, now_at=SystemClock().time())
    except ApiError as error:
        fail(error.message)
    rows = asyncio.run(_read(policy_offline(options.config), query))
    print(_render(options.format, rows, query), end="")
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        fail(f"--where {text!r}: write it as NAME=VALUE")
    return name, value


async def _read(policy: Policy, query: UsageQuery) -> list[UsageRow]:
    ledger = open_ledger(policy)
    try:
        return await ledger.usage(query)
    finally:
        await ledger.aclose()


def _render(form: str, rows: list[UsageRow], query: UsageQuery) -> str:
    if form == "json":
        return json.dumps(as_json(rows, query), indent=2) + "\n"
    return as_csv(rows, query) if form == "csv" else as_table(rows, query)
