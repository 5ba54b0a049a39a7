"""The keys that work, in this process's memory, and the statements that read what has changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.storage.client_tokens import KEPT_S
from gateway.storage.postgres.connections import Connection
from gateway.types import Principal

_PAGE = 1_000
_FEWEST = 2_000
_NEVER = float("inf")

REVISION = "SELECT revision FROM key_changes"
_CHANGED = (
    "SELECT id, revision, principal, revoked_at, expires_at FROM keys WHERE revision > $1 "
    "ORDER BY revision LIMIT $2"
)
_HASHES = "SELECT key_id, digest, expires_at FROM key_hashes WHERE key_id = ANY ($1::text[])"

_principal_of = msgspec.json.Decoder(Principal).decode


class Known(msgspec.Struct, frozen=True):
    principal: Principal
    expires_at: float
    """Seconds since the epoch; infinite for one that does not expire, and past for one that was
    revoked."""
    revoked: bool


class KeysInMemory:
    """Read by one thread and changed by another, one entry at a time.

    Every change to a key gives it the next revision, in the order in which changes are committed:
    what is above the last revision that was read is what is new.
    """

    def __init__(self) -> None:
        self.by_digest: dict[bytes, Known] = {}
        self._revision = 0
        self._swept_at = _FEWEST

    async def refresh(self, connection: Connection, now_at: float) -> None:
        """Reads what has changed, a page at a time. ``now_at``: seconds since the epoch."""
        if await connection.fetchval(REVISION) == self._revision:
            return
        while True:
            changed = await connection.fetch(_CHANGED, self._revision, _PAGE)
            if changed:
                found = await connection.fetch(_HASHES, [row["id"] for row in changed])
                self._take(changed, found)
                self._sweep(now_at)
            if len(changed) < _PAGE:
                return

    def _take(self, changed: Iterable[Any], found: Iterable[Any]) -> None:
        hashes: defaultdict[str, list[tuple[bytes, float | None]]] = defaultdict(list)
        for key_id, digest, expires_at in found:
            hashes[key_id].append((digest, expires_at))
        for key_id, revision, principal, revoked_at, expires_at in changed:
            revoked = revoked_at is not None
            for digest, ends in hashes[key_id]:
                until = -_NEVER if revoked else min(_or_never(expires_at), _or_never(ends))
                self.by_digest[digest] = Known(_principal_of(principal), until, revoked)
            self._revision = revision

    def _sweep(self, now_at: float) -> None:
        """Forgets client tokens that ended so long ago that the database may have, as often as
        there are twice as many keys as after the last time."""
        if len(self.by_digest) < self._swept_at:
            return
        ended = now_at - KEPT_S
        for digest, known in [*self.by_digest.items()]:
            if known.principal.token is not None and known.expires_at <= ended:
                del self.by_digest[digest]
        self._swept_at = max(_FEWEST, 2 * len(self.by_digest))


def _or_never(instant: float | None) -> float:
    return _NEVER if instant is None else instant
