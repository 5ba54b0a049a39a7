"""``spillgate top``: how a running gateway stands, again and again, until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from gateway.cli.running.client import GatewayRefused, RunningGateway, add_gateway, reach
from gateway.cli.running.snapshot import (
    BACKEND_HEADS,
    SPENT_HEADS,
    backend_cells,
    snapshot,
    spent_cells,
)
from gateway.cli.shared import command, fail, is_terminal
from gateway.cli.terminal import as_table
from gateway.money.text import short_usd

_CALLS = ("began", "user", "model", "backend", "outcome", "USD")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, also by Ctrl-C; 2: nobody could be asked."""
    options = _parser().parse_args(arguments)
    with reach(options) as gateway:
        try:
            if options.json or not is_terminal(sys.stdout):
                print(json.dumps(_seen(gateway), indent=2))
            else:
                _watch(gateway, options.every)
        except GatewayRefused as refused:
            fail(f"{gateway.said}: {refused}")
        except KeyboardInterrupt:
            pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "top",
        "How the running gateway stands, drawn anew until Ctrl-C: backends, spend and the newest "
        "calls. Piped, or with --json, it is told once, as JSON.",
        "spillgate top --every 2",
    )
    parser.add_argument(
        "--every", type=_seconds, default=2.0, metavar="S", help="seconds between looks; default: 2"
    )
    add_gateway(parser)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"expected 0.1 to 3600 seconds, found {text!r}")
    return value


def _seen(gateway: RunningGateway) -> dict[str, Any]:
    return {**snapshot(gateway), "calls": gateway.get("/usage/calls", {"limit": "10"})["data"]}


def _watch(gateway: RunningGateway, every: float) -> None:
    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(drawn(_seen(gateway)), refresh=True)
            time.sleep(every)


def drawn(found: dict[str, Any]) -> Group:
    """One screen."""
    ready, spent = found["ready"], found["spent"]
    head = Text(f"{ready['status']}, policy {found['policy']['policy']}   (Ctrl-C ends)")
    head.stylize("green" if ready["status"] == "ready" else "red", 0, len(ready["status"]))
    calls = [
        (
            str(one["started_at"])[11:19],
            *(str(one.get(name) or "-") for name in _CALLS[1:5]),
            short_usd(one["total_cost_usd"], 6),
        )
        for one in found["calls"]
    ]
    missing = [Text(f"missing: {one}", "red") for one in ready.get("missing", ())]
    return Group(
        head,
        *missing,
        as_table(BACKEND_HEADS, [backend_cells(one) for one in found["backends"]]),
        as_table(SPENT_HEADS, [spent_cells(span, spent[span]) for span in spent]),
        as_table(_CALLS, calls),
    )
