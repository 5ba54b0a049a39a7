"""What a replay found: costs, delays and promises of the judged part, and their course. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import msgspec

from gateway.replay.platforms import Platform
from gateway.replay.surges import Surges
from gateway.replay.traffic import Traffic

POINTS = 240
"""Of a course over time."""
_EXACTLY = 1e-9
"""Seconds: an instant that was reckoned in two ways is the same instant."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How it went from the first call to the last, in steps of ``step_s``: means of each step,
    and sums."""

    start: float
    step_s: float
    judged_from: float
    load: tuple[float, ...]
    """Mean calls in the system."""
    reserved: tuple[float, ...]
    """Mean reserved workers."""
    overflow: tuple[float, ...]
    """Mean workers of the platform, starting ones among them."""
    cold: tuple[int, ...]
    """Calls that waited for a start."""
    late: tuple[int, ...]
    """Calls that came later than promised."""
    cost: tuple[float, ...]
    """US dollars."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Of the judged part."""

    calls: int
    late: int
    """Calls whose worker was not there within the promise."""
    cold: int
    """Calls that waited for a start."""
    surge_calls: int
    """Calls in minutes of at least twice the load of the time before."""
    surge_late: int
    reserved_usd: float
    serverless_usd: float
    reserved_gpus: float
    """Mean over the time."""
    serverless_gpus: float
    waits: tuple[float, float, float]
    """Seconds that half, 95 % and 99 % of the calls did not exceed."""
    starts: int
    """Workers of the platform that were started."""
    course: Course | None = None

    @property
    def usd(self) -> float:
        """All of it."""
        return self.reserved_usd + self.serverless_usd

    @property
    def cost_per_1000(self) -> float:
        """US dollars a thousand calls."""
        return 1000 * self.usd / self.calls

    @property
    def slo_attainment(self) -> float:
        """Share of the calls whose worker was there in time, 0 to 1."""
        return 1 - self.late / self.calls

    @property
    def surge_attainment(self) -> float | None:
        """The same of calls in surges; None where there were none."""
        return 1 - self.surge_late / self.surge_calls if self.surge_calls else None

    @property
    def cold_share(self) -> float:
        """Share of the calls that waited for a start, 0 to 1."""
        return self.cold / self.calls


class ReplayMeter:
    """Sums up, while a replay goes on."""

    def __init__(self, traffic: Traffic, platform: Platform) -> None:
        self._traffic, self._platform = traffic, platform
        self._surges = Surges(traffic)
        start = traffic.arrivals[0].at
        self._start = start
        self._step_s = max((traffic.judged_until - start) / POINTS, 1e-6)
        self._at = start
        self._bin = 0
        self._bin_ends = start + self._step_s
        self._sums = [[0.0] * POINTS for _ in range(3)]
        self._cold, self._late = [0] * POINTS, [0] * POINTS
        self._calls_there = [0] * POINTS
        self._reserved_s = self._serverless_s = 0.0
        self._waits: list[float] = []
        self._starts = self._fees = 0
        self._cold_calls = self._late_calls = self._surge_calls = self._surge_late = 0

    def until(self, now: float, load: int, reserved: int, serverless: int) -> None:
        """So many calls and workers were there since the last time; instants only grow."""
        while now > self._at:
            end = now if now < self._bin_ends else self._bin_ends
            self._add(end, load, reserved, serverless)
            if end == self._bin_ends and not self._next_bin():
                return

    def _add(self, end: float, load: int, reserved: int, serverless: int) -> None:
        begin, step = self._at, self._bin
        span = end - begin
        loads, reserved_s, serverless_s = self._sums
        loads[step] += load * span
        reserved_s[step] += reserved * span
        serverless_s[step] += serverless * span
        self._at = end
        judged = end - max(begin, self._traffic.judged_from)
        if judged > 0:
            self._reserved_s += reserved * judged
            self._serverless_s += serverless * judged

    def _next_bin(self) -> bool:
        if self._bin + 1 == POINTS:
            return False
        self._bin += 1
        self._bin_ends = self._start + (self._bin + 1) * self._step_s
        if self._bin + 1 == POINTS:
            self._bin_ends = self._traffic.judged_until
        return True

    def start(self, now: float) -> None:
        """A worker of the platform is started."""
        self._starts += now >= self._traffic.judged_from

    def bound(self, came: float, now: float, *, cold: bool, reserved: bool) -> bool:
        """A call has its worker. Returns whether that was in time."""
        waited = now - came
        in_time = waited <= self._traffic.slo_s + _EXACTLY
        self._cold[self._bin] += cold
        self._late[self._bin] += not in_time
        if came >= self._traffic.judged_from:
            self._waits.append(waited)
            self._cold_calls += cold
            self._late_calls += not in_time
            self._fees += not reserved
            if self._surges.at(came):
                self._surge_calls += 1
                self._surge_late += not in_time
        return in_time

    def outcome(self) -> Outcome:
        """Of all that was told."""
        platform, judged_s = self._platform, self._traffic.judged_s
        serverless = self._serverless_s * platform.per_s + self._fees * platform.per_call
        return Outcome(
            calls=len(self._waits),
            late=self._late_calls,
            cold=self._cold_calls,
            surge_calls=self._surge_calls,
            surge_late=self._surge_late,
            reserved_usd=self._reserved_s * platform.reserved_per_s,
            serverless_usd=serverless,
            reserved_gpus=self._reserved_s / judged_s,
            serverless_gpus=self._serverless_s / judged_s,
            waits=quantiles(sorted(self._waits)),
            starts=self._starts,
            course=self._course(),
        )

    def _course(self) -> Course:
        loads, reserved_s, serverless_s = self._sums
        per_s, reserved_per_s = self._platform.per_s, self._platform.reserved_per_s
        step_s = self._step_s
        return Course(
            start=self._start,
            step_s=step_s,
            judged_from=self._traffic.judged_from,
            load=tuple(each / step_s for each in loads),
            reserved=tuple(each / step_s for each in reserved_s),
            overflow=tuple(each / step_s for each in serverless_s),
            cold=tuple(self._cold),
            late=tuple(self._late),
            cost=tuple(
                ours * reserved_per_s + theirs * per_s
                for ours, theirs in zip(reserved_s, serverless_s, strict=True)
            ),
        )


def quantiles(ranked: Sequence[float]) -> tuple[float, float, float]:
    """The median, and what 95 % and 99 % do not exceed; of nothing, zeros."""
    if not ranked:
        return 0.0, 0.0, 0.0
    last = len(ranked) - 1
    half, most, nearly_all = (ranked[min(last, int(q * len(ranked)))] for q in (0.5, 0.95, 0.99))
    return half, most, nearly_all


def position(instants: Sequence[float], at: float) -> int:
    """How many of the ranked instants are not after ``at``."""
    return bisect.bisect_right(instants, at)
