"""What is kept of a key beside its hash."""

from __future__ import annotations

import msgspec

from gateway.types import Principal


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored; instants are seconds since the epoch."""

    principal: Principal
    created_at: float
    revoked_at: float | None = None
    expires_at: float | None = None
    hint: str = ""
    """The key's first seven characters, to recognise it by."""
    last_used_at: float | None = None
    """As was noted a minute ago at the latest."""


_principal_of = msgspec.json.Decoder(Principal).decode


def record_of(
    principal: str,
    created_at: float,
    revoked_at: float | None,
    expires_at: float | None,
    hint: str,
    used_at: float | None,
) -> KeyRecord:
    """Of a row, in the order of its columns; ``principal`` is JSON."""
    return KeyRecord(
        principal=_principal_of(principal),
        created_at=created_at,
        revoked_at=revoked_at,
        expires_at=expires_at,
        hint=hint,
        last_used_at=used_at,
    )
