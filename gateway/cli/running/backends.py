"""``spillgate backends``: how each stands, no more calls to one, calls again, and a ping."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from gateway.cli.running import ping
from gateway.cli.running.client import GatewayRefused, RunningGateway, add_gateway, reach
from gateway.cli.running.snapshot import BACKEND_HEADS, backend_cells
from gateway.cli.shared import command, example, fail, table

_ACTIONS = {
    "list": ("how each backend stands", ""),
    "drain": ("send it no more calls; those under way run to their ends", " burst"),
    "enable": ("send a drained backend calls again", " burst"),
    "ping": ("ask it at once: says what that costs, and what it did", " burst --yes"),
}
"""What each does, and the arguments of an example."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 1: what was pinged did not answer; 2: nobody could be asked, or there is no
    such backend."""
    options = _parser().parse_args(arguments)
    with reach(options) as gateway:
        try:
            if options.action == "ping":
                return ping.run(options, gateway)
            found = _done(options, gateway)
        except GatewayRefused as refused:
            fail(f"{gateway.said}: {refused}")
    print(json.dumps(found, indent=2) if options.json else _text(options, found))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "backends",
        "How the backends of the running gateway stand, and which of them are sent calls.",
        "spillgate backends drain burst",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (help, arguments) in _ACTIONS.items():
        action = example(actions, name, help, f"spillgate backends {name}{arguments}")
        if name != "list":
            action.add_argument("backend", help="its name in the policy")
        if name == "ping":
            ping.add_options(action)
        add_gateway(action)
    return parser


def _done(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    if options.action == "list":
        return gateway.get("/admin/backends")
    return gateway.post(f"/admin/backends/{quote(options.backend, safe='')}/{options.action}")


def _text(options: argparse.Namespace, found: Any) -> str:
    if options.action == "list":
        rows = [backend_cells(one) for one in found["backends"]]
        return table(BACKEND_HEADS, rows).rstrip("\n")
    if options.action == "enable":
        return f"{found['backend']} is sent calls"
    return f"{found['backend']} is sent no more calls; {found['in_flight']} run to their ends"
