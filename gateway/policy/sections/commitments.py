"""What is paid for whether or not anybody calls, as a policy says it: frozen values."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.policy.syntax.scalars import BackendName, Instant, NanoUsd

_HOUR_MINUTES = 60


class Commitment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Capacity that is paid for by the hour or the minute, calls or none: a machine of your own, a
    reserved instance, provisioned units. One of ``per_hour`` and ``per_minute`` is needed."""

    backend: BackendName
    """Whose calls use it."""
    per_hour: NanoUsd | None = None
    """Of one unit."""
    per_minute: NanoUsd | None = None
    """Of one unit, as reserved tiers and provisioned units are sold."""
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    """Units: machines, GPUs, instances."""
    start: Instant
    """From when on it is paid for."""
    end: Instant | None = None
    """Until when; left out: for as long as it stands in the policy."""
    idle: Literal["overhead", "by_use", "by_reservation"] = "overhead"
    """Who is charged for what no call used. overhead: the user system:idle; by_use: the hour's
    users, by what they used of it; by_reservation: the users in ``shares``."""
    shares: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = {}
    """For ``idle: by_reservation``: user -> share, in any unit."""
    source: str = ""
    """Where the price was looked up: the contract, the invoice."""

    def __post_init__(self) -> None:
        if (self.per_hour is None) == (self.per_minute is None):
            raise ValueError("needs one of per_hour and per_minute")
        if self.end is not None and self.end <= self.start:
            raise ValueError("end is not after start")
        if (self.idle == "by_reservation") != bool(self.shares):
            raise ValueError("shares and idle: by_reservation go together")

    @property
    def hourly_nano(self) -> int:
        """Nano-dollars of an hour, all units together."""
        each = self.per_hour if self.per_minute is None else self.per_minute * _HOUR_MINUTES
        return (each or 0) * self.count
