"""``spillgate schedules``: what begins by the clock, when it comes next, and what became of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from gateway.cli.running.client import GatewayRefused, add_gateway, reach
from gateway.cli.shared import command, fail, table

_HEADS = ("schedule", "begins", "model", "cron", "next", "last", "outcome", "of", "why")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: nobody could be asked."""
    options = _parser().parse_args(arguments)
    with reach(options) as gateway:
        try:
            found = gateway.get("/admin/schedules")
        except GatewayRefused as refused:
            fail(f"{gateway.said}: {refused}")
    if options.json:
        print(json.dumps(found, indent=2))
    elif found["schedules"]:
        print(table(_HEADS, [_cells(one) for one in found["schedules"]]).rstrip("\n"))
    else:
        print("the policy has no schedules")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "schedules",
        "The schedules of the running gateway: when each comes next, and what became of its last "
        "instant.",
        "spillgate schedules",
    )
    add_gateway(parser)
    return parser


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    last = one["last"][0] if one["last"] else {}
    cron = one["cron"] if one["zone"] == "UTC" else f"{one['cron']} {one['zone']}"
    words = (one["name"], one["begins"], one["model"] or "", cron)
    coming = one["next"][0] if one["next"] else "never"
    why = one["waits_for"] or last.get("why") or ""
    state = last.get("state") or last.get("id") or ""
    return (*words, coming, last.get("at", ""), last.get("outcome", ""), state, why)
