"""Keys in a small SQLite file of their own, known by their hash alone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.api_keys import digest_of
from gateway.clock import Clock, SystemClock
from gateway.storage.base import KeyRecord, StorageUnavailable, unavailable
from gateway.types import Principal

SCHEMA_VERSION = 1
_HINT = 7
_LOCK_WAIT_S = 1.0

_SCHEMA = """
CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    principal TEXT NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL,
    expires_at REAL
) STRICT;

CREATE TABLE hashes (
    digest BLOB NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES keys (id),
    hint TEXT NOT NULL,
    created_at REAL NOT NULL,
    expires_at REAL
) STRICT, WITHOUT ROWID;
"""

_CHANGE_COUNTER = 24
"""Offset of four bytes that SQLite changes in every transaction that writes, where the journal is
a rollback journal (https://www.sqlite.org/fileformat2.html, "File change counter")."""

_principal_of = msgspec.json.Decoder(Principal).decode


_pread = ctypes.PyDLL(None).pread
_pread.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_longlong)
_pread.restype = ctypes.c_ssize_t


class _Known(msgspec.Struct, frozen=True):
    principal: Principal
    expires_at: float


class SqliteKeys:
    """A KeyStore in the file ``path``. Not for use by several threads at once.

    ``find`` answers from memory. Whether another process has changed the file is asked by one
    read of four bytes: a microsecond or two, where SQLite's own ``PRAGMA data_version`` takes
    four to ten. It is asked before every answer, or, with ``trust_s``, once in that many seconds.
    Raises StorageUnavailable when the file cannot be used; a change that cannot be read is never
    passed over.
    """

    def __init__(
        self, path: str | Path, *, clock: Clock | None = None, trust_s: float = 0.0
    ) -> None:
        self._path = Path(path)
        self._clock: Clock = clock or SystemClock()
        self._trust_s = trust_s
        self._asked_at = 0.0
        self._known: dict[bytes, _Known] = {}
        self._loaded = b""
        self._connection: sqlite3.Connection | None = None
        self._file = -1
        self._four = ctypes.create_string_buffer(4)
        try:
            self._file = _open_private(self._path)
            self._connection = _connect(self._path)
            self._reload()
        except BaseException as error:
            self.close()
            if isinstance(error, (sqlite3.Error, OSError)):
                raise unavailable(error, f"keys {self._path}: {error}") from error
            raise

    # --- the hot path ---

    def find(self, key: str) -> Principal | None:
        """The principal of a key that is neither revoked nor expired, at this very instant; what
        another process has revoked, ``trust_s`` later at the latest."""
        now = self._clock.time()
        if not 0 <= now - self._asked_at < self._trust_s:
            self._ask(now)
        digest = digest_of(key)
        known = self._known.get(digest)
        if known is None:  # perhaps made elsewhere a moment ago
            self._ask(now)
            known = self._known.get(digest)
        if known is None or known.expires_at <= now:
            return None
        return known.principal

    def _ask(self, now: float) -> None:
        if self._counter() != self._loaded:
            with self._errors():
                self._reload()
        self._asked_at = now

    def _counter(self) -> bytes:
        """SQLite's change counter. Read without giving up the interpreter's lock: to get it back
        from another thread costs a hundred times the read, which the page cache answers."""
        if _pread(self._file, self._four, 4, _CHANGE_COUNTER) != 4:
            raise StorageUnavailable(f"keys {self._path}: the file cannot be read")
        four: bytes = self._four.raw
        return four

    def _reload(self) -> None:
        """Reads all keys and the counter that belongs to them: nobody writes inside a read."""
        connection = self._connected()
        connection.execute("BEGIN")
        try:
            found = connection.execute(
                "SELECT digest, principal, min(ifnull(keys.expires_at, 9e999), "
                "ifnull(hashes.expires_at, 9e999)) FROM hashes JOIN keys ON keys.id = key_id "
                "WHERE revoked_at IS NULL"
            ).fetchall()
            self._loaded = self._counter()
        finally:
            connection.rollback()
        self._known = {
            digest: _Known(_principal_of(principal), expires_at)
            for digest, principal, expires_at in found
        }

    # --- changes ---

    def create(
        self, principal: Principal, key: str, *, expires_at: float | None = None
    ) -> KeyRecord:
        """Raises ValueError when the principal's ``key_id`` or the key itself is taken."""
        now = self._clock.time()
        with self._change() as connection:
            try:
                connection.execute(
                    "INSERT INTO keys VALUES (?, ?, ?, NULL, ?)",
                    (principal.key_id, _json(principal), now, expires_at),
                )
                self._add_hash(connection, principal.key_id, key)
            except sqlite3.IntegrityError:
                raise ValueError(f"there is a key {principal.key_id!r} already") from None
        return KeyRecord(
            principal=principal, created_at=now, expires_at=expires_at, hint=key[:_HINT]
        )

    def revoke(self, key_id: str) -> bool:
        """Ends the key and what it was rotated from, for the very next ``find`` anywhere."""
        with self._change() as connection:
            sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
            return connection.execute(sql, (self._clock.time(), key_id)).rowcount == 1

    def rotate(self, key_id: str, key: str, *, grace_s: float = 0.0) -> KeyRecord:
        """Gives the principal a new key; the old one works for another ``grace_s`` seconds.

        The ``key_id`` stays, and with it limits, ledger and expiry. Raises ValueError for a key
        that is unknown, revoked or expired.
        """
        until = self._clock.time() + grace_s
        with self._change() as connection:
            self._check_live(connection, key_id)
            connection.execute(
                "UPDATE hashes SET expires_at = min(ifnull(expires_at, ?), ?) WHERE key_id = ?",
                (until, until, key_id),
            )
            try:
                self._add_hash(connection, key_id, key)
            except sqlite3.IntegrityError:
                raise ValueError("the new key is in use already") from None
        return next(record for record in self.list() if record.principal.key_id == key_id)

    def _check_live(self, connection: sqlite3.Connection, key_id: str) -> None:
        sql = "SELECT revoked_at, expires_at FROM keys WHERE id = ?"
        found = connection.execute(sql, (key_id,)).fetchone()
        if found is None:
            raise ValueError(f"there is no key {key_id!r}")
        revoked_at, expires_at = found
        if revoked_at is not None or (expires_at is not None and expires_at <= self._clock.time()):
            raise ValueError(f"key {key_id!r} is revoked or expired; create a new one")

    def _add_hash(self, connection: sqlite3.Connection, key_id: str, key: str) -> None:
        connection.execute(
            "INSERT INTO hashes VALUES (?, ?, ?, ?, NULL)",
            (digest_of(key), key_id, key[:_HINT], self._clock.time()),
        )

    # --- the rest ---

    def list(self) -> list[KeyRecord]:
        """Every key there ever was, oldest first; the hint is that of its newest secret."""
        sql = (
            "SELECT principal, keys.created_at, revoked_at, keys.expires_at, hint "
            "FROM keys JOIN hashes ON keys.id = key_id AND hashes.expires_at IS NULL "
            "ORDER BY keys.created_at, keys.id"
        )
        with self._errors():
            found = self._connected().execute(sql).fetchall()
        return [
            KeyRecord(
                principal=_principal_of(principal),
                created_at=created_at,
                revoked_at=revoked_at,
                expires_at=expires_at,
                hint=hint,
            )
            for principal, created_at, revoked_at, expires_at, hint in found
        ]

    def close(self) -> None:
        """May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        # Last: closing any descriptor of the file drops the locks that this process has on it.
        descriptor, self._file = self._file, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageUnavailable("the key store is closed")
        return self._connection

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        connection = self._connected()
        with self._errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            finally:
                self._asked_at = 0.0

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise unavailable(error, f"keys {self._path}: {error}") from error


def _json(principal: Principal) -> str:
    return msgspec.json.encode(principal).decode()


def _open_private(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )
    try:
        _create(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, path: Path) -> None:
    # The change counter is only kept up where the journal is a rollback journal.
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StorageUnavailable(
                f"{path} has schema {version}, written by a newer Spillgate; this one reads up to "
                f"{SCHEMA_VERSION}: upgrade"
            )
        if version < SCHEMA_VERSION:
            for statement in _SCHEMA.split(";\n\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
