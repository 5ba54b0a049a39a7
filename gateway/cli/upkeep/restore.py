"""``spillgate restore``: the data of a backup, for a gateway that does not run."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.cli.acts import act_of_this_user
from gateway.cli.serving.data_lock import DataInUse, DataLock
from gateway.cli.serving.local_socket import answers
from gateway.cli.serving.serving_lock import ServingLock
from gateway.cli.shared import add_config, command, fail, policy_offline
from gateway.cli.upkeep.archive import ArchiveFault, BackupFile, Manifest, unpack
from gateway.cli.upkeep.backup import databases_of, parts_of
from gateway.cli.upkeep.replacing import replace_all
from gateway.clock import SystemClock
from gateway.opening.stores import open_keys
from gateway.policy.model import Policy
from gateway.store_urls import Database


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it was not restored, and nothing was changed."""
    options = _parser().parse_args(arguments)
    policy = policy_offline(options.config)
    try:
        with (
            contextlib.closing(DataLock(Path(policy.server.data))),
            contextlib.closing(ServingLock(Path(policy.server.data), alone=True)),
            tempfile.TemporaryDirectory(dir=policy.server.data) as name,
        ):
            _refuse_beneath_a_gateway(Path(policy.server.data))
            manifest = unpack(options.file, Path(name))
            parts = [part for part in parts_of(policy) if part.name in manifest.files]
            _refuse_what_is_there(parts, options.force)
            stamp = f".replaced-{SystemClock().time():.0f}"
            replace_all(Path(name), parts, stamp)
    except DataInUse as used:
        fail(f"{options.file}: {f'{used.by}. End it first' if used.by else used}")
    except (ArchiveFault, OSError) as error:
        fail(f"{options.file}: {error}")
    _note(policy, options.file)
    _tell(options, manifest, parts, policy)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "restore",
        "Puts ledger, keys and certificates of a backup where the policy says, while no gateway "
        "runs there. Its policy is not put anywhere: take it out with tar. What was spent since "
        "is not known any more, and jobs that waited then are run again.",
        "spillgate restore /var/backups/spillgate.tar.gz",
    )
    parser.add_argument("file", type=Path, help="of `spillgate backup`")
    add_config(parser)
    parser.add_argument(
        "--force", action="store_true", help="also where there is data: it is kept as *.replaced-*"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _refuse_what_is_there(parts: Sequence[BackupFile], force: bool) -> None:
    there = [str(part.path) for part in parts if part.path.exists()]
    if there and not force:
        raise ArchiveFault(f"{', '.join(there)} would be replaced: give --force for that")
    if not parts:
        raise ArchiveFault("nothing in it is of this policy")


def _refuse_beneath_a_gateway(folder: Path) -> None:
    """One of an earlier version, which may hold no lock. Raises DataInUse."""
    if answers(folder):
        raise DataInUse(f"server.data: a gateway serves from {folder}. End it first")


def _note(policy: Policy, file: Path) -> None:
    """In the log that was restored, which is why it cannot be noted before."""
    if isinstance(policy.store.keys or policy.store.ledger, Database):
        return
    keys = open_keys(policy, SystemClock())
    try:
        act = act_of_this_user("data.restore", file.name)
        keys.record(msgspec.structs.replace(act, outcome="done"))
    finally:
        keys.close()


def _tell(
    options: argparse.Namespace, manifest: Manifest, parts: Sequence[BackupFile], policy: Policy
) -> None:
    at = datetime.datetime.fromtimestamp(manifest.at, datetime.UTC).isoformat(timespec="seconds")
    if options.json:
        restored = {part.name: str(part.path) for part in parts}
        print(json.dumps({"at": at, "restored": restored}, indent=2))
        return
    print(f"as of {at}:")
    for part in parts:
        print(f"  {part.name:<20} {part.path}")
    for line in databases_of(policy):
        print(line)
