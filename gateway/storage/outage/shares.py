"""What this gateway lets through by itself, while the shared store of all is lost.

Each living gateway has the same part of every limit whose scope's answer is ``share``: of a budget
what was left of it when the store was last asked, else the whole limit, divided by their number,
less what this one's calls have taken since. It is counted here, in this process' memory. Nobody is
told that a budget is used up because of that: a part that is used up says nothing of the budget, so
the call is refused as if the store were asked in vain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.clock import Clock
from gateway.storage.base import Admitted, Claim, LimitStatus, Refused
from gateway.storage.memory import MemorySharedStore
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.remote import StorageLost
from gateway.types import Unit

Key = tuple[str, Unit, str]
"""Scope, unit and window: they name a counter."""
_BOUNDLESS = 1 << 50
_COUNTED = ("requests", "concurrent")


def key_of(claim: Claim) -> Key:
    """The counter of a claim."""
    return claim.scope, claim.unit, claim.window


class Left(NamedTuple):
    """What a counter had left when the store was last asked, in the window that ends at ``until``
    (seconds since the epoch); ``taken``: what this gateway's calls took since then."""

    remaining: int
    until: float
    taken: int = 0


class LocalShares:
    """Counts one outage. ``gateways``: how many were alive, this one among them; 0: not known, and
    then nothing is shared. ``left``: what counters had left."""

    def __init__(
        self, clock: Clock, answers: LostAnswers, gateways: int, left: Mapping[Key, Left]
    ) -> None:
        self._clock = clock
        self._answers = answers
        self._gateways = gateways
        self._left = left
        self._store = MemorySharedStore(clock, remember=1024)

    async def admit(
        self, hold_id: str, claims: Sequence[Claim], ttl_s: float
    ) -> Admitted | Refused:
        """As the shared store's, by the shares. Raises StorageLost where a scope is closed, or its
        share of a budget has no room."""
        own = [self._local(claim) for claim in claims]
        answer = await self._store.admit(hold_id, own, ttl_s)
        known = {key_of(claim): claim for claim in claims}
        if isinstance(answer, Admitted):
            return Admitted(self._shown(answer, known))
        return self._refused(answer, known)

    async def insist(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        """Counts a call that the store let through before it was lost: it is one of those that run
        at once."""
        alive = [claim for claim in claims if claim.unit == "concurrent"]
        if alive:
            await self._store.reinstate(hold_id, alive, ttl_s)

    async def settle(self, hold_id: str, actual: dict[Unit, int]) -> None:
        """Ends what is held here under the id, if anything is."""
        await self._store.settle(hold_id, (), actual)

    async def release(self, hold_id: str) -> None:
        """The same, as if the call had not been."""
        await self._store.release(hold_id)

    async def statuses(self, claims: Sequence[Claim]) -> tuple[LimitStatus, ...]:
        """How the shares stand, of limits that are shown as they are. Raises StorageLost."""
        found = await self._store.statuses([self._local(claim) for claim in claims])
        return tuple(
            LimitStatus(claim, min(status.remaining, claim.limit), status.reset_s)
            for claim, status in zip(claims, found, strict=True)
        )

    # --- a share ------------------------------------------------------------------------------

    def _local(self, claim: Claim) -> Claim:
        """The claim on what this gateway may give by itself. Raises StorageLost where that is
        nothing."""
        limit = self._limit(claim)
        if limit < 1:
            raise _nothing_for(claim)
        return Claim(claim.scope, claim.unit, claim.window, limit, claim.take)

    def _limit(self, claim: Claim) -> int:
        answer = self._answers.of(claim)
        if answer == "open":
            return _BOUNDLESS
        if answer == "closed" or not self._gateways:
            return 0
        left = self._known(claim)
        if left is None:
            return claim.limit // self._gateways
        return min(claim.limit, left.remaining) // self._gateways - left.taken

    def _known(self, claim: Claim) -> Left | None:
        left = self._left.get(key_of(claim))
        return left if left is not None and left.until > self._clock.time() else None

    # --- what is told -------------------------------------------------------------------------

    def _shown(self, answer: Admitted, known: Mapping[Key, Claim]) -> tuple[LimitStatus, ...]:
        """Of rates that are counted: one that is open has nothing to tell."""
        claims = [(known[key_of(status.claim)], status) for status in answer.statuses]
        return tuple(
            LimitStatus(claim, status.remaining, status.reset_s)
            for claim, status in claims
            if self._answers.of(claim) == "share"
        )

    def _refused(self, refused: Refused, known: Mapping[Key, Claim]) -> Refused:
        status = refused.status
        claim = known[key_of(status.claim)]
        if claim.unit in _COUNTED:
            return Refused(
                LimitStatus(claim, status.remaining, status.reset_s), refused.retry_after_s
            )
        left = self._known(claim)
        if left is None or left.remaining - left.taken >= claim.take:
            raise _nothing_for(claim)
        wait = left.until - self._clock.time()
        return Refused(LimitStatus(claim, max(0, left.remaining - left.taken), wait), wait)


def _nothing_for(claim: Claim) -> StorageLost:
    """It names a scope, for whoever catches it: the log is told of the outage, not of each call."""
    return StorageLost(
        f"the shared store is lost, and {claim.scope} has no room for another call meanwhile "
        f"({claim.unit})"
    )
