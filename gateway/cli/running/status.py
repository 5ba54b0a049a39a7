"""``spillgate status``: how a running gateway stands, on one screen."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from gateway.cli.running.client import GatewayRefused, add_gateway, reach
from gateway.cli.running.snapshot import (
    BACKEND_HEADS,
    SPENT_HEADS,
    backend_cells,
    snapshot,
    spent_cells,
)
from gateway.cli.shared import command, fail, table


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: it is ready; 1: it is not; 2: nobody could be asked."""
    options = _parser().parse_args(arguments)
    with reach(options) as gateway:
        try:
            found = snapshot(gateway)
        except GatewayRefused as refused:
            fail(f"{gateway.said}: {refused}")
    print(json.dumps(found, indent=2) if options.json else "\n".join(_text(found)))
    return 0 if found["ready"]["status"] == "ready" else 1


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "status",
        "How the running gateway stands: whether it is ready, its policy, its backends and what "
        "was spent. Exit status 0: ready; 1: not ready; 2: nobody could be asked.",
        "spillgate status",
    )
    add_gateway(parser)
    return parser


def _text(found: dict[str, Any]) -> Iterator[str]:
    ready, policy = found["ready"], found["policy"]
    yield f"{ready['status']}, policy {policy['policy']}, models {', '.join(policy['models'])}"
    yield from (f"missing: {one}" for one in ready.get("missing", ()))
    yield from (f"warning: {one}" for one in (*ready.get("warnings", ()), *policy["warnings"]))
    if policy["last_refused"]:
        yield f"a policy was refused at {policy['last_refused']['at']}:"
        yield from (f"  {one}" for one in policy["last_refused"]["problems"])
    yield ""
    yield table(BACKEND_HEADS, [backend_cells(one) for one in found["backends"]])
    spent = found["spent"]
    yield table(SPENT_HEADS, [spent_cells(span, spent[span]) for span in spent]).rstrip("\n")
    for name, workers in found["left_behind"].items():
        yield f"{name} is in no policy any more, and its platform keeps {workers} workers"
