"""``spillgate replay --conversations N``: what it costs that conversations change their backend."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from gateway.cli.shared import command, table
from gateway.money.text import usd
from gateway.policy.sections.price import Price
from gateway.replay.conversations import ConversationsCost, Market, Way, made_up, through
from gateway.types import NANO

OPTION = "--conversations"


def main(arguments: Sequence[str]) -> int:
    """Exit status 0."""
    options = _parser().parse_args(arguments)
    market = Market(home=_price(1.0), away=_price(options.times), slo=options.slo)
    turns = made_up(options.conversations, options.every, options.seed)
    outcomes = [through(market, way, turns) for way in get_args(Way)]
    if options.json:
        print(json.dumps([_as_json(one) for one in outcomes], indent=2))
    else:
        print(table(("way", "calls", "USD", "late", "moved"), [_row(one) for one in outcomes]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "replay",
        "Runs made-up conversations of a coding agent between a backend with six slots and a "
        "dearer one without a bound: staying where each began, going where a call alone is "
        "cheapest, and the router's way, which prices what a change loses of the cache.",
        "spillgate replay --conversations 80 --times 1.5",
    )
    parser.add_argument(OPTION, type=int, required=True, metavar="N", help="how many")
    parser.add_argument("--times", type=float, default=1.5, help="how dear the other is")
    parser.add_argument("--every", type=float, default=30.0, help="seconds from one to the next")
    parser.add_argument("--slo", type=float, default=20.0, help="seconds that a call may wait")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _price(times: float) -> Price:
    """A dollar for a million tokens of input, a tenth of it from a cache, four for output."""
    return Price(
        per_million_input=round(times * NANO),
        per_million_cached_input=round(times * NANO / 10),
        per_million_output=round(4 * times * NANO),
    )


def _row(outcome: ConversationsCost) -> tuple[str, ...]:
    spent = usd(outcome.nano // 10_000_000 * 10_000_000)
    return outcome.way, f"{outcome.calls:,}", spent, f"{outcome.late:,}", f"{outcome.moved:,}"


def _as_json(outcome: ConversationsCost) -> dict[str, Any]:
    return {**msgspec.structs.asdict(outcome), "cost_usd": usd(outcome.nano)}
