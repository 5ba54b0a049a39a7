"""Instances that were started: what each is."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.policy.sections.commitments import Commitment
from gateway.policy.sections.reserve import LONGEST_HOOK_S
from gateway.storage.rented.base import StoredInstance

HOUR_S = 3600
FORGET_S = 401 * 86_400
"""Hours are looked at again for so long, and would be booked anew without what they cost."""


class Rented(msgspec.Struct, frozen=True, kw_only=True):
    """One instance. Instants are seconds since the epoch."""

    id: str
    reserve: str
    """Its name in the policy."""
    backend: str
    hourly_nano: int
    """Nano-dollars an hour, by the price that held when it was started."""
    began: int
    """From when on it is paid for."""
    state: Literal["starting", "up", "stopping", "ended"] = "starting"
    ended: int | None = None
    """Until when it is paid for; None: it is not known to be stopped."""
    stop: str
    """The hook that stops it."""
    timeout_s: float
    tries: int = 0
    """Of stopping it, in vain."""
    unsure: bool = False
    """Nobody knows what its start has come to."""

    @property
    def runs(self) -> bool:
        """It serves, or soon will."""
        return self.state in ("starting", "up")

    @property
    def sure_at(self) -> float:
        """From when on its start comes to nothing more: a stop that was asked for before may have
        been done before there was anything to stop."""
        return self.began + (self.timeout_s + LONGEST_HOOK_S if self.unsure else 0.0)

    @property
    def to_be_stopped(self) -> Rented:
        """The same; what was being started nobody is sure of any more."""
        unsure = self.unsure or self.state == "starting"
        return msgspec.structs.replace(self, state="stopping", unsure=unsure)

    def paid_until(self, now_at: float) -> int:
        """The end of the rented hour in which ``now_at`` lies."""
        hours = max(0, int(now_at) - self.began) // HOUR_S + 1
        return self.began + hours * HOUR_S

    @property
    def commitment(self) -> Commitment:
        """What is to be booked of it."""
        return Commitment(
            backend=self.backend, per_hour=self.hourly_nano, start=self.began, end=self.ended
        )

    @property
    def booked_as(self) -> str:
        """Its name among commitments."""
        return f"reserve_{self.reserve}_{self.id}"


_decode = msgspec.json.Decoder(Rented).decode


def stored(one: Rented) -> StoredInstance:
    """As it is put into the store."""
    return StoredInstance(one.id, one.reserve, msgspec.json.encode(one).decode())


def read_stored(one: StoredInstance) -> Rented:
    """What was put there."""
    return _decode(one.document)
