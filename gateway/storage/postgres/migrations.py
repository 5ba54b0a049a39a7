"""The schema, step by step. Each step is one transaction under a lock that all gateways ask for:
one that is interrupted leaves the schema before it whole, and no copy of the data is needed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gateway.storage import row_archive
from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.tables import POSTGRES_TABLES as BATCH_TABLES
from gateway.storage.files.tables import POSTGRES_TABLES as FILE_TABLES
from gateway.storage.jobs.base import WAITS_IN_STORE
from gateway.storage.jobs.tables import LINES, POSTGRES_TABLES, WAITING
from gateway.storage.policies import tables as policies
from gateway.storage.postgres.audit_table import AUDIT
from gateway.storage.postgres.connections import Connection
from gateway.storage.postgres.outbox_tables import OUTBOX
from gateway.storage.postgres.rollup_tables import CUBES, FOUR_WEEKS, PLACES
from gateway.storage.postgres.rollup_tables import FIRST as ROLLUPS
from gateway.storage.postgres.token_table import TOKENS
from gateway.storage.rented.tables import POSTGRES_TABLES as RENTED_TABLES
from gateway.storage.responses import tables as response_tables
from gateway.storage.schedules.tables import POSTGRES_TABLES as SCHEDULE_TABLES
from gateway.storage.streams import tables as stream_tables

log = logging.getLogger("spillgate")

_LOCK = 0x5350_494C_4C47_4154
_LOCK_WAIT_S = 10
_HAS_VERSION = (
    "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = $1 AND relname = 'schema_version')"
)

_LEDGER = """
CREATE TABLE ledger AS SELECT md5(random()::text || clock_timestamp()::text) AS identity;

CREATE TABLE owners (
    token TEXT COLLATE "C" PRIMARY KEY,
    beat BIGINT NOT NULL DEFAULT 0,
    seen_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE open_entries (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL REFERENCES owners (token),
    taken BOOLEAN NOT NULL DEFAULT FALSE,
    entry TEXT NOT NULL
);

CREATE INDEX open_entries_by_owner ON open_entries (owner);

CREATE TABLE entries (
    id TEXT COLLATE "C" PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    key_id TEXT COLLATE "C" NOT NULL,
    "user" TEXT COLLATE "C" NOT NULL,
    plan TEXT COLLATE "C" NOT NULL,
    tags JSONB NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    backend TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    route TEXT COLLATE "C" NOT NULL,
    policy TEXT COLLATE "C" NOT NULL,
    status BIGINT NOT NULL,
    error TEXT COLLATE "C" NOT NULL,
    stream BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    queue_us BIGINT NOT NULL,
    cold_us BIGINT NOT NULL,
    exec_us BIGINT NOT NULL,
    gpu_us BIGINT NOT NULL,
    hold_nano BIGINT NOT NULL,
    cost_nano BIGINT NOT NULL,
    cost_basis TEXT COLLATE "C" NOT NULL,
    price TEXT COLLATE "C" NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    history TEXT NOT NULL
);

CREATE INDEX entries_by_time ON entries (started_at);

CREATE INDEX entries_by_user ON entries ("user", started_at);
"""

_KEYS = """
CREATE TABLE key_changes (revision BIGINT NOT NULL);

INSERT INTO key_changes VALUES (0);

CREATE TABLE keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    revision BIGINT NOT NULL,
    principal TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    revoked_at DOUBLE PRECISION,
    expires_at DOUBLE PRECISION
);

CREATE UNIQUE INDEX keys_by_revision ON keys (revision);

CREATE TABLE key_hashes (
    digest BYTEA PRIMARY KEY,
    key_id TEXT COLLATE "C" NOT NULL REFERENCES keys (id),
    hint TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION
);

CREATE INDEX key_hashes_by_key ON key_hashes (key_id);
"""

_PERMITTED = """
COMMENT ON COLUMN keys.principal IS 'JSON; "permitted" is what the key is bound to';
"""
"""An older Spillgate would not heed what a key is bound to: it must not read the schema."""

_USES = """
CREATE TABLE key_uses (
    key_id TEXT COLLATE "C" PRIMARY KEY,
    used_at DOUBLE PRECISION NOT NULL
);
"""

_ARCHIVES = ";\n\n".join(row_archive.TABLES)
_POLICIES = ";\n\n".join(policies.POSTGRES_TABLES)
_OWNER = f"INSERT INTO owners (token) VALUES ('{WAITS_IN_STORE}')"  # noqa: S608 - ours
_JOBS = ";\n\n".join((*POSTGRES_TABLES, _OWNER))

_BATCHES = ";\n\n".join(BATCH_TABLES)
_SCHEDULES = ";\n\n".join(SCHEDULE_TABLES)
_FILES = ";\n\n".join(FILE_TABLES)
_WAITING = ";\n\n".join(WAITING)
_LINES = ";\n\n".join(LINES)
_RESPONSES = ";\n\n".join(response_tables.POSTGRES_TABLES)
_RENTED = ";\n\n".join(RENTED_TABLES)
_STREAMS = ";\n\n".join(stream_tables.POSTGRES_TABLES)

STEPS = (
    *(_LEDGER, _KEYS, OUTBOX, ROLLUPS, _PERMITTED, _USES, AUDIT, _ARCHIVES, _JOBS, CUBES),
    *(_WAITING, _FILES, _POLICIES, _STREAMS, _BATCHES, TOKENS, _LINES, _RESPONSES, _SCHEDULES),
    *(FOUR_WEEKS, _RENTED, PLACES),
)
"""The statements that bring schema N to N + 1; the first, an empty one to 1."""


async def migrate(connection: Connection, schema: str, steps: Sequence[str] = STEPS) -> None:
    """Raises StorageUnavailable for a schema of a newer version, and what asyncpg raises."""
    version = await version_of(connection, schema)
    _check_known(version, schema, steps)
    if version and version < len(steps):
        log.warning(
            "the schema %r of the database goes from version %d to %d, each step in a transaction: "
            "what is interrupted changes nothing, and no copy is needed",
            schema,
            version,
            len(steps),
        )
    for number in range(version, len(steps)):
        await _take(connection, schema, number, steps)


async def version_of(connection: Connection, schema: str) -> int:
    """0: the schema is not there."""
    # Not to_regclass, which may answer from what the session knew before it waited for the lock.
    if not await connection.fetchval(_HAS_VERSION, schema):
        return 0
    version: int = await connection.fetchval(f'SELECT version FROM "{schema}".schema_version')  # noqa: S608
    return version


def _check_known(version: int, schema: str, steps: Sequence[str]) -> None:
    if version > len(steps):
        raise StorageUnavailable(
            f"the database's schema {schema!r} has version {version}, made by a newer Spillgate; "
            f"this one knows up to {len(steps)}. Upgrade, or give another schema in store.ledger"
        )


async def _take(connection: Connection, schema: str, number: int, steps: Sequence[str]) -> None:
    """The step from version ``number``, unless somebody else took it meanwhile."""
    async with connection.transaction():
        await connection.execute(
            f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"
        )
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        version = await version_of(connection, schema)
        _check_known(version, schema, steps)
        if version > number:
            return
        if version == 0:
            await _begin(connection, schema)
        await connection.execute(steps[number])
        await connection.execute("UPDATE schema_version SET version = $1", number + 1)


async def _begin(connection: Connection, schema: str) -> None:
    found = await connection.fetchval("SELECT 1 FROM pg_namespace WHERE nspname = $1", schema)
    if not found:  # who may not make schemas is given one
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    await connection.execute("CREATE TABLE schema_version (version BIGINT NOT NULL)")
    await connection.execute("INSERT INTO schema_version VALUES (0)")
