"""Who has signed in to the console: sessions in a small SQLite file that all processes of a gateway
share.

A session's name is 256 random bits, which its browser alone has; the file holds the hashes of that
and of the key with which it began, so a copy of the file lets nobody in. A session has the rights
that its key has at each request, and ends with it.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from contextlib import AbstractContextManager
from pathlib import Path

from gateway.api_keys import digest_of
from gateway.clock import Clock
from gateway.storage.key_store import KeyStore
from gateway.storage.small_files import SmallFile
from gateway.types import Principal

FILE = "console.db"
OIDC = "oidc:"
"""So begins the id of somebody without a key, whom an OpenID provider has named."""
LASTS_S = 12 * 3_600.0
"""From the sign-in on, whatever is done meanwhile."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    name BLOB NOT NULL PRIMARY KEY,
    key BLOB NOT NULL,
    ends_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS people (
    name BLOB NOT NULL PRIMARY KEY,
    key_id TEXT NOT NULL,
    user TEXT NOT NULL,
    role TEXT NOT NULL,
    ends_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
_OVER = ("DELETE FROM sessions WHERE ends_at <= ?", "DELETE FROM people WHERE ends_at <= ?")
_END = ("DELETE FROM sessions WHERE name = ?", "DELETE FROM people WHERE name = ?")


class Sessions:
    """In the file ``path``, which the first sign-in makes. Each method takes some tenths of a
    millisecond, and raises StorageUnavailable where the file cannot be used."""

    def __init__(self, path: Path, keys: KeyStore, clock: Clock) -> None:
        self._file = SmallFile(path, "sessions", _SCHEMA)
        self._keys = keys
        self._clock = clock
        self._is_whole = False

    def begin(self, key: str) -> str:
        """A new session of whoever has the key: its name. Those that are over are forgotten."""
        return self._begin("INSERT INTO sessions VALUES (?, ?, ?)", digest_of(key))

    def begin_as(self, who: Principal) -> str:
        """The same of somebody without a key, whom another has named."""
        insert = "INSERT INTO people VALUES (?, ?, ?, ?, ?)"
        return self._begin(insert, who.key_id, who.user, who.role)

    def _begin(self, insert: str, *whose: bytes | str) -> str:
        name, now_at = secrets.token_urlsafe(32), self._clock.time()
        with self._opened(create=True) as file:
            for over in _OVER:
                file.execute(over, (now_at,))
            file.execute(insert, (_hashed(name), *whose, now_at + LASTS_S))
        return name

    def principal(self, name: str) -> Principal | None:
        """Whose it is; None of one that is over, unknown, or whose key works no longer."""
        if not name or not self._file.exists():
            return None
        asked = (_hashed(name), self._clock.time())
        with self._opened() as file:
            sql = "SELECT key FROM sessions WHERE name = ? AND ends_at > ?"
            found = file.execute(sql, asked).fetchone()
            if found is not None:
                return self._keys.of_digest(found[0])
            sql = "SELECT key_id, user, role FROM people WHERE name = ? AND ends_at > ?"
            found = file.execute(sql, asked).fetchone()
        return None if found is None else Principal(key_id=found[0], user=found[1], role=found[2])

    def end(self, name: str) -> None:
        """For ever, in all processes."""
        if self._file.exists():
            with self._opened() as file:
                for end in _END:
                    file.execute(end, (_hashed(name),))

    def _opened(self, *, create: bool = False) -> AbstractContextManager[sqlite3.Connection]:
        """A file of an earlier version gets what it lacks at this process's first look."""
        create, self._is_whole = create or not self._is_whole, True
        return self._file.opened(create=create)


def form_token(name: str) -> str:
    """What each form of a session carries: whoever sends a form from another site knows neither it
    nor the session's name."""
    return hashlib.sha256(b"form " + name.encode()).hexdigest()


def _hashed(name: str) -> bytes:
    return hashlib.sha256(b"session " + name.encode("utf-8", "surrogatepass")).digest()
