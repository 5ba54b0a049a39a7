"""``spillgate restore``: the data of a backup, for a gateway that does not run."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from gateway.cli.acts import act_of_this_user
from gateway.cli.serving.data_lock import DataInUse, DataLock
from gateway.cli.shared import add_config, command, fail, policy_offline
from gateway.cli.upkeep.archive import ArchiveFault, BackupFile, Manifest, unpack
from gateway.cli.upkeep.backup import databases_of, parts_of
from gateway.clock import SystemClock
from gateway.opening.stores import open_keys
from gateway.policy.model import Policy
from gateway.store_urls import Database

_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, of which the restored one must know nothing."""


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it was not restored, and nothing was changed."""
    options = _parser().parse_args(arguments)
    policy = policy_offline(options.config)
    try:
        with (
            contextlib.closing(DataLock(Path(policy.server.data))),
            tempfile.TemporaryDirectory(dir=policy.server.data) as name,
        ):
            manifest = unpack(options.file, Path(name))
            parts = [part for part in parts_of(policy) if part.name in manifest.files]
            _refuse_what_is_there(parts, options.force)
            for part in parts:
                _put(Path(name) / part.name, part)
    except (ArchiveFault, DataInUse, OSError) as error:
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


def _put(copy: Path, part: BackupFile) -> None:
    part.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = f".replaced-{SystemClock().time():.0f}"
    for name in ("", *(_BESIDE if part.database else ())):
        old = part.path.with_name(part.path.name + name)
        if old.exists():
            old.rename(old.with_name(old.name + stamp))
    staged = part.path.with_name(f".{part.path.name}.{os.getpid()}")
    staged.write_bytes(copy.read_bytes())  # it may be another file system's
    staged.chmod(0o600)
    staged.rename(part.path)


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
