"""What several commands need: options, the policy, and errors a person can act on."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections import UserDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

import msgspec

from adapters.settings import Secret
from gateway.cli.policy_file import PLACES, VARIABLE, config_path, home_of
from gateway.environment import Environment, NotSet
from gateway.policy.model import BackendSpec, Policy
from gateway.policy.reader import load_policy
from gateway.policy.syntax.problems import PolicyError
from gateway.store_urls import Database, LedgerFile


def command(name: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help ends with an example."""
    return argparse.ArgumentParser(
        prog=f"spillgate {name}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def example(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help: str, line: str
) -> argparse.ArgumentParser:
    """One thing that a command may be told to do, whose help ends with an example."""
    return actions.add_parser(
        name,
        help=help,
        epilog=f"example:\n  {line}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """The option ``--config``; left out, the policy is looked for."""
    parser.add_argument(
        "--config",
        type=config_path,
        default="",
        metavar="PATH",
        help="the policy: a YAML file, or a folder of which every *.yaml is merged; left out: "
        f"${VARIABLE}, else {' or '.join(map(str, PLACES))} where there is one",
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
        return _where_its_data_is(load_policy(path, AnySecret(os.environ)), path)
    except PolicyError as error:
        fail(str(error))


@contextlib.contextmanager
def in_home(path: Path) -> Iterator[None]:
    """Relative paths begin meanwhile where those of the policy at ``path`` do, which may be
    relative itself."""
    try:
        home = home_of(load_policy(path, AnySecret(os.environ)), path)
    except PolicyError:
        home = Path.cwd()
    with contextlib.chdir(home) if home != Path.cwd() else contextlib.nullcontext():
        yield


def policy_with_stores(path: Path) -> Policy:
    """The same for a command that reads the ledger or the keys: their passwords matter."""
    policy = policy_offline(path)
    for name, place in (("ledger", policy.store.ledger), ("keys", policy.store.keys)):
        unset = _unset(place.password) if isinstance(place, Database) else None
        if unset is not None:
            fail(str(NotSet(unset, f"store.{name}")))
    return policy


def _where_its_data_is(policy: Policy, path: Path) -> Policy:
    """With the paths of a gateway that was started elsewhere, so that a command finds its keys and
    ledger there, and makes none beside them."""
    base = home_of(policy, path)
    if base == Path.cwd():
        return policy
    replace, store, server = msgspec.structs.replace, policy.store, policy.server
    places = {"ledger": store.ledger, "keys": store.keys}
    files = {name: one for name, one in places.items() if isinstance(one, LedgerFile)}
    moved = {name: replace(one, path=str(base / one.path)) for name, one in files.items()}
    server = replace(server, data=str(base / server.data))
    return replace(policy, server=server, store=replace(store, **moved))


def unset_secret(spec: BackendSpec) -> NotSet | None:
    """Which secret of a backend is not to be had in such a policy; None where all are."""
    for key in spec.settings.__struct_fields__:
        if (name := _unset(getattr(spec.settings, key))) is not None:
            return NotSet(name, f"backends.{spec.name}.{key}")
    return None


def _unset(value: object) -> str | None:
    values = value.values() if isinstance(value, dict) else [value]
    texts = [one.reveal() for one in values if isinstance(one, Secret)]
    found = (text.partition(AnySecret.MARK) for text in texts)
    return next((name for _, mark, name in found if mark), None)


class AnySecret(UserDict[str, str]):
    """The environment, in which every secret is set to something."""

    MARK = "not-set-"

    def __missing__(self, key: str) -> str:
        try:
            return Environment(self.data)[key]
        except (KeyError, OSError):
            return self.MARK + key

    def __contains__(self, key: object) -> bool:
        return True


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of columns below their heads, with colours where they are read on a terminal, which
    must obey nothing in them."""
    cells = [[_printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        # Imported here because what is piped needs no colours.
        from gateway.cli.terminal import drawn

        return drawn(heads, cells)
    lines = [heads, *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        + "\n"
        for line in lines
    )


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads it."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text) or "-"


def fail(message: str) -> NoReturn:
    """Ends the program: raises SystemExit 2, with ``message`` on standard error."""
    print(message, file=sys.stderr)
    raise SystemExit(2)
