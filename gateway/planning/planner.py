"""How many workers a model should have: what to hold, what to start, what to reserve. Pure.

At every look the planner is told what is there, and says what should be. Its reasons are values
too: whoever asks why a worker runs, or none, can do the sum again.
"""

from __future__ import annotations

import msgspec

from gateway.planning.baseline import Baseline, BaselineRule
from gateway.planning.feedback import Feedback
from gateway.planning.growth import Growth
from gateway.planning.starts import StartSamples
from gateway.planning.worth import Worth, worth_of_worker


class PlanRule(msgspec.Struct, frozen=True, kw_only=True):
    """What is promised, what it costs, and how careful to be. Times are seconds."""

    slo_s: float
    """How long a call may wait for its worker."""
    late_s: float = 600.0
    """Seconds of a worker that one late call is worth, before there is any experience."""
    target: float = 0.992
    """Of calls that should come in time, 0 to 1."""
    eager: float = 10.0
    """So many times likelier than for holding one must the need for a new worker be: a start is
    paid for before it is of use, and the need may be gone by then."""
    every_s: float = 0.5
    """Between two looks."""
    horizon: float = 0.75
    """The quantile of starts that is looked ahead."""
    baseline: BaselineRule


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What is there at a look."""

    load: int
    """Calls in the system: at work and waiting."""
    overdue: int
    """Of these, those past their promise."""
    waiting: int
    """Of these, those that no worker has."""
    ready: int
    """Workers that are up, at work or idle, reserved ones among them."""
    coming: int = 0
    """Calls beside those of ``load`` that are known to begin before a start is over."""
    jobs: int = 0
    """Of the calls at work, jobs: their workers have the next jobs."""
    backlog: int = 0
    """More of them that must be at work at once, so that those that wait in the store end in time.
    """


class Capacity(msgspec.Struct, frozen=True, gc=False):
    """What there should be."""

    hold: int
    """Workers that should be kept, reserved ones among them: an idle one more than that is let go.
    A start is cancelled that would make more of them, unless it is among ``starting``."""
    starting: int
    """Workers that should be starting now."""
    reserved: int
    """Workers that are worth their price by the hour."""
    worth: Worth
    """By which it was decided."""


class Planner:
    """Of one model at one platform. Instants are seconds of any steady clock."""

    def __init__(self, rule: PlanRule, starts: StartSamples, now: float) -> None:
        self._rule = rule
        self._starts = starts
        self._horizon_s = starts.quantile(rule.horizon)
        self._in_time = starts.within(rule.slo_s) > 0
        """Whether a start that a call waits for may come in time for it."""
        self._growth = Growth(max(1, round(self._horizon_s / rule.every_s)))
        self._baseline = Baseline(rule.baseline, now)
        self.feedback = Feedback(rule.target)
        self._wanted = 0
        """Workers that are worth their price by the second."""
        self._worth_at = self.feedback.factor
        self._last_worth = worth_of_worker(starts, rule.slo_s, rule.late_s * self._worth_at)

    def learn_starts(self, starts: StartSamples) -> None:
        """Starts take other times than was thought. How far is looked ahead stays as it is, for
        what was learned was learned of that."""
        self._starts = starts
        self._in_time = starts.within(self._rule.slo_s) > 0
        self._worth_at = 0.0  # no factor is

    @property
    def reserved(self) -> int:
        """Workers that are worth their price by the hour, as of the last look."""
        return self._baseline.workers

    def look(self, now: float, seen: Seen) -> Capacity:
        """What there should be from now until the next look."""
        self._growth.look(seen.load, seen.overdue)
        return self._plan(now, seen)

    def rest(self, now: float, looks: int) -> None:
        """So many looks in a row, up to now, saw nobody and nothing: no call, and no worker but
        those that are reserved."""
        self._growth.rest(looks)
        hold, start = self._needed(0, self._worth())
        self._wanted = max(start, min(self._wanted, hold))
        self._baseline.look(now, self._wanted)

    def _worth(self) -> Worth:
        factor = self.feedback.factor
        if factor != self._worth_at:
            late_s = self._rule.late_s * factor
            self._worth_at = factor
            self._last_worth = worth_of_worker(self._starts, self._rule.slo_s, late_s)
        return self._last_worth

    def _needed(self, load: int, worth: Worth) -> tuple[int, int]:
        chance = self._horizon_s / worth.seconds
        hold = self._growth.hold.needed(load, min(1.0, chance))
        start = self._growth.start.needed(load, min(1.0, self._rule.eager * chance))
        return hold, start

    def _plan(self, now: float, seen: Seen) -> Capacity:
        worth = self._worth()
        hold, start = self._needed(seen.load, worth)
        # Work that is done before it is overdue shows in no growth, and is paid for all the same.
        # What would be held is wanted as long as it is there: nobody starts it for that.
        at_work = seen.load - seen.waiting
        self._wanted = max(start, at_work, min(self._wanted, hold))
        reserved = self._baseline.look(now, self._wanted)
        known = seen.coming + seen.backlog
        if known:
            # Nobody doubts that they come, so that it is not weighed whether they will.
            start = max(start, at_work + known)
            hold = max(hold, at_work + known)
        starting = max(0, start - seen.ready)
        short = min(seen.waiting, max(0, seen.load - seen.ready))
        if short and self._in_time:
            starting = max(starting, short * worth.starts)
        return Capacity(hold, starting, reserved, worth)
