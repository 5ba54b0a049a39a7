"""Limits of backends that are known to be full: calls that cannot fit are sent on without the store
being asked for each of them.

What is known is forgotten when a call of this process ends that held something there, when the
policy has another limit, and after a moment: others may share the limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.clock import Clock
from gateway.storage.base import Claim, Refused
from gateway.types import Unit

LOOKS_EVERY_S = 0.25
"""How often it is looked whether a limit is still full, where calls want to know."""

_Key = tuple[str, Unit, str]
"""Scope, unit and window."""


class _Full(msgspec.Struct, frozen=True):
    refused: Refused
    until: float
    """Monotonic seconds."""


class FullLimits:
    """Of this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.known: dict[_Key, _Full] = {}
        """Those that are known to be full."""

    def saw(self, refused: Refused) -> None:
        """The store has refused this."""
        lasts_s = min(LOOKS_EVERY_S, refused.retry_after_s)
        claim = refused.status.claim
        self.known[_key(claim)] = _Full(refused, self._clock.monotonic() + lasts_s)

    def refuses(self, claims: Sequence[Claim]) -> Refused | None:
        """What a call that takes these would be told; None where it is to be asked."""
        for claim in claims:
            full = self.known.get(_key(claim))
            if full is None:
                continue
            known = full.refused.status.claim
            if self._clock.monotonic() >= full.until or claim.limit != known.limit:
                del self.known[_key(claim)]
            elif claim.take >= known.take:
                status = msgspec.structs.replace(full.refused.status, claim=claim)
                return msgspec.structs.replace(full.refused, status=status)
        return None

    def forget(self, claims: Sequence[Claim]) -> None:
        """A call that held these has ended."""
        for claim in claims:
            self.known.pop(_key(claim), None)


def _key(claim: Claim) -> _Key:
    return claim.scope, claim.unit, claim.window
