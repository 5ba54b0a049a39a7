"""The ledger's tables: what is settled, what is open, and how a connection is made.

The columns are STRICT integers and texts. Settled rows are only ever inserted. An open row waits
beside them in one column, with the claims it must give back, and goes away in the statement that
settles it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from gateway.storage import row_archive
from gateway.storage.base import StorageUnavailable
from gateway.storage.batches.tables import SQLITE_TABLES as BATCH_TABLES
from gateway.storage.files.tables import SQLITE_TABLES as FILE_TABLES
from gateway.storage.jobs.tables import LINES, SQLITE_TABLES, WAITING
from gateway.storage.policies.tables import SQLITE_TABLES as POLICIES
from gateway.storage.rented.tables import SQLITE_TABLES as RENTED_TABLES
from gateway.storage.responses import tables as response_tables
from gateway.storage.rows import COLUMNS
from gateway.storage.schedules.tables import SQLITE_TABLES as SCHEDULE_TABLES
from gateway.storage.sqlite import outbox_tables, rollup_tables
from gateway.storage.sqlite.journals import after_opening, before_opening
from gateway.storage.streams import tables as stream_tables

SCHEMA_VERSION = 19
LOCK_WAIT_S = 1.0
"""How long a statement waits for another process that is writing."""

_SCHEMA = """
CREATE TABLE entries (
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    outcome TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    key_id TEXT NOT NULL,
    user TEXT NOT NULL,
    plan TEXT NOT NULL,
    tags TEXT NOT NULL,
    model TEXT NOT NULL,
    task TEXT NOT NULL,
    backend TEXT NOT NULL,
    reason TEXT NOT NULL,
    route TEXT NOT NULL,
    policy TEXT NOT NULL,
    status INTEGER NOT NULL,
    error TEXT NOT NULL,
    stream INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    queue_us INTEGER NOT NULL,
    cold_us INTEGER NOT NULL,
    exec_us INTEGER NOT NULL,
    gpu_us INTEGER NOT NULL,
    hold_nano INTEGER NOT NULL,
    cost_nano INTEGER NOT NULL,
    cost_basis TEXT NOT NULL,
    price TEXT NOT NULL,
    worker TEXT NOT NULL,
    history TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX entries_by_time ON entries (started_at);

CREATE INDEX entries_by_user ON entries (user, started_at);

CREATE TABLE open_entries (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    entry TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER settled AFTER INSERT ON entries BEGIN
    DELETE FROM open_entries WHERE id = NEW.id;
END;

CREATE TRIGGER settled_before BEFORE INSERT ON open_entries
WHEN EXISTS (SELECT 1 FROM entries WHERE id = NEW.id) BEGIN
    SELECT RAISE(IGNORE);
END;
"""

_IDENTITY = "CREATE TABLE ledger AS SELECT lower(hex(randomblob(8))) AS identity"
_UPGRADES: dict[int, tuple[str, ...]] = {
    1: ("ALTER TABLE entries ADD COLUMN history TEXT NOT NULL DEFAULT ''",),
    2: (_IDENTITY,),
    3: outbox_tables.STATEMENTS,
    4: rollup_tables.FIRST,
    5: row_archive.TABLES,
    6: SQLITE_TABLES,
    7: rollup_tables.CUBES,
    8: WAITING,
    9: FILE_TABLES,
    10: POLICIES,
    11: stream_tables.SQLITE_TABLES,
    12: BATCH_TABLES,
    13: LINES,
    14: response_tables.SQLITE_TABLES,
    15: SCHEDULE_TABLES,
    16: rollup_tables.FOUR_WEEKS,
    17: RENTED_TABLES,
    18: rollup_tables.PLACES,
}
"""What brings the schema of a version to that of the next."""
_ONLY_ADDS = {2, 3, 4, 5, 6, 8, 9, 10, 11, 14, 15, 16, 17, 18}
"""Steps that make tables and leave those that are there as they are: whoever goes back sets
``PRAGMA user_version`` back, and needs no copy."""

SELECT_SETTLED = f"SELECT {', '.join(COLUMNS)} FROM entries"  # noqa: S608 - constant names
SELECT_OPEN = "SELECT entry FROM open_entries"


@lru_cache(maxsize=64)
def insert_settled(count: int) -> str:
    """One statement for ``count`` rows; those that are settled already are left as they are.

    One statement and not one for each row: the thread that runs it gives up the interpreter lock
    once for a batch, and so does not queue behind the event loop for every row.
    """
    return _insert("entries", COLUMNS, count)


@lru_cache(maxsize=64)
def insert_open(count: int) -> str:
    """The same for rows of ``encode_open``; those whose id is taken are left as they are."""
    return _insert("open_entries", ("id", "owner", "entry"), count)


def _insert(table: str, columns: Sequence[str], count: int) -> str:
    one = f"({', '.join('?' * len(columns))})"
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([one] * count)} "  # noqa: S608
        "ON CONFLICT (id) DO NOTHING"
    )


def connect(path: Path, *, synchronous: Literal["normal", "full"] = "normal") -> sqlite3.Connection:
    """A connection in autocommit mode to a ledger that has its schema.

    ``normal`` survives the death of the process, ``full`` also that of the machine: one fsync a
    batch. Raises StorageUnavailable, or sqlite3.Error, when the file cannot be used.
    """
    before_opening(path)
    _make_private(path)
    connection = sqlite3.connect(
        path,
        timeout=LOCK_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=128,
    )
    try:
        _prepare(connection, path, synchronous)
    except BaseException:
        connection.close()
        raise
    after_opening(path)
    return connection


def _make_private(path: Path) -> None:
    """Creates a missing file with mode 0600; SQLite gives its journals the same.

    One that exists is not opened here: closing any descriptor of it would drop the locks that
    this process's other connections hold (POSIX locks belong to the process).
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    _check_version(connection, path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    # The ledger checkpoints from another thread; this is what bounds the log if that falls behind.
    connection.execute("PRAGMA wal_autocheckpoint = 16384")
    connection.execute("PRAGMA cache_size = -1024")
    # Some builds overwrite what is deleted, at a fifth of a call's cost; rows are no secrets.
    connection.execute("PRAGMA secure_delete = OFF")
    _create(connection, path)


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise StorageUnavailable(
            f"{path} has schema {version}, written by a newer Spillgate; this one reads up to "
            f"{SCHEMA_VERSION}. Upgrade, or give another path in store.ledger"
        )
    return version


def _create(connection: sqlite3.Connection, path: Path) -> None:
    earlier = _check_version(connection, path)
    if earlier == SCHEMA_VERSION:
        return
    if earlier and not _ONLY_ADDS.issuperset(range(earlier, SCHEMA_VERSION)):
        _keep_a_copy(connection, path.with_name(f"{path.name}.before-{earlier}"))
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _check_version(connection, path)
        for statement in _towards_newest(version):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _keep_a_copy(connection: sqlite3.Connection, copy: Path) -> None:
    """Of the whole file, for who must go back to the version that wrote it. It is there whole or
    not at all; one that is there already is left alone."""
    if copy.exists():
        return
    aside = copy.with_name(f"{copy.name}.{os.getpid()}")
    try:
        _make_private(aside)
        with contextlib.closing(sqlite3.connect(aside)) as target:
            connection.backup(target)
        aside.rename(copy)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise StorageUnavailable(
            f"{copy} cannot be written, and without that copy the ledger stays as it is: {error}"
        ) from error


def _towards_newest(version: int) -> list[str]:
    """The statements for a file of ``version``; 0: it is new."""
    if not version:
        return [*_SCHEMA.split(";\n\n"), _IDENTITY, *steps_from(3)]
    return steps_from(version)


def steps_from(version: int) -> list[str]:
    """The statements that bring a file of ``version`` to the newest."""
    return [step for each in range(version, SCHEMA_VERSION) for step in _UPGRADES[each]]
