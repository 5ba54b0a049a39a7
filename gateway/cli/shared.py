"""What several commands need: options, the policy, and errors a person can act on."""

from __future__ import annotations

import argparse
import os
import sys
from collections import UserDict
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from adapters.settings import Secret
from gateway.environment import Environment
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.problems import PolicyError
from gateway.policy.reader import load_policy
from gateway.store_urls import Database


def command(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example."""
    return argparse.ArgumentParser(
        prog=f"spillgate {name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option ``--config``."""
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        metavar="PATH",
        help="the policy: a YAML file, or a folder of which every *.yaml is merged",
    )


def policy_at(path: Path) -> Policy:
    """The policy, or the end of the program with every problem on standard error."""
    try:
        return load_policy(path, Environment(os.environ))
    except PolicyError as error:
        fail(str(error))


def policy_offline(path: Path) -> Policy:
    """The policy for a command that asks no backend: secrets that are not set do not matter."""
    try:
        return load_policy(path, AnySecret(os.environ))
    except PolicyError as error:
        fail(str(error))


def policy_with_stores(path: Path) -> Policy:
    """The same for a command that reads the ledger or the keys: their passwords matter."""
    policy = policy_offline(path)
    for name, place in (("ledger", policy.store.ledger), ("keys", policy.store.keys)):
        if isinstance(place, Database) and place.password.reveal() == AnySecret.VALUE:
            fail(f"store.{name}: the environment variable of its password is not set")
    return policy


def unset_secret(spec: BackendSpec) -> str | None:
    """The first setting of a backend whose environment variable is not set, in such a policy."""
    keys = spec.settings.__struct_fields__
    return next((key for key in keys if _is_unset(getattr(spec.settings, key))), None)


def _is_unset(value: object) -> bool:
    values = value.values() if isinstance(value, dict) else [value]
    return any(isinstance(one, Secret) and one.reveal() == AnySecret.VALUE for one in values)


class AnySecret(UserDict[str, str]):
    """The environment, in which every secret is set to something."""

    VALUE = "not-set"

    def __missing__(self, key: str) -> str:
        return self.VALUE

    def __contains__(self, key: object) -> bool:
        return True


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of columns below their heads, for a terminal, which must obey nothing in them."""
    lines = [heads, *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text) or "-"


def fail(message: str) -> NoReturn:
    """Ends the program: raises SystemExit 2, with ``message`` on standard error."""
    print(message, file=sys.stderr)
    raise SystemExit(2)
