"""What budgets have left, as the store said it last: the base of shares when it says no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gateway.clock import Clock
from gateway.storage.base import Claim, LimitStatus
from gateway.storage.claims import CallClaims, ClaimTemplate, with_take
from gateway.storage.counters import TOTALS
from gateway.storage.outage.shares import Key, Left, key_of
from gateway.storage.remote import RemoteStore
from gateway.types import MICRO
from gateway.windows import read_window

_AT_ONCE = 500
"""Counters that are asked for at once: a few milliseconds of the server's."""


class RecentlyLeft:
    """Of the budgets that calls have claimed since the last look, at each look; of the others as
    long as their windows last. What this gateway took since then is not left any more."""

    def __init__(self, remote: RemoteStore, clock: Clock) -> None:
        self._remote = remote
        self._clock = clock
        self._since: dict[ClaimTemplate, tuple[int, int]] = {}
        """Nano-dollars and microseconds of device that calls took since the last look."""
        self._others: dict[Key, Claim] = {}
        """The same of calls whose claims have no template."""
        self._left: dict[Key, Left] = {}

    def saw(self, claims: Sequence[Claim]) -> None:
        """A call has taken these."""
        if isinstance(claims, CallClaims) and not claims.rest:
            nano, gpu_us = self._since.get(claims.template, (0, 0))
            self._since[claims.template] = nano + claims.nano_usd, gpu_us + claims.gpu_us
        else:
            _add(self._others, claims)

    async def look(self) -> None:
        """Asks the store. Raises StorageUnavailable, and then what was taken is still that."""
        since, others = self._since, self._others
        self._since, self._others = {}, {}
        try:
            for asked in _parts(list(_taken(since, others).values())):
                for status in await self._remote.statuses(asked):
                    until = self._clock.time() + _lasts_s(status)
                    self._left[key_of(status.claim)] = Left(status.remaining, until)
        except BaseException:
            _add(others, list(_taken(since, {}).values()))
            _add(others, list(self._others.values()))
            self._others = others
            raise

    def left(self) -> Mapping[Key, Left]:
        """What is known of windows that go on; of a budget that was never looked at, what this
        gateway took of it."""
        now = self._clock.time()
        self._left = {key: left for key, left in self._left.items() if left.until > now}
        taken = _taken(self._since, self._others)
        unseen = {
            key: Left(claim.limit, now + read_window(claim.window).length_us / MICRO)
            for key, claim in taken.items()
            if key not in self._left
        }
        return {
            key: left._replace(taken=taken[key].take) if key in taken else left
            for key, left in (self._left | unseen).items()
        }


def _lasts_s(status: LimitStatus) -> float:
    """For how long what is left says something: of a rolling window, while any of what was used by
    then may still count."""
    window = read_window(status.claim.window)
    return window.length_us / MICRO if window.rolling else status.reset_s


def _taken(
    since: Mapping[ClaimTemplate, tuple[int, int]], others: Mapping[Key, Claim]
) -> dict[Key, Claim]:
    """By counter."""
    taken = dict(others)
    for template, amounts in since.items():
        _add(taken, CallClaims(template, *amounts).each)
    return taken


def _add(taken: dict[Key, Claim], claims: Sequence[Claim]) -> None:
    for claim in claims:
        if claim.unit in TOTALS:
            key = key_of(claim)
            before = taken.get(key)
            more = 0 if before is None else before.take
            taken[key] = with_take(claim, claim.take + more)


def _parts(claims: list[Claim]) -> Iterator[list[Claim]]:
    return (claims[start : start + _AT_ONCE] for start in range(0, len(claims), _AT_ONCE))
