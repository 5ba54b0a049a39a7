"""``spillgate doctor``: what would keep a gateway from working, and what to do about it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Collection, Sequence

import msgspec

from gateway.app import backend_maker
from gateway.cli.shared import AnySecret, add_config, command, in_home, table, unset_secret
from gateway.cli.upkeep.examinations import (
    Examined,
    has_ledger,
    of_backends,
    of_machine,
    of_policy,
    of_stores,
)
from gateway.clock import SystemClock
from gateway.environment import Environment
from gateway.policy.model import Policy
from gateway.policy.reader import load_with_places
from gateway.policy.syntax.problems import PolicyError
from gateway.preflight.startable import check_startable

_HEADS = ("what", "is", "found", "to do")


def main(arguments: Sequence[str]) -> int:
    """Exit status 0: nothing is wrong, or warnings alone; 1: something is; 2: the policy cannot
    be read."""
    options = _parser().parse_args(arguments)
    options.config = options.config.absolute()
    with in_home(options.config):
        found, read = _examined(options)
    if options.json:
        print(json.dumps([msgspec.to_builtins(one) for one in found], indent=2))
    else:
        print(table(_HEADS, [(one.what, one.grade, one.found, one.do) for one in found]), end="")
    if not read:
        return 2
    return 1 if any(one.grade == "problem" for one in found) else 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "doctor",
        "Looks for what would keep a gateway from working, and says what to do: the policy, the "
        "port, certificates, the clock, the disk, descriptors, Redis, the ledger, secrets, and "
        "each backend, which is asked and runs no call. Exit status 0: well; 1: a problem was "
        "found; 2: the policy cannot be read.",
        "spillgate doctor",
    )
    add_config(parser)
    parser.add_argument(
        "--offline", action="store_true", help="ask no backend, no Redis and no ledger"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _examined(options: argparse.Namespace) -> tuple[list[Examined], bool]:
    """What was found; whether the policy could be read at all."""
    try:
        policy, places = load_with_places(options.config, AnySecret(os.environ))
    except PolicyError as error:
        do = "put the lines right; `spillgate check` says when they are"
        return [Examined("policy", "problem", str(one), do) for one in error.problems], False
    unset = () if options.offline else map(unset_secret, policy.backends.values())
    told = frozenset(one.path for one in unset if one is not None)
    found = [*of_policy(policy, places), *_startable(options, told), *of_machine(policy)]
    if not options.offline:
        found += asyncio.run(_asked(policy, has_ledger(policy)))
    return found, True


def _startable(options: argparse.Namespace, told: Collection[str]) -> list[Examined]:
    """What a start would refuse, secrets that are not set among it; without what is ``told`` of
    the backends anyhow, by its path in the policy."""
    try:
        policy, places = load_with_places(options.config, Environment(os.environ))
        check_startable(policy, places, backend_maker(SystemClock()))
    except PolicyError as error:
        new = [str(one) for one in error.problems if one.path not in told]
        if new:
            return [Examined("start", "problem", one) for one in new]
    named = "nothing else" if told else "nothing"
    return [Examined("start", "ok", f"{named} that the policy names is missing")]


async def _asked(policy: Policy, has_ledger: bool) -> list[Examined]:
    stores = [one async for one in of_stores(policy, has_ledger)]
    return [*stores, *await of_backends(policy, unset_secret)]
