"""What one would do without a planner: a fleet of one's own, the platform alone, a rule of thumb.

* reserved: the fewest workers that keep the promise in the first part of a recording.
* serverless: a call takes the idle worker that was at work last, else it waits for one that is
  started for it alone; workers wait for calls as long as the platform does by itself.
* rule of thumb: serverless on a day after one of fewer than 1,000 calls, reserved on any other.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable

import msgspec

from gateway.replay.fleet import NEVER, Fleet
from gateway.replay.outcome import Outcome, ReplayMeter
from gateway.replay.platforms import Platform
from gateway.replay.traffic import DAY_S, Traffic

TARGET = 0.99
"""Share of the calls that must come in time."""
_FEW_CALLS = 1000
"""A day."""
_HOUR_S = 3600.0
_MOST = 4096


def reserved(traffic: Traffic, platform: Platform, workers: int) -> Outcome:
    """A fleet of so many workers, first come first served."""
    return _Replay(traffic, platform, 0, lambda _: workers).run()


def serverless(traffic: Traffic, platform: Platform, seed: int = 1) -> Outcome:
    """The platform alone."""
    return _Replay(traffic, platform, seed, lambda _: 0).run()


def rule_of_thumb(traffic: Traffic, platform: Platform, workers: int, seed: int = 1) -> Outcome:
    """Day by day one or the other; ``workers`` where it is a fleet."""
    calls = Counter(int(one.at // DAY_S) for one in traffic.arrivals)
    span_s = traffic.arrivals[-1].at - traffic.arrivals[0].at
    a_day = len(traffic.arrivals) / max(span_s, _HOUR_S) * DAY_S

    def on(day: int) -> int:
        known = calls[day - 1] if span_s > 2 * DAY_S and day - 1 in calls else a_day
        return 0 if known < _FEW_CALLS else workers

    return _Replay(traffic, platform, seed, on).run()


def fewest_workers(traffic: Traffic, target: float = TARGET) -> int:
    """The fewest that serve the share ``target`` of all its calls in time."""
    low, high = 0, 1
    while high < _MOST and _in_time(traffic, high) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _in_time(traffic, middle) < target:
            low = middle
        else:
            high = middle
    return high


def _in_time(traffic: Traffic, workers: int) -> float:
    free = [-NEVER] * workers
    late = 0
    for one in traffic.arrivals:
        begins = max(free[0], one.at)
        late += begins - one.at > traffic.slo_s
        heapq.heapreplace(free, begins + one.runs_s)
    return 1 - late / len(traffic.arrivals)


class _Replay:
    """By the day a fleet, for whose workers calls wait in the order of their arrival, or the
    platform, where a call that finds no idle worker has one started."""

    def __init__(
        self,
        traffic: Traffic,
        platform: Platform,
        seed: int,
        on: Callable[[int], int],
    ) -> None:
        # What a day pays for is there when it begins: such a fleet is rented long before.
        there = msgspec.structs.replace(platform, reserved_start_s=0.0)
        self._traffic, self._platform, self._on = traffic, there, on
        self._fleet = Fleet(there, seed)
        self._meter = ReplayMeter(traffic, there)
        self._day: int | None = None
        self._waiting: list[int] = []
        self._first = 0
        self._in_system = 0

    def run(self) -> Outcome:
        arrivals, fleet, meter = self._traffic.arrivals, self._fleet, self._meter
        number, total = 0, len(arrivals)
        while number < total or self._in_system or fleet.idle:
            comes = arrivals[number].at if number < total else NEVER
            now = min(comes, fleet.next_event(), self._idle_until())
            meter.until(now, self._in_system, fleet.rented, fleet.paid)
            if now == comes:
                self._arrive(number, now)
                number += 1
            elif now == fleet.next_event():
                self._in_system -= fleet.advance(now) is not None
            else:
                fleet.let_go(now, 0, self._platform.default_idle_s - 1e-9)
            self._bind(now)
        meter.until(self._traffic.judged_until, 0, fleet.rented, 0)
        return meter.outcome()

    def _idle_until(self) -> float:
        since = self._fleet.idle_since
        return NEVER if since is None else since + self._platform.default_idle_s

    def _arrive(self, number: int, now: float) -> None:
        day = int(now // DAY_S)
        if day != self._day:
            self._day = day
            self._fleet.reserve(now, self._on(day))
        self._in_system += 1
        if self._fleet.has_free or self._on(day):
            self._waiting.append(number)
            return
        self._meter.start(now)
        begins = self._fleet.run_on_new(number, now, self._traffic.arrivals[number].runs_s)
        self._meter.bound(now, begins, cold=True, reserved=False)

    def _bind(self, now: float) -> None:
        waiting, arrivals = self._waiting, self._traffic.arrivals
        while self._first < len(waiting) and self._fleet.has_free:
            call = waiting[self._first]
            self._first += 1
            one = arrivals[call]
            at_home = self._fleet.run(call, now, one.runs_s)
            self._meter.bound(one.at, now, cold=False, reserved=at_home)
