"""The file of the keys: its tables, its connections, and whether it is still the one that was read.

Every change of a key leaves rows in ``changes``, by triggers, whoever makes it: so a reader asks
for what came after the last change that it knows. The newest 10,000 are kept.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sqlite3
from pathlib import Path

from gateway.storage.base import StorageUnavailable
from gateway.storage.sqlite.audit_table import AUDIT
from gateway.storage.sqlite.token_table import TOKENS

SCHEMA_VERSION = 5

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

_CHANGES = """
CREATE INDEX hashes_by_key ON hashes (key_id);

CREATE TABLE changes (
    revision INTEGER NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL,
    mark BLOB NOT NULL DEFAULT (randomblob(8))
) STRICT;

INSERT INTO changes (digest) VALUES (X'');

CREATE TRIGGER hash_made AFTER INSERT ON hashes BEGIN
    INSERT INTO changes (digest) VALUES (NEW.digest);
END;

CREATE TRIGGER hash_changed AFTER UPDATE ON hashes BEGIN
    INSERT INTO changes (digest) VALUES (OLD.digest), (NEW.digest);
END;

CREATE TRIGGER hash_removed AFTER DELETE ON hashes BEGIN
    INSERT INTO changes (digest) VALUES (OLD.digest);
END;

CREATE TRIGGER key_made AFTER INSERT ON keys BEGIN
    INSERT INTO changes (digest) SELECT digest FROM hashes WHERE key_id = NEW.id;
END;

CREATE TRIGGER key_changed AFTER UPDATE ON keys BEGIN
    INSERT INTO changes (digest) SELECT digest FROM hashes WHERE key_id IN (OLD.id, NEW.id);
END;

CREATE TRIGGER key_removed AFTER DELETE ON keys BEGIN
    INSERT INTO changes (digest) SELECT digest FROM hashes WHERE key_id = OLD.id;
END;

CREATE TRIGGER old_changes AFTER INSERT ON changes BEGIN
    DELETE FROM changes WHERE revision <= NEW.revision - 10000;
END;
"""
"""Beside the tables of version 1 and unknown to it: an older Spillgate may share the file, and what
it changes is told as well. A mark tells a change from another file's of the same number."""

_USES = """
CREATE TABLE key_uses (key_id TEXT NOT NULL PRIMARY KEY, used_at REAL NOT NULL)
STRICT, WITHOUT ROWID
"""

_LATER: tuple[tuple[str, ...], ...] = ((), (_USES,), AUDIT, TOKENS)
"""The statements that bring version 1 to 2, and so on. 2: keys may be bound to models, paths and
addresses, which an older Spillgate would not heed: it must not read the file. 3: when each was used
last. 4: the audit log. 5: client tokens, whose own bounds an older Spillgate would not heed."""

_CHANGE_COUNTER = 24
"""Offset of four bytes that SQLite changes in every transaction that writes, where the journal is
a rollback journal (https://www.sqlite.org/fileformat2.html, "File change counter")."""

_Four = ctypes.c_char * 4
_pread = ctypes.PyDLL(None).pread
_pread.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_longlong)
_pread.restype = ctypes.c_ssize_t


class KeyFile:
    """The file at ``path`` as it is now; another one in its place is another KeyFile.

    ``create``  makes a missing one. ``wait_s``  the longest that a read waits for a writer.
    Raises OSError, sqlite3.Error and StorageUnavailable for what is no file of keys.
    """

    def __init__(self, path: Path, *, create: bool = False, wait_s: float = 0.0) -> None:
        self.path = path
        self._descriptor = _open_private(path) if create else os.open(path, _OPEN)
        try:
            self.connection = connect(path, wait_s=wait_s, empty=create)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.connection.execute("PRAGMA busy_timeout = 0")
        stat = os.fstat(self._descriptor)
        self._inode = (stat.st_dev, stat.st_ino)
        self._written = (stat.st_mtime_ns, stat.st_size)
        self._counted = self.counter()

    def counter(self) -> bytes:
        """SQLite's change counter. Read without giving up the interpreter's lock: to get it back
        from another thread costs a hundred times the read, which the page cache answers."""
        four = _Four()
        if _pread(self._descriptor, four, 4, _CHANGE_COUNTER) != 4:
            raise StorageUnavailable(_words(self.path, "it was cut off", _BROKEN))
        return four.raw

    def is_in_place(self) -> bool:
        """Whether it is still what stands at its path, and was changed by nothing but SQLite.
        Raises OSError where nothing is there."""
        stat = os.stat(self.path)
        if (stat.st_dev, stat.st_ino) != self._inode:
            return False
        counted, written = self.counter(), (stat.st_mtime_ns, stat.st_size)
        if written != self._written and counted == self._counted:
            return False
        self._counted, self._written = counted, written
        return True

    def close(self) -> None:
        """May be called twice."""
        self.connection.close()
        # Last: closing any descriptor of the file drops the locks that this process has on it.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_OPEN = os.O_RDWR | os.O_CLOEXEC


def _open_private(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | _OPEN, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def connect(path: Path, *, wait_s: float, empty: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode to a file of keys that exists; an ``empty`` one gets its
    tables. Raises sqlite3.Error, and StorageUnavailable for another file."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=wait_s,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _prepare(connection, path, empty)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, empty: bool) -> None:
    # The change counter is only kept up where the journal is a rollback journal.
    connection.execute("PRAGMA journal_mode = DELETE")
    if _is_whole(connection, path, empty):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_whole(connection, path, empty):
            _bring_up_to_date(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _is_whole(connection: sqlite3.Connection, path: Path, empty: bool) -> bool:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if version > SCHEMA_VERSION:
        raise StorageUnavailable(
            f"keys {path}: it has schema {version}, written by a newer Spillgate; this one reads "
            f"up to {SCHEMA_VERSION}: upgrade"
        )
    if not version and (names or not empty):
        fault = "it is another program's database" if names else "it is empty"
        raise StorageUnavailable(_words(path, fault, _BROKEN))
    return "old_changes" in names and version == SCHEMA_VERSION


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    for statement in () if version else _SCHEMA.split(";\n\n"):
        connection.execute(statement)
    for statement in () if "old_changes" in names else _CHANGES.split(";\n\n"):
        connection.execute(statement)
    for statements in _LATER[max(version, 1) - 1 :]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


# --- what is wrong with it -----------------------------------------------------------------------

_BROKEN = "put a backup in its place, or move it away to begin without keys"
_LOCKED = "another program holds its lock: end that one"
_GONE = "put it back; `spillgate keys create` makes a new one, without the keys of before"
_CLOSED = "make it readable and writable for the user that runs this"
_FOLDER = "a folder is in its place: move that away"
_ADVICE: dict[int, str] = {
    sqlite3.SQLITE_NOTADB: _BROKEN,
    sqlite3.SQLITE_CORRUPT: _BROKEN,
    sqlite3.SQLITE_ERROR: _BROKEN,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: _GONE,
    sqlite3.SQLITE_READONLY: _CLOSED,
}
_SYSTEM_ADVICE: dict[int | None, str] = {
    errno.ENOENT: _GONE,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EISDIR: _FOLDER,
}


def is_locked(error: Exception) -> bool:
    """Whether it passes by itself, as soon as another program has written."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def fault_of(path: Path, error: Exception) -> str:
    """What is wrong with the file and what to do, on one line."""
    if isinstance(error, StorageUnavailable):
        return str(error)
    if isinstance(error, OSError):
        advice = _SYSTEM_ADVICE.get(error.errno, "")
        return _words(path, error.strerror or str(error), advice)
    code = getattr(error, "sqlite_errorcode", None)
    advice = _BROKEN if code is None else _ADVICE.get(code & 0xFF, "")
    return _words(path, str(error), advice)


def _words(path: Path, fault: str, advice: str) -> str:
    return " ".join(f"keys {path}: {fault}{'; ' if advice else ''}{advice}".split())
