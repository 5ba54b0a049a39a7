"""The section ``keys``: which keys may be made."""

from __future__ import annotations

import msgspec


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``keys``."""

    unlimited: bool = False
    """Whether keys may be made that nothing limits: no limit of their own, of their user, their
    plan or their tags."""
