"""Keys in a small SQLite file of their own, known by their hash alone."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from math import isinf
from pathlib import Path

import msgspec

from gateway.api_keys import digest_of
from gateway.clock import Clock, SystemClock
from gateway.storage.audit import Act, AuditEntry, AuditQuery
from gateway.storage.base import StorageBusy, StorageUnavailable, unavailable
from gateway.storage.key_records import KeyRecord, record_of
from gateway.storage.key_store import WhyNot
from gateway.storage.sqlite import audit_table, token_table
from gateway.storage.sqlite.key_file import KeyFile, connect, fault_of, is_locked
from gateway.storage.sqlite.known_keys import REVOKED, KnownKey, KnownKeys, find_key
from gateway.types import Principal

log = logging.getLogger("spillgate")

_HINT = 7
_LOCK_WAIT_S = 1.0
LOOK_S = 1.0
"""How often it is looked whether another file stands in the place of this one."""
RETRY_S = 0.25
"""A file that cannot be read is tried again that often."""
_LOCKED_FOR_S = 1.0
"""A lock that lasts longer is told of; a writer has it for some milliseconds."""

_Fault = (sqlite3.Error, OSError, StorageUnavailable, msgspec.MsgspecError, UnicodeError)
"""What reading a file may raise that is broken, locked or gone."""


class SqliteKeys:
    """A KeyStore in the file ``path``. ``find`` belongs to one thread; the rest to any.

    ``find`` answers from memory. Whether another process has changed the file is asked by one
    read of four bytes: a microsecond or two, where SQLite's own ``PRAGMA data_version`` takes
    four to ten. It is asked before every answer, or, with ``trust_s``, once in that many seconds.
    What has changed is read then, and no more than that. Once a second it is looked whether another
    file stands in its place; while all keys of that one are read, by a thread, each answer is
    looked up in it.

    While the file cannot be read, the keys in memory stay as they are, and ``failing`` says why.
    Raises StorageUnavailable when it cannot be used from the first.
    """

    def __init__(
        self, path: str | Path, *, clock: Clock | None = None, trust_s: float = 0.0
    ) -> None:
        self._path = Path(path)
        self._clock: Clock = clock or SystemClock()
        self._trust_s = trust_s
        self._asked_at = 0.0
        self._looked_at = self._clock.time()
        self._reading: _Reading | None = None
        self._fault = ""
        self._failed_at = self._retry_at = 0.0
        self._is_told = False
        self._is_locked = False
        self._closed = False
        with self._errors():
            self._file = KeyFile(self._path, create=True, wait_s=_LOCK_WAIT_S)
            try:
                self._known = KnownKeys.read(self._file.connection, self._file.counter)
            except BaseException:
                self._file.close()
                raise

    # --- the hot path ---

    def find(self, key: str) -> Principal | None:
        """The principal of a key that is neither revoked nor expired, at this very instant; what
        another process has revoked, ``trust_s`` later at the latest. Raises StorageUnavailable for
        one that is not in memory while the file cannot be read, StorageBusy while another writes
        to it."""
        now = self._clock.time()
        if not 0 <= now - self._asked_at < self._trust_s:
            self._ask(now)
        digest = digest_of(key)
        known = (
            self._known.by_digest.get(digest) if self._reading is None else self._look_up(digest)
        )
        if known is None:  # perhaps made elsewhere a moment ago
            self._ask(now)
            known = self._look_up(digest)
        if known is None or known.expires_at <= now:
            return None
        return known.principal

    def of_digest(self, digest: bytes) -> Principal | None:
        """As ``find``, of a key by its hash."""
        now = self._clock.time()
        self._ask(now)
        known = self._look_up(digest)
        return None if known is None or known.expires_at <= now else known.principal

    def why_not(self, key: str) -> WhyNot:
        """Why ``find`` has just found nothing; costs one look-up."""
        known = self._known.by_digest.get(digest_of(key))
        if known is None:
            return "unknown"
        return "revoked" if known is REVOKED else "expired"

    def ends_at(self, key: str) -> float | None:
        """When a key that was found will end: it expires, or the grace of its rotation does; None:
        never."""
        known = self._known.by_digest.get(digest_of(key))
        return None if known is None or isinf(known.expires_at) else known.expires_at

    @property
    def failing(self) -> str:
        """Why the file could not be read when it was last tried; empty while it can."""
        now = self._clock.time()
        if not self._closed and not 0 <= now - self._asked_at < LOOK_S:
            self._ask(now)
        return self._fault if self._is_told else ""

    def _look_up(self, digest: bytes) -> KnownKey | None:
        """By memory where that is the file's, else by the file, else by memory all the same."""
        known = self._known.by_digest.get(digest)
        if self._reading is not None:
            try:
                known = find_key(self._file.connection, digest)
            except _Fault as error:
                self._fail(self._clock.time(), error)
        if known is None and self._fault:
            if self._is_locked:
                raise StorageBusy(self._fault, self._wait_for_writer)
            raise StorageUnavailable(self._fault)
        return known

    def _wait_for_writer(self) -> None:
        with self._connected():  # it reads the file, and waits for whoever writes
            return

    # --- following the file ---

    def _ask(self, now: float) -> None:
        self._asked_at = now
        if self._closed:
            raise StorageUnavailable("the key store is closed")
        if self._fault and 0 < self._retry_at - now <= RETRY_S:
            return
        try:
            if not 0 <= now - self._looked_at < LOOK_S or self._fault:
                self._look()
                self._looked_at = now
            if self._reading is not None or self._file.counter() != self._known.counter:
                self._follow()
        except _Fault as error:
            self._fail(now, error)
        else:
            if self._fault and self._reading is None:
                self._recover()

    def _look(self) -> None:
        if self._file.is_in_place():
            return
        before, self._file = self._file, KeyFile(self._path)
        self._known, self._reading = self._known.of_another_file(), None
        before.close()
        log.warning("keys %s: another file stands in its place, and is followed", self._path)

    def _follow(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            known = reading.result()
            if known is None:
                self._reading = reading
                return
            self._known = known
        if not self._known.read_changes(self._file.connection, self._file.counter):
            self._reading = _Reading(self._file)

    def _fail(self, now: float, error: Exception) -> None:
        if not self._fault:
            self._failed_at = now
        self._fault, self._is_locked = fault_of(self._path, error), is_locked(error)
        # A writer's lock is gone when it says that it has written: then the next find must know.
        self._retry_at = now if self._is_locked else now + RETRY_S
        passes = self._is_locked and 0 <= now - self._failed_at < _LOCKED_FOR_S
        if not self._is_told and not passes:
            self._is_told = True
            log.error("%s. Until then the keys that were read stay as they are", self._fault)

    def _recover(self) -> None:
        self._fault = ""
        if self._is_told:
            self._is_told = False
            log.warning("keys %s: it can be read again", self._path)

    # --- changes ---

    def create(
        self,
        principal: Principal,
        key: str,
        *,
        expires_at: float | None = None,
        act: Act | None = None,
    ) -> KeyRecord:
        """Raises ValueError when the principal's ``id`` or the key itself is taken, and
        TooManyTokens."""
        now = self._clock.time()
        with self._change() as connection:
            try:
                connection.execute(
                    "INSERT INTO keys VALUES (?, ?, ?, NULL, ?)",
                    (principal.id, _json(principal), now, expires_at),
                )
                self._add_hash(connection, principal.id, key)
                if principal.token is not None:
                    token_table.add(connection, principal, expires_at or now, now)
                _add(connection, act)
            except sqlite3.IntegrityError:
                raise ValueError(f"there is a key {principal.id!r} already") from None
        return KeyRecord(
            principal=principal, created_at=now, expires_at=expires_at, hint=key[:_HINT]
        )

    def revoke(self, key_id: str, *, act: Act | None = None) -> bool:
        """Ends the key and what it was rotated from, for the very next ``find`` anywhere."""
        with self._change() as connection:
            sql = "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
            revoked = connection.execute(sql, (self._clock.time(), key_id)).rowcount == 1
            _add(connection, act if revoked else None)
            return revoked

    def rotate(
        self, key_id: str, key: str, *, grace_s: float = 0.0, act: Act | None = None
    ) -> KeyRecord:
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
                _add(connection, act)
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

    def record(self, act: Act) -> None:
        """Adds an entry to the audit log."""
        with self._change() as connection:
            audit_table.add(connection, act)

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Of the audit log, newest first."""
        with self._connected() as connection:
            return audit_table.read(connection, query)

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Key id -> when it was used last. No key changes by it."""
        sql = (
            "INSERT INTO key_uses VALUES (?, ?) "
            "ON CONFLICT (key_id) DO UPDATE SET used_at = max(used_at, excluded.used_at)"
        )
        with self._change() as connection:
            connection.executemany(sql, uses.items())

    def _records(self, where: str, *values: float) -> list[KeyRecord]:
        sql = (
            "SELECT principal, keys.created_at, revoked_at, keys.expires_at, hint, used_at "  # noqa: S608
            "FROM keys JOIN hashes ON keys.id = hashes.key_id AND hashes.expires_at IS NULL "
            "LEFT JOIN key_uses ON keys.id = key_uses.key_id "
            f"WHERE {where} ORDER BY keys.created_at, keys.id"
        )
        with self._connected() as connection:
            return [record_of(*row) for row in connection.execute(sql, values)]

    def list(self) -> list[KeyRecord]:
        """Every key there ever was, oldest first; the hint is that of its newest secret."""
        return self._records(token_table.NO_TOKENS)

    def tokens(self, key_id: str | None = None, id: str | None = None) -> Sequence[KeyRecord]:
        """Client tokens of a key, or of all, that have not expired."""
        with self._connected() as connection:
            return token_table.live(connection, key_id, self._clock.time(), id)

    def ending(self, until: float) -> Sequence[KeyRecord]:
        """Those in use that will end by an instant."""
        now = self._clock.time()
        where = "revoked_at IS NULL AND keys.expires_at > ? AND keys.expires_at <= ?"
        return self._records(f"{where} AND {token_table.NO_TOKENS}", now, until)

    def close(self) -> None:
        """May be called twice."""
        self._closed = True
        self._file.close()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection to whatever stands at the path now, for as long as it takes."""
        if self._closed:
            raise StorageUnavailable("the key store is closed")
        with self._errors():
            connection = connect(self._path, wait_s=_LOCK_WAIT_S)
            with contextlib.closing(connection):
                yield connection

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            finally:
                self._asked_at = self._retry_at = 0.0

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _Fault as error:
            raise unavailable(error, fault_of(self._path, error)) from error


class _Reading:
    """All keys of a file, while a thread reads them."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._known: KnownKeys | None = None
        self._error: Exception | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name="keys-reader", daemon=True).start()

    def result(self) -> KnownKeys | None:
        """None: not yet. Raises what the reading did."""
        if not self._done.is_set():
            return None
        if self._error is not None:
            raise self._error
        return self._known

    def _run(self) -> None:
        try:
            with contextlib.closing(connect(self._file.path, wait_s=_LOCK_WAIT_S)) as connection:
                self._known = KnownKeys.read(connection, self._file.counter)
        except Exception as error:  # it is raised where the result is taken
            self._error = error
        finally:
            self._done.set()


def _add(connection: sqlite3.Connection, act: Act | None) -> None:
    if act is not None:
        audit_table.add(connection, act)


def _json(principal: Principal) -> str:
    return msgspec.json.encode(principal).decode()
