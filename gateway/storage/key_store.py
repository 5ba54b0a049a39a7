"""The port of the keys. One contract suite is run over every store of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from gateway.storage.audit import Act, AuditLog
from gateway.storage.key_records import KeyRecord
from gateway.types import Principal

WhyNot = Literal["unknown", "expired", "revoked"]
"""``expired`` is also what was rotated, when its grace is over."""


class KeyStore(AuditLog, Protocol):
    """Keys, by their hash alone. A change made by another process is seen by the next ``find``, or,
    where the store is on another machine, by one that comes a second later. ``find`` belongs to one
    thread; the others wait for the store, and may be called by any. An ``act`` is in the audit log
    if, and only if, the key was changed."""

    def find(self, key: str) -> Principal | None:
        """Whose it is, if neither revoked nor expired; from memory. Raises StorageUnavailable."""
        ...

    def of_digest(self, digest: bytes) -> Principal | None:
        """As ``find``, by what is kept of a key: for who has seen it before."""
        ...

    def why_not(self, key: str) -> WhyNot:
        """Why ``find`` has just found nothing."""
        ...

    def ends_at(self, key: str) -> float | None:
        """When a key that was found just now will end: it expires, or what it was rotated to stands
        alone. Seconds since the epoch; None: never, as far as is known."""
        ...

    @property
    def failing(self) -> str:
        """Why changes cannot be read at the moment; empty while they can."""
        ...

    def create(
        self,
        principal: Principal,
        key: str,
        *,
        expires_at: float | None = None,
        act: Act | None = None,
    ) -> KeyRecord:
        """Raises ValueError when the principal's ``id`` is taken, and TooManyTokens."""
        ...

    def revoke(self, key_id: str, *, act: Act | None = None) -> bool:
        """False when there is no such key or it was revoked before."""
        ...

    def rotate(
        self, key_id: str, key: str, *, grace_s: float = 0.0, act: Act | None = None
    ) -> KeyRecord:
        """A new key for the same principal; the old one works for another ``grace_s`` seconds.
        Raises ValueError for a key that is unknown, revoked or expired."""
        ...

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Key id -> when it was used last: no change of a key, and an earlier instant is none."""
        ...

    def list(self) -> list[KeyRecord]:
        """All keys, revoked ones too, in the order in which they were made; no client tokens."""
        ...

    def tokens(self, key_id: str | None = None, id: str | None = None) -> Sequence[KeyRecord]:
        """Client tokens of a key, or of all keys, that have not expired, revoked ones too: the
        newest thousand, or the one whose ``id`` it is, however many are newer."""
        ...

    def ending(self, until: float) -> Sequence[KeyRecord]:
        """Keys in use that will end by an instant, in seconds since the epoch."""
        ...

    def close(self) -> None:
        """Closes the file."""
        ...
