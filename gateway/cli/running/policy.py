"""``spillgate policy``: what is in force, what a file would change, and another one."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.cli.running.client import GatewayRefused, RunningGateway, add_gateway, reach
from gateway.cli.shared import command, example, fail, table

_ACTIONS = {
    "show": ("what is in force, or was; --yaml: its text", " --yaml"),
    "diff": ("what a file would change of what is in force", ""),
    "apply": (
        "put a file into force, until the gateway's own say something else",
        " new.yaml",
    ),
    "history": ("what came into force, since when and by whom", " --limit 10"),
    "rollback": ("return to the policy before this one, or to a version", ""),
}
"""What each does, and the arguments of an example."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 1: with diff, something would change; 2: the policy has problems, or nobody
    could be asked."""
    options = _parser().parse_args(arguments)
    with reach(options) as gateway:
        try:
            found = _RUN[options.action](options, gateway)
        except GatewayRefused as refused:
            fail(_of_file(str(refused), options))
    print(json.dumps(found, indent=2) if options.json else "\n".join(_text(found)))
    return 1 if options.action == "diff" and found["diff"] else 0


def _of_file(problems: str, options: argparse.Namespace) -> str:
    """What a gateway says of a text, which has no name there."""
    if options.action not in ("diff", "apply"):
        return problems
    file = options.file or options.config
    return re.sub(r"^policy\.yaml(?=:\d)", lambda _: str(file), problems, flags=re.MULTILINE)


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "policy",
        "The policy of the running gateway: shown, compared with a file, put into force, taken "
        "back.",
        "spillgate policy diff",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    made = {
        name: example(actions, name, help, f"spillgate policy {name}{arguments}")
        for name, (help, arguments) in _ACTIONS.items()
    }
    made["diff"].add_argument(
        "file", nargs="?", type=Path, help="a YAML file; left out: that of --config"
    )
    made["apply"].add_argument("file", type=Path, help="a YAML file")
    for name in ("show", "rollback"):
        made[name].add_argument("version", nargs="?", help="one of the history")
    for name in ("apply", "rollback"):
        made[name].add_argument(
            "--expected", metavar="VERSION", help="only where this version is in force still"
        )
    made["show"].add_argument("--yaml", action="store_true", help="print its text alone")
    made["history"].add_argument("--limit", default="20", metavar="N", help="so many; default: 20")
    for action in made.values():
        add_gateway(action)
    return parser


def _show(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    now = gateway.get("/admin/policy")
    version = options.version or now["policy"]
    if not options.yaml and version == now["policy"]:
        return now
    return gateway.get(f"/admin/policy/{quote(version, safe='')}")


def _diff(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    return gateway.send("POST", "/admin/policy/validate", _text_of(options.file or options.config))


def _apply(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    return gateway.send("POST", _where("apply", options), _text_of(options.file))


def _roll_back(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    body = json.dumps({"version": options.version}) if options.version else ""
    return gateway.send("POST", _where("rollback", options), body)


def _where(act: str, options: argparse.Namespace) -> str:
    expected = f"?expected={quote(options.expected, safe='')}" if options.expected else ""
    return f"/admin/policy/{act}{expected}"


def _history(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    return gateway.get("/admin/policy/history", {"limit": options.limit})


_RUN: dict[str, Callable[[argparse.Namespace, RunningGateway], Any]] = {
    "show": _show,
    "diff": _diff,
    "apply": _apply,
    "history": _history,
    "rollback": _roll_back,
}


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {getattr(error, 'strerror', None) or error}")


_HEADS = ("since", "policy", "act", "by", "")


def _text(found: dict[str, Any]) -> Iterator[str]:
    if "yaml" in found:
        yield found["yaml"].rstrip("\n")
    elif "data" in found:
        yield table(_HEADS, [*_rows(found["data"], found["in_force"])]).rstrip("\n")
    elif "diff" in found:
        yield from _text_of_diff(found)
    else:
        yield from _text_of_one(found)


def _rows(changes: list[dict[str, Any]], in_force: str) -> Iterator[tuple[str, ...]]:
    """The newest first: of those that brought this policy, the last one holds."""
    since = next((one for one in changes if one["policy"] == in_force), None)
    for one in changes:
        now = "in force" if one is since else ""
        yield (one["at"], one["policy"], one["act"].replace("_", " "), one["actor"], now)


def _text_of_one(found: dict[str, Any]) -> Iterator[str]:
    yield f"policy {found['policy']} is in force"
    for part in ("models", "backends", "routes"):
        yield f"  {part:<9} {', '.join(found[part]) or 'none'}"
    for file in found["files"]:
        yield f"  {file['what']}: {file['file']} {file.get('error', 'read')}"
    yield from (f"warning: {warning}" for warning in found["warnings"])
    if found["last_refused"]:
        yield f"refused at {found['last_refused']['at']}:"
        yield from (f"  {one}" for one in found["last_refused"]["problems"])


def _text_of_diff(found: dict[str, Any]) -> Iterator[str]:
    if found["diff"]:
        yield found["diff"].rstrip("\n")
    if "applied" in found:
        yield f"policy {found['policy']} is in force"
    elif not found["diff"]:
        yield f"the same: policy {found['policy']}"
    yield from (f"warning: {warning}" for warning in found["warnings"])
