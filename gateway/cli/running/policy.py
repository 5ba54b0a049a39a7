"""``spillgate policy``: what is in force, what a file would change, and another one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gateway.cli.running.client import GatewayRefused, RunningGateway, add_gateway, reach
from gateway.cli.shared import command, example, fail

_ACTIONS = {
    "show": ("what is in force, and what the last reload read", ""),
    "diff": ("whether a file would change what is in force, and what of it", " spillgate.yaml"),
    "apply": ("put a file into force, until a reload or restart reads its own", " new.yaml"),
    "rollback": ("return to the policy before this one", ""),
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
            fail(str(refused))
    print(json.dumps(found, indent=2) if options.json else "\n".join(_text(found)))
    return 1 if options.action == "diff" and found["changed"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "policy",
        "The policy of the running gateway: shown, compared with a file, put into force, taken "
        "back.",
        "spillgate policy diff spillgate.yaml",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (help, arguments) in _ACTIONS.items():
        action = example(actions, name, help, f"spillgate policy {name}{arguments}")
        if name in ("diff", "apply"):
            action.add_argument("file", type=Path, help="a YAML file")
        add_gateway(action)
    return parser


def _show(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    return gateway.get("/admin/policy")


def _diff(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    """By names; which values differ within is not told over HTTP."""
    now = gateway.get("/admin/policy")
    then = gateway.send("POST", "/admin/policy/validate", _text_of(options.file))
    names = {part: _changes(now[part], then[part]) for part in ("models", "backends", "routes")}
    return {
        "changed": now["policy"] != then["policy"],
        "in_force": now["policy"],
        "file": then["policy"],
        **names,
        "warnings": then["warnings"],
    }


def _changes(before: Sequence[str], after: Sequence[str]) -> dict[str, list[str]]:
    added = [name for name in after if name not in before]
    return {"added": added, "removed": [name for name in before if name not in after]}


def _apply(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    return gateway.send("PUT", "/admin/policy", _text_of(options.file))


def _roll_back(options: argparse.Namespace, gateway: RunningGateway) -> Any:
    return gateway.post("/admin/policy/rollback")


_RUN: dict[str, Callable[[argparse.Namespace, RunningGateway], Any]] = {
    "show": _show,
    "diff": _diff,
    "apply": _apply,
    "rollback": _roll_back,
}


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {getattr(error, 'strerror', None) or error}")


def _text(found: dict[str, Any]) -> Iterator[str]:
    if "changed" in found:
        yield from _text_of_diff(found)
    else:
        yield f"policy {found['policy']}{' is in force' if found.get('applied') else ''}"
        for part in ("models", "backends", "routes"):
            yield f"  {part:<9} {', '.join(found[part]) or 'none'}"
    for file in found.get("files", ()):
        yield f"  {file['what']}: {file['file']} {file.get('error', 'read')}"
    for warning in found["warnings"]:
        yield f"warning: {warning}"
    if found.get("last_refused"):
        yield f"refused at {found['last_refused']['at']}:"
        yield from (f"  {one}" for one in found["last_refused"]["problems"])


def _text_of_diff(found: dict[str, Any]) -> Iterator[str]:
    if not found["changed"]:
        yield f"the same: policy {found['file']}"
        return
    yield f"policy {found['in_force']} is in force, the file is {found['file']}"
    same = True
    for part in ("models", "backends", "routes"):
        for sign, word in (("+", "added"), ("-", "removed")):
            for name in found[part][word]:
                same = False
                yield f"{sign} {part}: {name}"
    if same:
        yield "the names are the same; values of theirs, or other sections, differ"
