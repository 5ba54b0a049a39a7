"""Whether the limits of a caller have room for a call that is not made. Pure."""

from __future__ import annotations

import msgspec

from gateway.money.limit_refusals import refusal
from gateway.storage.base import LimitStatus, Refused
from gateway.types import MICRO, ApiError, Unit
from gateway.windows import RATE_US


class Room(msgspec.Struct, frozen=True):
    """What the limits have left at an instant; of a caller whom nothing limits it is empty."""

    statuses: tuple[LimitStatus, ...] = ()

    def short_of_money(self, hold_nano: int) -> Refused | None:
        """The first limit that has no room for a call of which so many nano-dollars are held."""
        return next(iter(self._short("nano_usd", hold_nano)), None)

    def refusals(self, hold_gpu_us: int) -> list[ApiError]:
        """What else it would be told, each limit for itself: of rates, of calls in progress and of
        so many microseconds of device."""
        wanted: tuple[tuple[Unit, int], ...] = (
            ("requests", 1), ("concurrent", 1), ("gpu_us", hold_gpu_us),
        )  # fmt: skip
        return [refusal(one) for unit, take in wanted for one in self._short(unit, take)]

    def _short(self, unit: Unit, take: int) -> list[Refused]:
        short = [s for s in self.statuses if s.claim.unit == unit and s.remaining < take]
        return [Refused(_wanting(status, take), _again_in(status)) for status in short]


def _wanting(status: LimitStatus, take: int) -> LimitStatus:
    claim = msgspec.structs.replace(status.claim, take=take)
    return msgspec.structs.replace(status, claim=claim)


def _again_in(status: LimitStatus) -> float:
    """Seconds until there is room for another call, at most."""
    claim = status.claim
    if claim.unit == "requests":
        return RATE_US[claim.window] / MICRO / max(claim.limit, 1)
    return 1.0 if claim.unit == "concurrent" else status.reset_s
