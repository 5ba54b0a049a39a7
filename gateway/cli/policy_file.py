"""Which policy a command takes where none is named, and where the relative paths in it begin."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.policy.model import Policy

VARIABLE = "SPILLGATE_CONFIG"
PLACES = (Path("spillgate.yaml"), Path("config/default.yaml"))
"""Looked for in this order, below the folder in which the command is started."""
MADE = ("keys.db", "tls", "gateway.lock")
"""What a start makes in the data folder, by which it is known."""


def config_path(text: str, environ: Mapping[str, str] = os.environ) -> Path:
    """The policy that ``--config`` names; of an empty text the first that is there. Raises
    ArgumentTypeError where none is."""
    given = text or environ.get(VARIABLE, "")
    if given:
        return Path(given)
    for place in PLACES:
        if place.exists():
            return place
    names = " nor ".join(map(str, PLACES))
    raise argparse.ArgumentTypeError(
        f"no policy was named, and {VARIABLE} is not set, nor is there {names} in {Path.cwd()}: "
        "give --config PATH, or write one with `spillgate init`"
    )


def home_of(policy: Policy, path: Path) -> Path:
    """The folder where the relative paths of the policy at ``path`` begin.

    That in which the program is started, where the policy lies in it or in a folder of it; else
    the policy's own. Of those above it, and of the one it is started in, one that has the data
    already goes before, or one that has the app of a backend.
    """
    own = path.absolute() if path.is_dir() else path.absolute().parent
    places = [Path.cwd(), own] if is_near(path) else [own, *own.parents, Path.cwd()]
    for holds in (_has_data, _has_an_app):
        found = next((place for place in places if holds(policy, place)), None)
        if found is not None:
            return found
    return places[0]


def is_near(path: Path) -> bool:
    """Whether the policy lies in the folder in which the program is started, or in one of it."""
    own = path.absolute() if path.is_dir() else path.absolute().parent
    return Path.cwd() in (own, own.parent)


def _has_data(policy: Policy, place: Path) -> bool:
    data = Path(policy.server.data)
    return not data.is_absolute() and any((place / data / name).exists() for name in MADE)


def _has_an_app(policy: Policy, place: Path) -> bool:
    return any((place / file).is_file() for file in _apps(policy))


def _apps(policy: Policy) -> Iterator[str]:
    for spec in policy.backends.values():
        file = str(getattr(spec.settings, "app", None) or "").rpartition(":")[0]
        if file.endswith(".py") and not Path(file).is_absolute():
            yield file
