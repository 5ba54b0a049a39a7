"""What budgets have left, as the store said it last: the base of shares when it says no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.clock import Clock
from gateway.storage.base import Claim
from gateway.storage.claims import CallClaims, ClaimTemplate
from gateway.storage.counters import TOTALS
from gateway.storage.outage.shares import Key, Left, key_of
from gateway.storage.remote import RemoteStore

_AT_ONCE = 500
"""Counters that are asked for at once: a few milliseconds of the server's."""


class RecentlyLeft:
    """Of the budgets that calls have claimed since the last look, at each look; of the others as
    long as their windows last."""

    def __init__(self, remote: RemoteStore, clock: Clock) -> None:
        self._remote = remote
        self._clock = clock
        self._templates: set[ClaimTemplate] = set()
        self._claims: dict[Key, Claim] = {}
        self._left: dict[Key, Left] = {}

    def saw(self, claims: Sequence[Claim]) -> None:
        """A call has claimed these."""
        if isinstance(claims, CallClaims):
            self._templates.add(claims.template)
        else:
            self._add(claims)

    def _add(self, claims: Sequence[Claim]) -> None:
        self._claims.update((key_of(claim), claim) for claim in claims if claim.unit in TOTALS)

    async def look(self) -> None:
        """Asks the store. Raises StorageUnavailable."""
        for template in self._templates:
            self._add(template.held)
        self._templates.clear()
        claims = list(self._claims.values())
        self._claims.clear()
        for start in range(0, len(claims), _AT_ONCE):
            asked = claims[start : start + _AT_ONCE]
            for status in await self._remote.statuses(asked):
                until = self._clock.time() + status.reset_s
                self._left[key_of(status.claim)] = Left(status.remaining, until)

    def left(self) -> Mapping[Key, Left]:
        """What is known of windows that go on."""
        now = self._clock.time()
        self._left = {key: left for key, left in self._left.items() if left.until > now}
        return self._left
