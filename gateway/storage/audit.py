"""What administrators did, as it is kept: entries are added, and never changed."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One act, or one that was tried. Nothing of it is a secret."""

    at: float
    """Seconds since the epoch."""
    actor: str
    """``key:`` and a key's id, ``os:`` and the name of a system's user, or ``gateway``."""
    address: str = ""
    """Of the connection that it came by."""
    act: str
    """Such as ``key.create``."""
    target: str = ""
    details: dict[str, str] = {}
    outcome: str = "done"
    """``done``; ``begun``, of which another entry tells the end; ``refused`` or ``failed``, and
    why."""


class AuditEntry(msgspec.Struct, frozen=True):
    """An act, and its place among all."""

    number: int
    act: Act


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Entries before a number, newest first, ``most`` of them; what is empty is not asked for."""

    before: int | None = None
    most: int = 50
    actor: str = ""
    act: str = ""
    target: str = ""


class AuditLog(Protocol):
    """Both methods wait for the store, and may be called by any thread. They raise
    StorageUnavailable."""

    def record(self, act: Act) -> None:
        """Adds an entry."""
        ...

    def audit(self, query: AuditQuery) -> list[AuditEntry]:
        """Newest first."""
        ...


_details_of = msgspec.json.Decoder(dict[str, str]).decode


def entry_of(
    number: int,
    at: float,
    actor: str,
    address: str,
    act: str,
    target: str,
    details: str,
    outcome: str,
) -> AuditEntry:
    """Of a row, in the order of its columns; ``details`` is JSON."""
    return AuditEntry(
        number,
        Act(
            at=at,
            actor=actor,
            address=address,
            act=act,
            target=target,
            details=_details_of(details),
            outcome=outcome,
        ),
    )
