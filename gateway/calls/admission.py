"""What a call holds in the shared store, of the limits that it was admitted by. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.storage.base import Admitted, Claim
from gateway.types import Unit


class Admission(msgspec.Struct, frozen=True):
    """What a call holds in the shared store. That of a caller whom nothing limits is empty."""

    admitted: Admitted | None = None
    """What the store answered."""
    claims: Sequence[Claim] = ()
    hold_nano: int = 0
    """Nano-dollars."""

    def holds(self, unit: Unit) -> bool:
        """Whether something of ``unit`` is limited, and so held."""
        return any(claim.unit == unit for claim in self.claims)

    def with_more(self, unit: Unit, amount: int) -> Admission:
        """The same with ``amount`` more of ``unit``."""
        claims = tuple(
            msgspec.structs.replace(claim, take=claim.take + amount)
            if claim.unit == unit
            else claim
            for claim in self.claims
        )
        nano = self.hold_nano + (amount if unit == "nano_usd" else 0)
        return msgspec.structs.replace(self, claims=claims, hold_nano=nano)

    def widened(self, claims: Iterable[Claim], takes: Mapping[Unit, int]) -> Admission:
        """The same in limits that came after it as well, and against those that were changed:
        ``claims`` are all that are in force. Of a unit that nothing limited ``takes`` is held."""
        limits = {_counter(claim): claim for claim in claims}
        known = tuple(
            msgspec.structs.replace(claim, limit=limits.pop(_counter(claim), claim).limit)
            for claim in self.claims
        )
        held = {**takes, **{claim.unit: claim.take for claim in known}}
        new = tuple(
            msgspec.structs.replace(claim, take=held.get(claim.unit, claim.take))
            for claim in limits.values()
        )
        nano = max((one.take for one in (*known, *new) if one.unit == "nano_usd"), default=0)
        return msgspec.structs.replace(
            self, claims=(*known, *new), hold_nano=max(self.hold_nano, nano)
        )


UNLIMITED = Admission()


def _counter(claim: Claim) -> tuple[str, Unit, str]:
    return claim.scope, claim.unit, claim.window
