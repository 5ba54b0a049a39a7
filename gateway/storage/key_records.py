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
