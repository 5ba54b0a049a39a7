"""The section ``keys``: which keys may be made, and when it is told that they end."""

from __future__ import annotations

from typing import Annotated

import msgspec

from adapters.settings import PositiveDuration

_DAY_S = 86_400.0


class KeySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section ``keys``."""

    unlimited: bool = False
    """Whether keys may be made that nothing limits: no limit of their own, of their user, their
    plan or their tags."""
    notice: Annotated[tuple[PositiveDuration, ...], msgspec.Meta(max_length=10)] = (
        14 * _DAY_S,
        2 * _DAY_S,
    )
    """How long before a key ends it is told, in the log and to webhooks that take keys; each once.
    Empty: never."""
