"""The stores that a policy names, opened."""

from __future__ import annotations

from pathlib import Path

from gateway.clock import Clock, SystemClock
from gateway.opening.last_files_on_disk import FILE as FILES
from gateway.opening.last_files_on_disk import LastFilesOnDisk
from gateway.policies.last_files import LastFiles
from gateway.policy.model import Policy
from gateway.preflight.startable import keys_file
from gateway.restore import Refill
from gateway.storage.base import Ledger, SharedStore
from gateway.storage.key_records import KeyRecord
from gateway.storage.key_store import KeyStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.outage.store import FallbackStore
from gateway.storage.outbox import Outbox
from gateway.storage.owner import LedgerOwner
from gateway.storage.policies.base import PolicyStore
from gateway.storage.policies.sql_policies import SqlPolicies
from gateway.storage.rented.base import InstanceStore
from gateway.storage.rented.sql_instances import SqlInstances
from gateway.storage.rented.sqlite_instances import SqliteInstances
from gateway.storage.row_archive import ArchiveSql
from gateway.storage.sql_outbox import RunsStatements, SqlOutbox
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.outbox import SqliteStatements
from gateway.storage.sqlite.rollups import ARCHIVE as SQLITE_ARCHIVE
from gateway.store_urls import Database, LedgerFile, ServerGroup
from gateway.warm.kept import FILE, FileKept, KeptWorkers

_KEYS_TRUSTED_S = 0.001
"""How long a key that another process has revoked may still be taken: less than a call takes."""


def open_keys(policy: Policy, clock: Clock) -> KeyStore:
    """The policy's keys, whose folder is made where it is missing. Raises StorageUnavailable when
    they cannot be read."""
    place = _keys_place(policy)
    if isinstance(place, Database):
        # Imported here because asyncpg is an extra.
        from gateway.storage.postgres.keys import PostgresKeys

        return PostgresKeys(place, clock=clock)
    return SqliteKeys(place, clock=clock, trust_s=_KEYS_TRUSTED_S)


def _keys_place(policy: Policy) -> Database | Path:
    place = policy.store.keys
    if place is None and isinstance(policy.store.ledger, Database):
        return policy.store.ledger
    if isinstance(place, Database):
        return place
    return keys_file(policy) if place is None else Path(place.path)


def list_keys(policy: Policy) -> list[KeyRecord]:
    """The policy's keys as they are; no file is made. Raises StorageUnavailable when they cannot be
    read."""
    place = _keys_place(policy)
    if isinstance(place, Path) and not place.exists():
        return []
    keys = open_keys(policy, SystemClock())
    try:
        return keys.list()
    finally:
        keys.close()


def open_ledger(policy: Policy) -> Ledger:
    """The policy's ledger; a file is made where it is missing. Raises StorageUnavailable when a
    file cannot be used; a database is asked later."""
    place = policy.store.ledger
    if isinstance(place, LedgerFile):
        return SqliteLedger(place.path, synchronous=place.synchronous)
    # Imported here because asyncpg is an extra.
    from gateway.storage.postgres.ledger import PostgresLedger

    owner = LedgerOwner(Path(policy.server.data) / "ledger")
    return PostgresLedger(place, owner, timeout_s=policy.store.ledger_timeout)


def open_policies(policy: Policy) -> PolicyStore:
    """Those that were in force, in the policy's ledger; its store is asked later."""
    return SqlPolicies(open_statements(policy)[0])


def open_last_files(policy: Policy) -> LastFiles:
    """What the policy's files said last, in its data folder."""
    return LastFilesOnDisk(Path(policy.server.data) / FILES)


def open_outbox(policy: Policy) -> Outbox:
    """What waits to be sent, in the policy's ledger; its store is asked later."""
    return SqlOutbox(open_statements(policy)[0])


JOBS_AT_ONCE = 4
"""Transactions of jobs on one gateway: the server commits together what ends together."""


def open_instances(policy: Policy, statements: RunsStatements) -> InstanceStore:
    """Machines that are rented by the hour, in the policy's ledger over a connection to it."""
    place = policy.store.ledger
    if isinstance(place, LedgerFile):
        return SqliteInstances(statements, Path(place.path))
    return SqlInstances(statements)


def open_statements(policy: Policy, connections: int = 1) -> tuple[RunsStatements, ArchiveSql]:
    """Connections of its own to the policy's ledger, and how that is asked for old rows."""
    place = policy.store.ledger
    if isinstance(place, LedgerFile):
        return SqliteStatements(place.path, synchronous=place.synchronous), SQLITE_ARCHIVE
    # Imported here because asyncpg is an extra.
    from gateway.storage.postgres.outbox import PostgresStatements
    from gateway.storage.postgres.rollups import ARCHIVE

    return PostgresStatements(place, connections=connections), ARCHIVE


def open_shared(policy: Policy, clock: Clock, ledger: Ledger, refill: Refill) -> SharedStore:
    """``ledger`` is whose sums are restored there; ``refill`` is called when the store has lost
    its memory and must be filled again."""
    place = policy.store.shared
    if place is None:
        return MemorySharedStore(clock, remember=1024)
    # Imported here because a gateway without Redis must not pay for its client.
    from gateway.storage.redis.breaker import Breaker
    from gateway.storage.redis.store import KEY, RedisSharedStore

    if isinstance(place, ServerGroup):
        # Imported here because redis-py is an extra.
        from gateway.storage.redis.discovery import primary_of
    remote = RedisSharedStore(
        primary_of(place, KEY) if isinstance(place, ServerGroup) else place,
        timeout_s=policy.store.timeout_s,
        clock=clock,
        ledger=ledger.identity,
        emptied=refill,
        breaker=Breaker(pause_s=0.04, longest_s=1.0),
    )
    given = policy.store.answers
    return FallbackStore(remote, LostAnswers(given.named, given.rest), clock, refill.past)


def open_kept(policy: Policy) -> KeptWorkers:
    """What platforms were told to keep, in the policy's data folder."""
    return FileKept(Path(policy.server.data) / FILE)
