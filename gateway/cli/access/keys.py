"""``spillgate keys``: made, listed, revoked and rotated beside a running gateway, seen at once."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from adapters.settings import parse_duration
from gateway.api_keys import generate_key
from gateway.cli.access.spent import spent_by_key
from gateway.cli.acts import act_of_this_user
from gateway.cli.shared import (
    add_config,
    command,
    fail,
    policy_with_stores,
    table,
)
from gateway.clock import SystemClock
from gateway.key_requests import as_json, issue, read_request
from gateway.money.text import short_usd
from gateway.opening.stores import open_keys
from gateway.policy.model import Policy
from gateway.storage.key_store import KeyStore
from gateway.types import ApiError


def main(arguments: Sequence[str]) -> int:
    """Exit status 0, or 2 where the request or the policy cannot be read."""
    options = _parser().parse_args(arguments)
    policy = policy_with_stores(options.config)
    keys = open_keys(policy, SystemClock())
    try:
        run = {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate}
        return run[options.action](options, policy, keys)
    except ApiError as error:
        fail(error.message)
    finally:
        keys.close()


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "keys",
        "Makes, lists, revokes and rotates API keys; a running gateway sees it at once.",
        "spillgate keys create --config config/default.yaml --user alice --tag team=nlp",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    made = {name: _action(actions, name) for name in _ACTIONS}
    _creates(made["create"])
    made["revoke"].add_argument("id")
    made["rotate"].add_argument("id")
    made["rotate"].add_argument("--grace", default="0s", help="how long the old key still works")
    return parser


_ACTIONS = {
    "create": ("make a key; it is shown this once", "--user alice --limit spend='5 USD/month'"),
    "list": ("all keys", "--json"),
    "revoke": ("end a key at once", "key_3e980200f125"),
    "rotate": ("a new key for the same user, plan and limits", "key_3e980200f125 --grace 1h"),
}
"""What each does, and the arguments of an example."""


def _action(actions: Any, name: str) -> argparse.ArgumentParser:
    help, arguments = _ACTIONS[name]
    action: argparse.ArgumentParser = actions.add_parser(
        name,
        help=help,
        epilog=f"example:\n  spillgate keys {name} --config config/default.yaml {arguments}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(action)
    action.add_argument("--json", action="store_true", help="print JSON")
    return action


def _creates(create: argparse.ArgumentParser) -> None:
    create.add_argument("--user", required=True, help="who is charged")
    create.add_argument("--plan", help="a plan of the policy; left out: `default`, if there is one")
    create.add_argument("--admin", action="store_true", help="may see all and change keys")
    create.add_argument(
        "--delegate", action="store_true", help="may make keys for its team, those of its tags"
    )
    create.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE")
    create.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=LIMIT",
        help="of this key alone: requests=60/minute, concurrent=4, spend='5 USD/month', ...; "
        "several of one name hold together",
    )
    create.add_argument("--model", action="append", metavar="MODEL", help="of these models alone")
    create.add_argument(
        "--path",
        action="append",
        metavar="PATH",
        help="on these paths alone: /v1/chat/completions, '/v1/infer/*'",
    )
    create.add_argument(
        "--address", action="append", metavar="NETWORK", help="from 10.0.0.0/8 and the like alone"
    )
    create.add_argument("--expires-in", metavar="DURATION", help="such as 30d")


def _create(options: argparse.Namespace, policy: Policy, keys: KeyStore) -> int:
    asked: dict[str, Any] = {
        "user": options.user,
        "plan": options.plan,
        "admin": options.admin,
        "delegate": options.delegate,
        "tags": _tags(_pairs("--tag", options.tag)),
        "limits": _limits(_pairs("--limit", options.limit)),
        "models": options.model,
        "paths": options.path,
        "addresses": options.address,
        "expires_in": options.expires_in,
    }
    now_at = SystemClock().time()
    key, record = issue(keys, read_request(asked, policy), now_at, act_of_this_user("key.create"))
    shown = as_json(record, now_at)
    _show(options, {**shown, "key": key}, f"{key}  ({_words(shown)})")
    return 0


def _pairs(option: str, given: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not name or not value:
            fail(f"{option} {text!r}: write it as NAME=VALUE")
        pairs.append((name, value))
    return pairs


def _tags(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    tags = dict(pairs)
    if len(tags) < len(pairs):
        fail("--tag gives a tag twice: it has one value")
    return tags


def _limits(pairs: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, value in pairs:
        number = name == "concurrent" and value.isdecimal()
        found.setdefault(name, []).append(int(value) if number else value)
    return found


def _list(options: argparse.Namespace, policy: Policy, keys: KeyStore) -> int:
    now_at = SystemClock().time()
    spent = spent_by_key(policy, now_at)
    rows = [
        {**as_json(record, now_at), "spent_this_month_usd": spent.get(record.principal.key_id, 0.0)}
        for record in keys.list()
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(table(_HEADS, [_cells(row) for row in rows]), end="")
    return 0


_HEADS = (
    "id",
    "key",
    "role",
    "state",
    "user",
    "plan",
    "limits",
    "permitted",
    "USD this month",
    "expires",
    "last used",
    "tags",
)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    limits = ", ".join(_limits_in_words(row))
    tags = " ".join(f"{name}={value}" for name, value in row["tags"].items())
    told = (row["hint"] + "...", row["role"], row["state"], row["user"], row["plan"], limits)
    return (
        row["id"],
        *told,
        " ".join(_bound(row)),
        short_usd(row["spent_this_month_usd"]),
        row["expires_at"] or "",
        row["last_used_at"] or "",
        tags,
    )


def _limits_in_words(row: dict[str, Any]) -> list[str]:
    told = ((n, each if isinstance(each, list) else [each]) for n, each in row["limits"].items())
    return [f"{name} {value}" for name, each in told for value in each]


def _bound(row: dict[str, Any]) -> list[str]:
    """The models, paths and networks that a key is bound to."""
    return [one for name in ("models", "paths", "addresses") for one in row[name] or ()]


def _revoke(options: argparse.Namespace, policy: Policy, keys: KeyStore) -> int:
    if not keys.revoke(options.id, act=act_of_this_user("key.revoke", options.id)):
        fail(_no_such(options.id))
    _show(options, {"id": options.id, "revoked": True}, f"{options.id} is revoked")
    return 0


def _no_such(given: str) -> str:
    if given.startswith("sg-"):
        return "that is a key, not its id (key_...); `spillgate keys list` shows the ids"
    return f"there is no key {given!r} that is in use; `spillgate keys list` shows them"


def _rotate(options: argparse.Namespace, policy: Policy, keys: KeyStore) -> int:
    key = generate_key()
    try:
        act = act_of_this_user("key.rotate", options.id, grace=options.grace)
        record = keys.rotate(options.id, key, grace_s=parse_duration(options.grace), act=act)
    except (KeyError, ValueError) as error:
        wrong = options.id.startswith("sg-")
        fail(_no_such(options.id) if wrong else f"{options.id}: {error}")
    shown = as_json(record, SystemClock().time())
    _show(options, {**shown, "key": key}, f"{key}  ({_words(shown)})")
    return 0


def _words(row: dict[str, Any]) -> str:
    """What a key that was made is, in a line."""
    limits = _limits_in_words(row)
    bound = [f"for {' '.join(_bound(row))} alone"] if _bound(row) else []
    plan = [f"plan {row['plan']}"] if row["plan"] else ["no plan"]
    expires = [f"expires {row['expires_at']}"] if row["expires_at"] else []
    return ", ".join([row["id"], *plan, *limits, *bound, *expires])


def _show(options: argparse.Namespace, value: dict[str, Any], text: str) -> None:
    print(json.dumps(value) if options.json else text)
