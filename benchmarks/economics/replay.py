"""A trace against a simulated fleet, whose size the planner decides at every look.

The line, the planner and its rooms are those of the gateway; reserved workers come at once, those
of a platform after a start, and are paid for from its beginning until they are let go.
"""

from __future__ import annotations

import heapq
import random
from collections import deque

import msgspec

from benchmarks.economics.platforms import RESERVED_PER_S, Platform
from benchmarks.economics.traces import Trace
from gateway.planning.baseline import BaselineRule
from gateway.planning.line import Line
from gateway.planning.overdue import Overdue
from gateway.planning.planner import Capacity, Planner, PlanRule, Seen
from gateway.planning.starts import StartSamples

_NEVER = float("inf")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Of the part of a trace that is judged. US dollars a thousand calls."""

    calls: int
    in_time: float
    """Share of the calls whose worker was there within the promise, 0 to 1."""
    reserved: float
    serverless: float
    mean_workers: float

    @property
    def cost(self) -> float:
        """A thousand calls."""
        return self.reserved + self.serverless


def replay(trace: Trace, platform: Platform, *, late_s: float = 600.0, seed: int = 1) -> Outcome:
    """Runs all of the trace."""
    return _Replay(trace, platform, late_s, seed).run()


class _Bill:
    """Seconds of workers, of the judged time alone."""

    def __init__(self, start: float, end: float) -> None:
        self._start, self._end = start, end
        self._at = start
        self.reserved_s = 0.0
        self.serverless_s = 0.0

    def until(self, now: float, reserved: int, serverless: int) -> None:
        now = min(now, self._end)
        if now > self._at:
            self.reserved_s += reserved * (now - self._at)
            self.serverless_s += serverless * (now - self._at)
            self._at = now


class _Replay:
    def __init__(self, trace: Trace, platform: Platform, late_s: float, seed: int) -> None:
        self._trace, self._platform = trace, platform
        self._draw = random.Random(seed)
        self._line: Line[int] = Line(trace.slo_s)
        self._overdue = Overdue(trace.slo_s)
        start = trace.arrivals[0].at
        baseline = BaselineRule(
            share=RESERVED_PER_S / platform.per_s,
            window_s=trace.window_s,
            every_s=trace.step_s,
            commit_s=trace.commit_s,
        )
        self._rule = PlanRule(slo_s=trace.slo_s, late_s=late_s, baseline=baseline)
        self._planner = Planner(self._rule, StartSamples(platform.starts()), start)
        self._bill = _Bill(trace.judged_from, trace.judged_until)
        self._look_at = start
        self._ends: list[tuple[float, int, bool]] = []
        """(instant, call, on a reserved worker)."""
        self._starting: list[float] = []
        """Instants at which workers will be up."""
        self._idle: deque[float] = deque()
        """Since when each worker of the platform is idle; the longest first."""
        self._reserved = 0
        self._at_home = 0
        self._away = 0
        self._calls = 0
        self._in_time = 0

    def run(self) -> Outcome:
        arrivals = self._trace.arrivals
        number, total = 0, len(arrivals)
        while number < total or self._overdue.in_system:
            comes = arrivals[number].at if number < total else _NEVER
            now = min(comes, self._next())
            self._bill.until(
                now, self._reserved, self._away + len(self._idle) + len(self._starting)
            )
            if now == comes:
                self._overdue.arrive(number, now)
                self._line.add(number, now)
                number += 1
            elif self._ends and now == self._ends[0][0]:
                self._end(now)
            elif self._starting and now == self._starting[0]:
                heapq.heappop(self._starting)
                self._idle.append(now)
            else:
                self._look(now, comes)
            self._bind(now)
        return self._outcome()

    def _next(self) -> float:
        ends = self._ends[0][0] if self._ends else _NEVER
        starts = self._starting[0] if self._starting else _NEVER
        return min(ends, starts, self._look_at)

    def _end(self, now: float) -> None:
        _, call, at_home = heapq.heappop(self._ends)
        self._overdue.end(call)
        if at_home:
            self._at_home -= 1
        else:
            self._away -= 1
            self._idle.append(now)

    def _bind(self, now: float) -> None:
        arrivals, line = self._trace.arrivals, self._line
        while line and (self._at_home < self._reserved or self._idle):
            call = line.take(now)
            at_home = self._at_home < self._reserved
            if at_home:
                self._at_home += 1
            else:
                self._idle.pop()
                self._away += 1
            came, runs_s = arrivals[call].at, arrivals[call].runs_s
            heapq.heappush(self._ends, (now + runs_s, call, at_home))
            in_time = now - came <= self._trace.slo_s + 1e-9
            self._planner.feedback.observe(in_time)
            if came >= self._trace.judged_from:
                self._calls += 1
                self._in_time += in_time

    def _look(self, now: float, comes: float) -> None:
        every_s = self._rule.every_s
        self._look_at = now + every_s
        ready = self._reserved + self._away + len(self._idle)
        load = self._overdue.in_system
        quiet = not (load or self._starting or self._idle)
        until = min(comes, now + self._trace.step_s) if comes < _NEVER else now
        if quiet and until - now > every_s:
            looks = int((until - now) / every_s)
            self._planner.rest(now, looks)
            self._look_at = now + looks * every_s
            self._reserve(self._planner.reserved)
            return
        seen = Seen(load, self._overdue.count(now), len(self._line), ready)
        plan = self._planner.look(now, seen)
        self._start(now, plan, ready)
        self._let_go(now, plan, ready)
        self._reserve(plan.reserved)

    def _start(self, now: float, plan: Capacity, ready: int) -> None:
        span = self._platform.slowest_s - self._platform.fastest_s
        while len(self._starting) < plan.starting:
            takes_s = self._platform.fastest_s + self._draw.random() * span
            heapq.heappush(self._starting, now + takes_s)
        most = max(plan.starting, plan.hold - ready)
        if len(self._starting) > most:
            # Nobody knows which would be up first: any of them is as good to cancel.
            del self._starting[most:]
            heapq.heapify(self._starting)

    def _let_go(self, now: float, plan: Capacity, ready: int) -> None:
        idle = self._idle
        while ready > plan.hold and idle and now - idle[0] >= self._platform.idle_s:
            idle.popleft()
            ready -= 1

    def _reserve(self, workers: int) -> None:
        """More at once; fewer as their calls end."""
        self._reserved = max(workers, self._at_home)

    def _outcome(self) -> Outcome:
        trace, thousand = self._trace, self._calls / 1000
        judged_s = trace.judged_until - trace.judged_from
        return Outcome(
            calls=self._calls,
            in_time=self._in_time / self._calls,
            reserved=self._bill.reserved_s * RESERVED_PER_S / thousand,
            serverless=self._bill.serverless_s * self._platform.per_s / thousand,
            mean_workers=(self._bill.reserved_s + self._bill.serverless_s) / judged_s,
        )
