"""``spillgate backup``: ledger, keys, certificates and policy in one file, while a gateway runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.cli.shared import add_config, command, fail, policy_offline
from gateway.cli.upkeep.archive import ArchiveFault, BackupFile, write
from gateway.policy.model import Policy
from gateway.store_urls import Database, LedgerFile


def main(arguments: Sequence[str]) -> int:
    """Exit status 0; 2: it could not be written."""
    options = _parser().parse_args(arguments)
    policy = policy_offline(options.config)
    parts = [*parts_of(policy), *_policy_parts(options.config)]
    elsewhere = [*databases_of(policy)]
    try:
        written = write(options.file, parts)
    except (ArchiveFault, OSError) as error:
        fail(f"{options.file}: {getattr(error, 'strerror', None) or error}; nothing was written")
    if options.json:
        told = {"file": str(options.file), "parts": written, "elsewhere": elsewhere}
        print(json.dumps(told, indent=2))
        return 0
    for name, size in written.items():
        print(f"{name:<24} {size:>12} bytes")
    for line in elsewhere:
        print(line, file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command(
        "backup",
        "Copies ledger (with jobs, messages and the history of policies), keys, the certificate "
        "authority and the policy into one file, each as it stands at one instant, while the "
        "gateway serves. The file is as secret as the data folder. Of a PostgreSQL database it "
        "says how to copy that.",
        "spillgate backup /var/backups/spillgate.tar.gz",
    )
    parser.add_argument("file", type=Path, help="written anew; one that is there is left alone")
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def parts_of(policy: Policy) -> Iterator[BackupFile]:
    """What of the gateway's own is in files, whether or not it is there yet."""
    data, store = Path(policy.server.data), policy.store
    if isinstance(store.ledger, LedgerFile):
        yield BackupFile("ledger.db", Path(store.ledger.path), database=True)
    if isinstance(store.keys, LedgerFile):
        yield BackupFile("keys.db", Path(store.keys.path), database=True)
    elif store.keys is None and isinstance(store.ledger, LedgerFile):
        yield BackupFile("keys.db", data / "keys.db", database=True)
    yield BackupFile("bills.db", data / "bills.db", database=True)
    for name in ("ca.pem", "ca.key", "server.pem", "issued.json"):
        yield BackupFile(f"tls/{name}", data / "tls" / name)


def databases_of(policy: Policy) -> Iterator[str]:
    """What is to be done about what is in no file."""
    for name, place in (("ledger", policy.store.ledger), ("keys", policy.store.keys)):
        if isinstance(place, Database):
            yield (
                f"store.{name} is a PostgreSQL database and not in this file: copy it with "
                "pg_dump --format=custom, and bring it back with pg_restore"
            )


def _policy_parts(config: Path) -> Iterator[BackupFile]:
    files = sorted(config.glob("*.y*ml")) if config.is_dir() else [config]
    for file in files:
        yield BackupFile(f"policy/{file.name}", file)
