"""The holds of this gateway's calls: what is counted here when the store that has them is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.clock import Clock
from gateway.storage.base import Claim
from gateway.storage.claims import with_take
from gateway.storage.counters import TOTALS
from gateway.storage.remote import Held
from gateway.types import MICRO, Unit


class HeldCall:
    """``known``: the store has it, or may have it. ``parts``: what was held more without the store,
    under names of their own."""

    __slots__ = ("admitted_at", "again", "claims", "ends", "known", "parts")

    def __init__(
        self, claims: Sequence[Claim], ends: float, admitted_at: float, known: bool
    ) -> None:
        self.claims = claims
        self.ends = ends
        """On the monotonic clock: nobody is asked about it any more then."""
        self.admitted_at = admitted_at
        self.known = known
        self.again = False
        """The store is to be told of it although it has it: it holds more, or for longer."""
        self.parts: tuple[tuple[str, Unit, int], ...] = ()

    def ttl_s(self, now: float) -> float:
        """Seconds that it has left, at least a moment."""
        return max(self.ends - now, 1.0)

    def on(self, unit: Unit, take: int) -> list[Claim]:
        """Its limits of the unit, of each of which so much is taken."""
        return [with_take(claim, take) for claim in self.claims if claim.unit == unit]

    def another(self, hold_id: str, unit: Unit, more: int) -> str:
        """The name of another part."""
        name = f"{hold_id}+{len(self.parts) + 1}"
        self.parts = (*self.parts, (name, unit, more))
        return name


class HeldCalls:
    """By the id of the hold."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: dict[str, HeldCall] = {}
        self._sweep_at = 0.0

    def add(self, hold_id: str, claims: Sequence[Claim], ttl_s: float, *, known: bool) -> None:
        """It holds from now on."""
        now = self._clock.monotonic()
        self._calls[hold_id] = HeldCall(claims, now + ttl_s, self._clock.time(), known)
        if now >= self._sweep_at:
            self._sweep_at = now + 60.0
            self._calls = {name: call for name, call in self._calls.items() if call.ends > now}

    def get(self, hold_id: str) -> HeldCall | None:
        return self._calls.get(hold_id)

    def pop(self, hold_id: str) -> HeldCall | None:
        """It holds no more."""
        return self._calls.pop(hold_id, None)

    def extend(self, hold_id: str, unit: Unit, more: int) -> None:
        """It holds more of a unit that is held in amounts."""
        call = self._calls.get(hold_id)
        if call is not None and unit in TOTALS:
            call.claims = tuple(
                with_take(claim, claim.take + more, claim.surplus) if claim.unit == unit else claim
                for claim in call.claims
            )

    def widen(self, hold_id: str, claims: Sequence[Claim], ttl_s: float) -> None:
        """It holds these, for so long from now at least."""
        call = self._calls.get(hold_id)
        if call is None:
            self.add(hold_id, claims, ttl_s, known=True)
        else:
            call.claims = claims
            call.ends = max(call.ends, self._clock.monotonic() + ttl_s)

    def tell_again(self, hold_id: str) -> None:
        """The store does not have it as it is."""
        call = self._calls.get(hold_id)
        if call is not None:
            call.again = True

    def alive(self) -> Iterator[tuple[str, HeldCall]]:
        """Those that hold something now."""
        return iter(tuple(self._calls.items()))

    def unknown(self, now: float) -> list[Held]:
        """What the store is to be told of; from now on it knows."""
        told: list[Held] = []
        for hold_id, call in self._calls.items():
            if not call.known or call.again:
                call.known, call.again = True, False
                ttl_us = round(call.ttl_s(now) * MICRO)
                told.append(Held(hold_id, tuple(call.claims), ttl_us))
        return told
