"""The counter of a rolling window. Pure: time is passed in, in integer microseconds."""

from __future__ import annotations

from gateway.storage.base import Claim, LimitStatus
from gateway.types import MICRO
from gateway.windows import oldest_step, read_window

_FOREVER = 1 << 62
_GRACE_US = 60 * MICRO


class Rolling:
    """What is held now, and what was spent in each step of the window."""

    __slots__ = ("_first", "ends", "held", "spent", "steps", "surplus", "window")

    def __init__(self, claim: Claim, now: int) -> None:
        self.window = read_window(claim.window)
        self.ends = _FOREVER
        self.held = 0
        self.surplus = 0
        self.spent = 0
        """In all steps that counted when it was looked at last."""
        self.steps: dict[int, int] = {}
        self._first = _FOREVER

    def step_at(self, now: int) -> int:
        """The number of the step that holds ``now``."""
        return now // self.window.step_us

    def has_room(self, amount: int, limit: int, now: int) -> bool:
        """Whether so much more fits."""
        self._look(now)
        return self.spent + self.held + amount <= limit

    def spend(self, amount: int, step: int) -> None:
        """So much was spent by a call that was admitted in that step."""
        if amount:
            self.steps[step] = self.steps.get(step, 0) + amount
            self.spent += amount
            self._first = min(self._first, step)

    def spent_at(self, now: int) -> int:
        """What was spent in the window until ``now``."""
        self._look(now)
        return self.spent

    def told_until(self, now: int) -> int:
        """It ends at no instant: whoever tells of it once a window takes the next multiple of its
        length."""
        return (now // self.window.length_us + 1) * self.window.length_us

    def learn(self, amount: int, step: int) -> None:
        """So much at least was spent in that step."""
        self.spend(max(0, amount - self.steps.get(step, 0)), step)

    def fits(self, claim: Claim, now: int) -> bool:
        return self.has_room(claim.take, claim.limit, now)

    def insist(self, claim: Claim) -> None:
        self.held += claim.take

    def status(self, claim: Claim, now: int) -> LimitStatus:
        self._look(now)
        remaining = max(0, claim.limit - self.spent - self.held)
        reset_us = self._over_in(max(self.steps), now) if self.steps else 0
        return LimitStatus(claim, remaining, reset_us / MICRO, self.held, self.surplus)

    def retry_after_us(self, claim: Claim, now: int) -> int:
        self._look(now)
        lacks, wait = self.spent + self.held + claim.take - claim.limit, MICRO
        for step in sorted(self.steps):
            wait = self._over_in(step, now)
            lacks -= self.steps[step]
            if lacks <= 0:
                break
        return wait

    def idle_at(self, now: int) -> int:
        self._look(now)
        counts = now + self._over_in(max(self.steps), now) if self.steps else now
        return max(counts, now + _GRACE_US) if self.held else counts

    def _over_in(self, step: int, now: int) -> int:
        """Until a step does not count any more."""
        return (step + 1) * self.window.step_us + self.window.length_us - now

    def _look(self, now: int) -> None:
        oldest = oldest_step(self.window, now)
        if self._first >= oldest:
            return
        for step in [step for step in self.steps if step < oldest]:
            self.spent -= self.steps.pop(step)
        self._first = min(self.steps, default=_FOREVER)
