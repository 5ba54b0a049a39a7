"""``spillgate check``: every problem of a policy with its file, line and column."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import Any

from adapters import package_of
from gateway.app import backend_maker
from gateway.cli.policy_file import config_path
from gateway.cli.shared import AnySecret, command
from gateway.clock import SystemClock
from gateway.environment import Environment
from gateway.opening.stores import list_keys, open_kept
from gateway.policy.model import Policy, WarmRule
from gateway.policy.reader import load_with_places
from gateway.policy.syntax.problems import (
    Mark,
    PolicyError,
    Problem,
    join,
    place_of,
    problem_at,
)
from gateway.policy.warnings.every import warnings_of
from gateway.preflight.listening import certificate_warnings
from gateway.preflight.startable import check_startable, exposed_files
from gateway.schedules.payers import payer_of
from gateway.storage.base import StorageUnavailable
from gateway.types import ApiError
from gateway.warm.binding import binding_of, plans_in_vain


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: the policy is valid; 1: a warning counts, by ``--strict``; 2: it is not."""
    options = _parser().parse_args(arguments)
    environ: Mapping[str, str] = (
        AnySecret(os.environ) if options.without_secrets else Environment(os.environ)
    )
    try:
        policy, places = load_with_places(options.path, environ)
        make = backend_maker(SystemClock())
        check_startable(policy, places, make, files=not options.without_secrets)
    except PolicyError as error:
        _print(options.json, None, error.problems, ())
        return 2
    today = datetime.datetime.now(datetime.UTC).date()
    kept = open_kept(policy).read()
    warnings = [
        *warnings_of(policy, today=today, places=places),
        *certificate_warnings(policy, places),
        *(() if options.without_secrets else exposed_files(policy, places)),
        *_left_behind(policy, kept),
        *plans_in_vain(policy, places),
        *(() if options.without_secrets else _nobody_pays(policy, places)),
    ]
    _print(options.json, policy, (), warnings, kept)
    return 1 if warnings and options.strict else 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "check",
        "Validates a policy and warns of rules that can never match. Exit status 0: valid; 1: "
        "valid, with warnings and --strict; 2: not valid.",
        "spillgate check --without-secrets config/default.yaml",
    )
    parser.add_argument(
        "path",
        nargs="?",
        type=config_path,
        default="",
        help="a YAML file or a folder of them; left out: the policy that other commands take",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--strict", action="store_true", help="warnings count as problems")
    parser.add_argument(
        "--without-secrets",
        action="store_true",
        help="for machines that only check: a secret that is not set here is no problem, and "
        "files that the policy names are not looked for",
    )
    return parser


def _print(
    as_json: bool,
    policy: Policy | None,
    problems: Sequence[Problem],
    warnings: Sequence[Problem],
    kept: Mapping[str, int] = MappingProxyType({}),
) -> None:
    if as_json:
        print(json.dumps(_json(policy, problems, warnings, kept), indent=2))
        return
    for problem in problems:
        print(problem, file=sys.stderr)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if policy is not None:
        print(
            f"valid: policy {policy.version}, {_counted(policy.models, 'model')}, "
            f"{_counted(policy.backends, 'backend')}, {_counted(policy.routes, 'route')}"
        )
        for name, workers in kept.items():
            print(f"backend {name}: its platform was told to keep {workers} workers")
        for kind, package in _foreign(policy).items():
            print(f"kind {kind}: from the package {package}")
        for name in policy.warm_pool:
            print(f"backend {name}: {binding_of(policy, policy.backends[name])}")


def _left_behind(policy: Policy, kept: Mapping[str, int]) -> Iterator[Problem]:
    """Workers that a gateway of the policy's data folder has set at platforms, and that no rule of
    the policy asks for."""
    for name, workers in kept.items():
        if name not in policy.backends:
            text = f"its platform was told to keep {workers} workers: set that back there"
        elif name not in policy.warm_pool or not _keeps(policy.warm_pool[name]):
            text = f"its platform keeps {workers} workers: a start of the gateway takes that back"
        else:
            continue
        yield problem_at(Mark("policy"), f"backends.{name}", text)


def _nobody_pays(policy: Policy, places: Mapping[str, Mark]) -> Iterator[Problem]:
    """Schedules whose key is not there, or may not use their model; told where the keys can be
    read."""
    if not policy.schedules:
        return
    try:
        keys = list_keys(policy)
    except StorageUnavailable:
        return
    for name, schedule in policy.schedules.items():
        path = join(join("schedules", name), "user" if schedule.key is None else "key")
        try:
            payer_of(schedule, keys, time.time())
        except ApiError as error:
            yield problem_at(place_of(path, places), path, error.message)


def _keeps(rule: WarmRule) -> bool:
    return bool(rule.spare) or rule.plan == "act"


def _foreign(policy: Policy) -> dict[str, str]:
    """Kinds that other packages bring -> the package's name and version."""
    kinds = sorted({spec.kind for spec in policy.backends.values()})
    return {kind: package for kind in kinds if (package := package_of(kind)) is not None}


def _json(
    policy: Policy | None,
    problems: Sequence[Problem],
    warnings: Sequence[Problem],
    kept: Mapping[str, int],
) -> dict[str, Any]:
    return {
        "valid": policy is not None,
        "policy": None if policy is None else policy.version,
        "packages": {} if policy is None else _foreign(policy),
        "kept_workers": dict(kept),
        "binding": {} if policy is None else _bindings(policy),
        "problems": [_row(problem) for problem in problems],
        "warnings": [_row(problem) for problem in warnings],
    }


def _bindings(policy: Policy) -> dict[str, str]:
    return {name: binding_of(policy, spec) for name, spec in policy.backends.items()}


def _row(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "key": problem.path,
        "message": problem.message,
    }


def _counted(things: Sized, one: str) -> str:
    """'1 model', '2 models'."""
    return f"{len(things)} {one}" if len(things) == 1 else f"{len(things)} {one}s"
