"""The counters of limits, each for one (scope, unit, window). Pure: time is passed in.

All times are integer microseconds since the epoch. What takes from a call's counters, and gives
back, is ``CounterSet``: it has all of them at hand.
"""

from __future__ import annotations

from typing import Protocol

from gateway.storage.base import Claim, LimitStatus
from gateway.storage.rolling import Rolling
from gateway.types import MICRO, Unit
from gateway.windows import RATE_US, bounds, read_window

_FOREVER = 1 << 62
_GRACE_US = 60 * MICRO


class Counter(Protocol):
    """One counter of one scope. Instants are integer microseconds of the store's clock."""

    ends: int
    """When the counter's window is over and a new counter takes its place; 0: one has."""

    def fits(self, claim: Claim, now: int) -> bool:
        """Whether there is room for the claim."""
        ...

    def insist(self, claim: Claim) -> None:
        """Takes a claim whether or not it fits: its call has begun."""
        ...

    def status(self, claim: Claim, now: int) -> LimitStatus:
        """How much is left, and when all of it is back."""
        ...

    def retry_after_us(self, claim: Claim, now: int) -> int:
        """Microseconds until the claim could fit."""
        ...

    def idle_at(self, now: int) -> int:
        """When it may be forgotten, as far as is known now; ``now`` or earlier: at once."""
        ...


class Rate:
    """GCRA with a burst of the whole amount: calls fit while their debt is within one window.

    The state is one instant, that at which nothing is owed any more: ``us`` microseconds and
    ``part / limit`` of one, so that 7 a minute are exactly 7. Source: ITU-T I.371 (virtual
    scheduling algorithm).
    """

    __slots__ = ("ends", "length", "part", "us")

    def __init__(self, claim: Claim, now: int) -> None:
        self.ends = _FOREVER
        self.length = RATE_US[claim.window]
        self.us = now
        self.part = 0

    def _owed(self, limit: int, now: int) -> tuple[int, int]:
        us = self.us
        if us < now or us > now + self.length:
            return now, 0  # nobody can owe more than a window: then the clock was set back
        if self.part >= limit:  # a smaller limit has come since
            return us + 1, 0
        return us, self.part

    def after(self, claim: Claim, now: int) -> tuple[int, int]:
        """Where it would stand with the claim."""
        limit = claim.limit
        us, part = (now, 0) if self.us < now else self._owed(limit, now)
        debt = claim.take * self.length + part
        return us + debt // limit, debt % limit

    def fits(self, claim: Claim, now: int) -> bool:
        us, part = self.after(claim, now)
        room = now + self.length - us
        return room > 0 or (room == 0 and not part)

    def insist(self, claim: Claim) -> None:
        pass

    def release(self, claim: Claim, taken_until: int, now: int) -> None:
        """The claim's call has not been; ``taken_until`` is where the counter stood after it."""
        if taken_until <= now:
            return  # nothing has been owed since: time has given the token back already
        us, part = self._owed(claim.limit, now)
        debt = part - claim.take * self.length
        self.us, self.part = us + debt // claim.limit, debt % claim.limit

    def status(self, claim: Claim, now: int) -> LimitStatus:
        us, part = self.us, self.part
        slack = now + self.length - us
        if us < now or slack < 0 or part >= claim.limit:
            us, part = self._owed(claim.limit, now)
            slack = now + self.length - us
        remaining = (slack * claim.limit - part) // self.length
        return LimitStatus(claim, remaining, (us - now + (part > 0)) / MICRO)

    def retry_after_us(self, claim: Claim, now: int) -> int:
        us, part = self.after(claim, now)
        return us + (part > 0) - now - self.length

    def idle_at(self, now: int) -> int:
        return self.us if self.us <= now else self.us + _GRACE_US


class Total:
    """What was spent and is held in one window of the calendar."""

    __slots__ = ("ends", "held", "spent", "surplus")

    def __init__(self, claim: Claim, now: int) -> None:
        self.ends = bounds(claim.window, now)[1]
        self.spent = 0
        self.held = 0
        self.surplus = 0

    def step_at(self, now: int) -> int:
        """It has one step, the window."""
        return 0

    def has_room(self, amount: int, limit: int, now: int) -> bool:
        """Whether so much more fits."""
        return self.spent + self.held + amount <= limit

    def spend(self, amount: int, step: int) -> None:
        """So much was spent by a call that was admitted in the window."""
        self.spent += amount

    def spent_at(self, now: int) -> int:
        """What was spent in the window."""
        return self.spent

    def told_until(self, now: int) -> int:
        """When the window ends."""
        return self.ends

    def learn(self, amount: int, step: int) -> None:
        """So much at least was spent in the window."""
        self.spent = max(self.spent, amount)

    def fits(self, claim: Claim, now: int) -> bool:
        return self.spent + self.held + claim.take <= claim.limit

    def insist(self, claim: Claim) -> None:
        self.held += claim.take

    def status(self, claim: Claim, now: int) -> LimitStatus:
        left, reset_s = max(0, claim.limit - self.spent - self.held), (self.ends - now) / MICRO
        return LimitStatus(claim, left, reset_s, self.held, self.surplus)

    def retry_after_us(self, claim: Claim, now: int) -> int:
        return self.ends - now

    def idle_at(self, now: int) -> int:
        return self.ends


class Gauge:
    """How many holds are alive."""

    __slots__ = ("alive", "ends")

    def __init__(self, claim: Claim, now: int) -> None:
        self.ends = _FOREVER
        self.alive = 0

    def fits(self, claim: Claim, now: int) -> bool:
        return self.alive + claim.take <= claim.limit

    def insist(self, claim: Claim) -> None:
        self.alive += claim.take

    def status(self, claim: Claim, now: int) -> LimitStatus:
        return LimitStatus(claim, max(0, claim.limit - self.alive), 0.0)

    def retry_after_us(self, claim: Claim, now: int) -> int:
        return MICRO

    def idle_at(self, now: int) -> int:
        return now + _GRACE_US if self.alive else now


TOTALS: frozenset[Unit] = frozenset(
    ("calls", "gpu_us", "tokens", "input_tokens", "output_tokens", "nano_usd")
)
"""The units that are held and spent."""
PAID: frozenset[Unit] = frozenset(("nano_usd", "gpu_us"))
"""Money and device time: what every call is held for."""


def counter_of(claim: Claim, now: int) -> Counter:
    """A new counter for the claim's unit and window. Raises ValueError for what is no window."""
    if claim.unit == "requests":
        return Rate(claim, now)
    if claim.unit == "concurrent":
        return Gauge(claim, now)
    rolls = claim.window not in RATE_US and read_window(claim.window).rolling
    return Rolling(claim, now) if rolls else Total(claim, now)
