"""``spillgate calls``: calls that have ended, and what was decided and paid for one of them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from gateway.cli.running.client import GatewayRefused, RunningGateway, add_gateway, reach
from gateway.cli.shared import command, fail, table
from gateway.money.price_comparison import told_quantity, unit_of
from gateway.money.text import short_usd, usd

_FILTERS = ("user", "model", "backend", "outcome")
_HEADS = ("began", "id", "user", "model", "backend", "outcome", "status", "cold", "USD")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 1: there is no such call; 2: it was asked wrongly, or nobody could be
    asked."""
    options = _parser().parse_args(arguments)
    with reach(options) as gateway:
        try:
            found = _found(options, gateway)
        except GatewayRefused as refused:
            if refused.status != 404:
                fail(str(refused))
            print(refused)
            return 1
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(lines_of(found) if options.id else _list(found)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "calls",
        "Calls that have ended, newest first; with an ID, all that is known of one: each attempt, "
        "what decided, how long it took and what it cost.",
        "spillgate calls --user alice --outcome error --from 1d",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="of one call: req_... (X-Request-Id)")
    for name in _FILTERS:
        parser.add_argument(f"--{name}", help=f"of this {name} alone")
    parser.add_argument("--from", dest="since", metavar="TIME", help="a date, or such as 7d")
    parser.add_argument("--to", dest="until", metavar="TIME", help="a date, or such as 1d")
    parser.add_argument("--limit", default="50", metavar="N", help="so many; default: 50")
    parser.add_argument("--after", metavar="NEXT", help="the `next` of the page before")
    add_gateway(parser)
    return parser


def _found(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    if options.id:
        return gateway.get(f"/usage/{quote(options.id, safe='')}")
    asked = {name: getattr(options, name) for name in (*_FILTERS, "limit", "after")}
    asked |= {"from": options.since, "to": options.until}
    return gateway.get("/usage/calls", {name: one for name, one in asked.items() if one})


def _list(found: dict[str, Any]) -> Iterator[str]:
    if not found["data"]:
        yield "no call fits"
        return
    yield table(_HEADS, [_cells(one) for one in found["data"]]).rstrip("\n")
    if found["next"]:
        yield f"more: --after {found['next']}"


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    words = (str(one.get(name) or "") for name in _HEADS[1:7])
    cost = short_usd(one["total_cost_usd"], 6)
    return (str(one["started_at"])[:19], *words, "cold" if one["cold_seconds"] else "", cost)


def lines_of(value: Any, depth: int = 0) -> Iterator[str]:
    """Every field on a line of its own, those within it further in."""
    pad = "  " * depth
    for name, inner in value.items():
        if name == "charged_by" and inner:
            yield f"{pad}charged_by"
            yield from (f"{pad}  {_charge(part)}" for part in inner["parts"] if part["rate_nano"])
        elif isinstance(inner, dict) and inner:
            yield f"{pad}{name}"
            yield from lines_of(inner, depth + 1)
        elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
            yield f"{pad}{name}"
            for number, one in enumerate(inner, 1):
                yield f"{pad}  {number}."
                yield from lines_of(one, depth + 2)
        elif inner not in (None, "", [], {}) and not name.endswith("_nano"):
            shown = ", ".join(map(str, inner)) if isinstance(inner, list) else _plain(inner)
            yield f"{pad}{name:<{max(1, 24 - 2 * depth)}} {shown}"


def _charge(part: dict[str, Any]) -> str:
    """'0.000000604 USD: 0.021744 s at 0.1 USD an hour'."""
    cost, item = f"{usd(part['cost_nano'], padded=True)} USD", part["item"]
    if item == "stated":
        return f"{cost}, as the platform states it"
    much = told_quantity(item, part["quantity"])
    return f"{cost}: {much} at {usd(part['rate_nano'])} USD {unit_of(item)}"


def _plain(value: Any) -> str:
    """Numbers without an exponent: '0.000027'."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.9f}".rstrip("0").rstrip(".")
