"""``spillgate webhooks``: how endpoints stand, a test, and messages once more, in the ledger's own
store: a running gateway sends what is asked for here."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from typing import Any

from gateway.cli.acts import ACTS, act_of_this_user, audited
from gateway.cli.shared import add_config, command, fail, policy_with_stores, table
from gateway.clock import SystemClock
from gateway.events import requests
from gateway.opening.stores import open_outbox
from gateway.policy.model import Policy
from gateway.storage.outbox import Outbox
from gateway.types import ApiError

_ACTIONS = {
    "secret": ("print a new secret for an endpoint", ""),
    "list": ("each endpoint, and what waits for it", "--config config/default.yaml"),
    "deliveries": ("the last attempts", "--config config/default.yaml billing"),
    "test": ("send a message that says nothing", "--config config/default.yaml billing"),
    "redeliver": ("send once more", "--config config/default.yaml billing --from 2d --to 1d"),
    "enable": ("ask an endpoint again that was disabled", "--config config/default.yaml billing"),
}
"""What each does, and the arguments of an example."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, or 2 where the request or the policy cannot be read."""
    options = _parser().parse_args(arguments)
    if options.action == "secret":
        print(requests.new_secret())
        return 0
    policy = policy_with_stores(options.config)
    try:
        found = _audited(options, policy)
    except ApiError as error:
        fail(error.message)
    _show(options, found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "webhooks",
        "Tests webhooks, shows how they stand, and sends messages once more.",
        "spillgate webhooks test --config config/default.yaml billing",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    made = {name: _action(actions, name) for name in _ACTIONS}
    again = made["redeliver"]
    again.add_argument("--id", help="of a message that is kept")
    again.add_argument("--from", dest="since", metavar="TIME", help="usage from a date, or 7d ago")
    again.add_argument("--to", dest="until", metavar="TIME", help="until a date, or 1d ago")
    return parser


def _action(actions: Any, name: str) -> argparse.ArgumentParser:
    help, arguments = _ACTIONS[name]
    action: argparse.ArgumentParser = actions.add_parser(
        name,
        help=help,
        epilog=f"example:\n  spillgate webhooks {name} {arguments}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if name != "secret":
        add_config(action)
        action.add_argument("--json", action="store_true", help="print JSON")
        if name != "list":
            action.add_argument("webhook", help="a name in webhooks.endpoints")
    return action


def _audited(options: argparse.Namespace, policy: Policy) -> Any:
    act = ACTS.get(("webhooks", options.action))
    if act is None:
        return asyncio.run(_run(options, policy))
    with audited(policy, act_of_this_user(act, options.webhook)):
        return asyncio.run(_run(options, policy))


async def _run(options: argparse.Namespace, policy: Policy) -> Any:
    outbox = open_outbox(policy)
    try:
        return await _ask(options, outbox, policy)
    finally:
        await outbox.aclose()


async def _ask(options: argparse.Namespace, outbox: Outbox, policy: Policy) -> Any:
    now_at = SystemClock().time()
    if options.action == "list":
        return await requests.listed(outbox, policy)
    name = options.webhook
    if options.action == "deliveries":
        return await requests.attempts_of(outbox, policy, name)
    if options.action == "test":
        return await requests.send_test(outbox, policy, name, now_at)
    if options.action == "enable":
        return await requests.enable_again(outbox, policy, name)
    asked = {"id": options.id, "from": options.since, "to": options.until}
    given = {key: value for key, value in asked.items() if value is not None}
    return await requests.send_again(outbox, policy, name, given, now_at)


def _show(options: argparse.Namespace, found: Any) -> None:
    if options.json:
        print(json.dumps(found, indent=2))
    elif isinstance(found, list):
        heads = list(found[0]) if found else ["none"]
        print(table(heads, [[_cell(value) for value in row.values()] for row in found]), end="")
    else:
        print(", ".join(f"{name} {_cell(value)}" for name, value in found.items()))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
