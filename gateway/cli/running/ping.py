"""``spillgate backends ping``: says what it will cost, asks the backend, and says what it did."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import quote

from gateway.cli.running.client import RunningGateway
from gateway.cli.shared import fail

_LASTS_S = 330.0
"""A cold start may take minutes; the gateway itself gives up after five."""


def add_options(action: argparse.ArgumentParser) -> None:
    """Those that only a ping has."""
    action.add_argument(
        "--yes", action="store_true", help="do not ask before something that costs money"
    )
    action.add_argument(
        "--free",
        action="store_true",
        help="only ask how it is, which costs nothing and wakes no worker",
    )


def run(options: argparse.Namespace, gateway: RunningGateway) -> int:
    """Exit status 0: it answered; 1: it did not, or is not ready. Raises GatewayRefused."""
    path = f"/admin/backends/{quote(options.backend, safe='')}/ping"
    before = gateway.get(path)
    if options.free:
        before = {**before, "means": "probe", "charged": False}
    print(cost_words(before), file=sys.stderr)
    if before["charged"] and not options.yes:
        _confirm()
    told = gateway.post(path, {"free": True} if options.free else {}, within_s=_LASTS_S)
    print(json.dumps({"quote": before, **told}, indent=2) if options.json else end_words(told))
    return 0 if told["ready"] else 1


def _confirm() -> None:
    if not sys.stdin.isatty():
        fail("a ping costs money: add --yes, or --free to ask only how it is")
    print("Ping it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        fail("nothing was asked")


def cost_words(told: dict[str, Any]) -> str:
    """What it will cost, before anybody is asked."""
    name = told["backend"]
    if told["means"] == "probe":
        return f"{name} is asked how it is: that costs nothing and wakes no worker"
    if not told["charged"]:
        return f"{name} is pinged, which adds nothing to any bill"
    most = f"at most ${told['at_most_usd']}"
    return (
        f"a ping of {name} costs about ${told['expected_usd']}, {most} (price {told['price']}), "
        f"charged to {told['account']}"
    )


def end_words(told: dict[str, Any]) -> str:
    """What it did, in a line."""
    name, took = told["backend"], f"after {told['took_seconds']:.3g} s"
    if told["means"] == "probe":
        state = "ready" if told["ready"] else "not ready"
        return f"{name} is {state}" + (f": {told['message']}" if told["message"] else "")
    if told["outcome"] != "success":
        why = ": ".join(part for part in (told["error"], told["message"]) if part)
        return f"{name} did not answer, {took}: {why}; {_paid(told)}"
    cold = told["cold_start_seconds"]
    how = f"a cold start of {cold:.3g} s" if cold else "a warm worker"
    return f"{name} answered {took}: {how}; {_paid(told)}"


def _paid(told: dict[str, Any]) -> str:
    return f"${told['cost_usd']} in row {told['row']}"
