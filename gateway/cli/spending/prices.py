"""``spillgate prices``: what platforms ask by the tables that come with the gateway, what the
policy charges, and where the two differ."""

from __future__ import annotations

import argparse
import datetime
import difflib
import json
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.cli.shared import command, policy_offline
from gateway.money.price_comparison import (
    Compared,
    Difference,
    ListedPrice,
    compared,
    figures_of,
    listed,
    unit_of,
)
from gateway.money.text import usd
from gateway.policy.model import Policy
from gateway.policy.sections.price import Price
from gateway.policy.sections.price_tables import TABLES, table
from gateway.policy.warnings.every import PRICE_DAYS

_NEAR = 3
"""Names that are offered instead of one."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 1: no price has such a name, or with --strict one is out of date or differs;
    2: it could not be done."""
    options = _parser().parse_args(arguments)
    today = datetime.datetime.now(datetime.UTC).date()
    policy = None if options.config is None else policy_offline(options.config)
    prices = table(options.table) if policy is None else policy.prices
    ours = [
        one
        for one in listed(prices, today, options.older_than)
        if not options.names or one.name.startswith(tuple(options.names))
    ]
    if unknown := [one for one in options.names if not any(p.startswith(one) for p in prices)]:
        for name in unknown:
            print(f"spillgate prices: {_none_begins(name, prices)}", file=sys.stderr)
        return 1
    found: list[Compared] = []
    if options.against is not None:
        theirs = listed(table(options.against), today, options.older_than)
        found = list(compared(ours, theirs, options.against, _kinds(policy)))
    if options.json:
        print(json.dumps(_json(ours, found), indent=2))
    else:
        print("\n".join(_text(ours, found)))
    wrong = any(one.stale for one in ours) or any(one.differences for one in found)
    return 1 if options.strict and wrong else 0


def _none_begins(name: str, prices: Collection[str]) -> str:
    """What to write instead: names that have it further on, else one that is close."""
    near = [one for one in prices if name.lower() in one.lower()]
    close = near or difflib.get_close_matches(name, prices, n=_NEAR)
    rest = len(close) - _NEAR
    more = f" or {rest} more" if rest > 0 else ""
    perhaps = f"; did you mean {', '.join(close[:_NEAR])}{more}?" if close else "."
    return f"no price begins with {name!r}{perhaps}"


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "prices",
        "Lists the prices of a table that comes with the gateway, or of a policy; --against shows "
        "where they differ from a table's. A backend takes a table's price by its name.",
        "spillgate prices --config config/default.yaml --against list",
    )
    parser.add_argument("names", nargs="*", help="beginnings of names, such as runpod/; none: all")
    parser.add_argument("--table", choices=TABLES, default="list", help="default: list")
    parser.add_argument("--config", type=Path, metavar="PATH", help="a policy's prices instead")
    parser.add_argument("--against", choices=TABLES, help="the table to hold them against")
    parser.add_argument(
        "--older-than",
        type=int,
        default=PRICE_DAYS,
        metavar="DAYS",
        help=f"a price that was looked up longer ago is out of date; default: {PRICE_DAYS}",
    )
    parser.add_argument("--strict", action="store_true", help="out of date, or different: status 1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _kinds(policy: Policy | None) -> dict[str, str]:
    """Price -> the kind of a backend that has it, which is what tables call a platform."""
    specs = () if policy is None else policy.backends.values()
    return {spec.common.price: spec.kind for spec in specs if spec.common.price is not None}


def _text(ours: list[ListedPrice], found: list[Compared]) -> Iterator[str]:
    """A price that was held against another is followed by what was found."""
    beside = {one.name: one for one in found}
    for one in ours:
        stale = f"  OUT OF DATE: {one.stale}" if one.stale else ""
        dated = f"as of {one.price.as_of}" if one.price.as_of else "no date"
        yield f"{one.name}  {', '.join(_rates(one.price))}  ({dated}){stale}"
        if one.name in beside:
            yield f"    {_verdict(beside[one.name])}"


def _rates(price: Price) -> Iterator[str]:
    for figure, rate in figures_of(price):
        yield f"${usd(rate)} {unit_of(figure)}"
    if price.per_second is not None:
        yield f"bills {'+'.join(price.bills)}"
    for name in ("by_device", "by_image", "by_hours", "by_volume"):
        if getattr(price, name):
            yield f"differs {name.replace('_', ' ')}"


def _verdict(one: Compared) -> str:
    if not one.against:
        return "nothing to hold it against"
    bills = "" if one.bills is None else f"; it bills {one.bills[0]}, that {one.bills[1]}"
    if not one.differences:
        return f"agrees with {one.against}{bills}"
    return f"DIFFERS from {one.against}: {'; '.join(map(_difference, one.differences))}{bills}"


def _difference(one: Difference) -> str:
    ours = "nothing" if one.ours is None else f"${usd(one.ours)}"
    theirs = "nothing" if one.theirs is None else f"${usd(one.theirs)}"
    by = "" if one.percent is None else f" ({one.percent:+.1f} %)"
    return f"{ours} {unit_of(one.figure)} instead of {theirs}{by}"


def _json(ours: Iterable[ListedPrice], found: list[Compared]) -> dict[str, Any]:
    return {
        "prices": [
            {
                "name": one.name,
                "usd": {figure: usd(rate) for figure, rate in figures_of(one.price)},
                "bills": list(one.price.bills),
                "as_of": one.price.as_of,
                "until": one.price.until,
                "source": one.price.source,
                "out_of_date": one.stale or None,
            }
            for one in ours
        ],
        "compared": [
            {
                "name": one.name,
                "against": one.against or None,
                "bills": one.bills,
                "differences": [_difference_json(each) for each in one.differences],
            }
            for one in found
        ],
    }


def _difference_json(one: Difference) -> dict[str, Any]:
    return {
        "rate": one.figure,
        "usd": None if one.ours is None else usd(one.ours),
        "against_usd": None if one.theirs is None else usd(one.theirs),
        "percent": None if one.percent is None else round(one.percent, 3),
    }
