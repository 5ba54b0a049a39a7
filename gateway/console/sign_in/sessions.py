"""Who has signed in to the console: sessions in a small SQLite file that all processes of a gateway
share.

A session's name is 256 random bits, which its browser alone has; the file holds the hashes of that
and of the key with which it began, so a copy of the file lets nobody in. A session has the rights
that its key has at each request, and ends with it.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from gateway.api_keys import digest_of
from gateway.clock import Clock
from gateway.storage.key_store import KeyStore
from gateway.storage.small_files import SmallFile
from gateway.types import Principal

FILE = "console.db"
LASTS_S = 12 * 3_600.0
"""From the sign-in on, whatever is done meanwhile."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    name BLOB NOT NULL PRIMARY KEY,
    key BLOB NOT NULL,
    ends_at REAL NOT NULL
) STRICT, WITHOUT ROWID
"""


class Sessions:
    """In the file ``path``, which the first sign-in makes. Each method takes some tenths of a
    millisecond, and raises StorageUnavailable where the file cannot be used."""

    def __init__(self, path: Path, keys: KeyStore, clock: Clock) -> None:
        self._file = SmallFile(path, "sessions", _SCHEMA)
        self._keys = keys
        self._clock = clock

    def begin(self, key: str) -> str:
        """A new session of whoever has the key: its name. Those that are over are forgotten."""
        name, now_at = secrets.token_urlsafe(32), self._clock.time()
        with self._file.opened(create=True) as file:
            file.execute("DELETE FROM sessions WHERE ends_at <= ?", (now_at,))
            row = (_hashed(name), digest_of(key), now_at + LASTS_S)
            file.execute("INSERT INTO sessions VALUES (?, ?, ?)", row)
        return name

    def principal(self, name: str) -> Principal | None:
        """Whose it is; None of one that is over, unknown, or whose key works no longer."""
        if not name or not self._file.exists():
            return None
        sql = "SELECT key FROM sessions WHERE name = ? AND ends_at > ?"
        with self._file.opened() as file:
            found = file.execute(sql, (_hashed(name), self._clock.time())).fetchone()
        return None if found is None else self._keys.of_digest(found[0])

    def end(self, name: str) -> None:
        """For ever, in all processes."""
        if self._file.exists():
            with self._file.opened() as file:
                file.execute("DELETE FROM sessions WHERE name = ?", (_hashed(name),))


def form_token(name: str) -> str:
    """What each form of a session carries: whoever sends a form from another site knows neither it
    nor the session's name."""
    return hashlib.sha256(b"form " + name.encode()).hexdigest()


def _hashed(name: str) -> bytes:
    return hashlib.sha256(b"session " + name.encode("utf-8", "surrogatepass")).digest()
