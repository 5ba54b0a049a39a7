"""``spillgate audit``: what administrators did, newest first."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from gateway.cli.shared import add_config, command, fail, policy_with_stores, table
from gateway.clock import SystemClock
from gateway.keys.audit import audit_json, one_more, parse_audit_query
from gateway.opening.stores import open_keys
from gateway.types import ApiError

_HEADS = ("at", "number", "actor", "address", "act", "target", "outcome", "details")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, or 2 where the request or the policy cannot be read."""
    options = _parser().parse_args(arguments)
    asked = {name: getattr(options, name) for name in ("actor", "act", "target", "limit", "after")}
    keys = open_keys(policy_with_stores(options.config), SystemClock())
    try:
        query = parse_audit_query({name: text for name, text in asked.items() if text is not None})
        told = audit_json(keys.audit(one_more(query)), query)
    except ApiError as error:
        fail(error.message)
    finally:
        keys.close()
    print(json.dumps(told, indent=2) if options.json else _table(told), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "audit",
        "What administrators did, newest first.",
        "spillgate audit --config config/default.yaml --act key.create --limit 20",
    )
    add_config(parser)
    parser.add_argument("--actor", help="such as key:key_3e980200f125, or os:root")
    parser.add_argument("--act", help="such as key.create, key.revoke or policy.apply")
    parser.add_argument("--target", help="such as key_3e980200f125, or a backend's name")
    parser.add_argument("--limit", help="so many entries, at most 1,000; left out: 50")
    parser.add_argument("--after", help="the number that the page before ended with")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _table(told: dict[str, Any]) -> str:
    return table(_HEADS, [_cells(entry) for entry in told["data"]])


def _cells(entry: dict[str, Any]) -> list[str]:
    details = " ".join(f"{name}={value}" for name, value in entry["details"].items())
    return [*(str(entry[head]) for head in _HEADS[:-1]), details]
