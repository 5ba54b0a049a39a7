"""What a lost store is told when it is back: once, whatever becomes of an answer."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence

from gateway.storage.base import Claim
from gateway.storage.counters import TOTALS
from gateway.storage.remote import CatchUp, Held, Settled
from gateway.types import MICRO, Unit

_MINUTE_US = 60 * MICRO


class Missed:
    """Collects. What was spent by calls that the store never held is one sum a counter and minute,
    since no window begins within one; ends of holds that it may have are told one by one."""

    def __init__(self) -> None:
        self._spent: defaultdict[tuple[str, Unit, str, int], int] = defaultdict(int)
        self._limits: dict[tuple[str, Unit, str, int], int] = {}
        self._settled: list[Settled] = []
        self._released: list[str] = []
        self._extended: list[tuple[str, Unit, int]] = []

    def spend(self, claims: Iterable[Claim], actual: dict[Unit, int], at: float) -> None:
        """A call that was admitted ``at`` (seconds since the epoch) without the store has ended."""
        minute = int(at * MICRO) // _MINUTE_US
        for claim in claims:
            amount = actual.get(claim.unit, 0)
            if amount and claim.unit in TOTALS:
                key = (claim.scope, claim.unit, claim.window, minute)
                self._spent[key] += amount
                self._limits[key] = claim.limit

    def settle(self, hold_id: str, claims: Sequence[Claim], actual: dict[Unit, int]) -> None:
        """A hold that the store has, or may have, has ended."""
        self._settled.append(Settled(hold_id, tuple(claims), actual))

    def release(self, hold_id: str) -> None:
        """The same, as if its call had not been."""
        self._released.append(hold_id)

    def extend(self, hold_id: str, unit: Unit, more: int) -> None:
        """A hold that the store has was to hold more."""
        self._extended.append((hold_id, unit, more))

    def told(self, held: Iterable[Held] = ()) -> CatchUp:
        """All of it; ``held``: holds that live on."""
        spent = tuple(
            (Claim(*key[:3], self._limits[key], amount), key[3] * _MINUTE_US)
            for key, amount in self._spent.items()
        )
        return CatchUp(
            id=f"missed:{secrets.token_hex(8)}",
            spent=spent,
            settled=tuple(self._settled),
            released=tuple(self._released),
            held=tuple(held),
            extended=tuple(self._extended),
        )
