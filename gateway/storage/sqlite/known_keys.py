"""The keys of one file in memory: read whole once, and then what has changed.

A key takes some 800 bytes: its digest, its principal, and their places in a dict. One that was
revoked takes 150, so that it can be said that it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator

import msgspec

from gateway.types import MICRO, Principal

MOST_CHANGES = 200
"""So many are read at once in some milliseconds; of more all keys are read anew, elsewhere."""

_ENDS = "min(ifnull(keys.expires_at, 9e999), ifnull(hashes.expires_at, 9e999))"
_FROM = "FROM hashes JOIN keys ON keys.id = key_id"
_SELECT = f"SELECT revoked_at IS NULL, principal, {_ENDS} {_FROM} WHERE digest = ?"
_PAGE = 500
_SELECT_PAGE = (
    "SELECT json_group_array(json_array(name, alive, json(principal), ends)), max(digest) FROM ("  # noqa: S608
    "SELECT hex(digest) AS name, revoked_at IS NULL AS alive, principal, "
    f"CAST(round(nullif({_ENDS}, 9e999) * 1e6) AS INTEGER) AS ends, digest {_FROM} "
    f"WHERE digest > ? ORDER BY digest LIMIT {_PAGE})"
)
"""One row for many keys: between two rows a thread gives up the interpreter, and a busy one gives
it back late."""

_principal_of = msgspec.json.Decoder(Principal).decode
_page_of = msgspec.json.Decoder(list[tuple[str, int, Principal, int | None]]).decode


class KnownKey(msgspec.Struct, frozen=True):
    """Whose a key is, and until when: seconds since the epoch."""

    principal: Principal
    expires_at: float


REVOKED = KnownKey(Principal(key_id="", user=""), float("-inf"))


class KnownKeys:
    """``by_digest`` are those of the file after its change number ``revision``, when its counter
    was ``counter``."""

    def __init__(
        self, by_digest: dict[bytes, KnownKey], revision: int, mark: bytes, counter: bytes
    ) -> None:
        self.by_digest = by_digest
        self.counter = counter
        self._revision = revision
        self._mark = mark

    @classmethod
    def read(cls, connection: sqlite3.Connection, counter: Callable[[], bytes]) -> KnownKeys:
        """All of them. ``counter`` is asked inside the read, in which nobody writes. Raises
        sqlite3.Error and msgspec.MsgspecError."""
        connection.execute("BEGIN")
        try:
            newest = _newest(connection)
            return cls(dict(_all(connection)), *newest, counter())
        finally:
            connection.rollback()

    def of_another_file(self) -> KnownKeys:
        """The same keys, of which no changes can be read: all are to be read anew."""
        return KnownKeys(self.by_digest, -1, b"", b"")

    def read_changes(self, connection: sqlite3.Connection, counter: Callable[[], bytes]) -> bool:
        """Reads what has changed since. False, and nothing is read: there is too much of it, or
        this is not the file from which the keys came. Raises as ``read`` does."""
        connection.execute("BEGIN")
        try:
            digests = self._changed(connection)
            if digests is None or len(digests) > MOST_CHANGES:
                return False
            changed = {digest: find_key(connection, digest) for digest in digests}
            (self._revision, self._mark), self.counter = _newest(connection), counter()
        finally:
            connection.rollback()
        for digest, known in changed.items():
            if known is None:
                self.by_digest.pop(digest, None)
            else:
                self.by_digest[digest] = known
        return True

    def _changed(self, connection: sqlite3.Connection) -> set[bytes] | None:
        sql = "SELECT mark FROM changes WHERE revision = ?"
        found = connection.execute(sql, (self._revision,)).fetchone()
        if found is None or found[0] != self._mark:
            return None
        sql = "SELECT digest FROM changes WHERE revision > ? LIMIT ?"
        rows = connection.execute(sql, (self._revision, 2 * MOST_CHANGES + 1))
        digests = [digest for (digest,) in rows]
        return None if len(digests) > 2 * MOST_CHANGES else set(digests)


def _all(connection: sqlite3.Connection) -> Iterator[tuple[bytes, KnownKey]]:
    after: bytes | None = b""
    while after is not None:
        text, after = connection.execute(_SELECT_PAGE, (after,)).fetchone()
        for digest, alive, principal, ends_us in _page_of(text):
            ends = float("inf") if ends_us is None else ends_us / MICRO
            yield bytes.fromhex(digest), KnownKey(principal, ends) if alive else REVOKED


def find_key(connection: sqlite3.Connection, digest: bytes) -> KnownKey | None:
    """What the file says of one key."""
    row = connection.execute(_SELECT, (digest,)).fetchone()
    if row is None:
        return None
    alive, principal, expires_at = row
    return KnownKey(_principal_of(principal), expires_at) if alive else REVOKED


def _newest(connection: sqlite3.Connection) -> tuple[int, bytes]:
    sql = "SELECT revision, mark FROM changes ORDER BY revision DESC LIMIT 1"
    revision, mark = connection.execute(sql).fetchone()
    return revision, mark
