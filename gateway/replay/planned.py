"""A recording against a simulated fleet, whose size the planner decides at every look.

The line and the planner are those of the gateway: calls wait in one line and are bound when a
worker is free; the planner holds, starts, cancels and reserves.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.planning.baseline import BaselineRule
from gateway.planning.line import Line
from gateway.planning.overdue import Overdue
from gateway.planning.planner import Capacity, Planner, PlanRule, Seen
from gateway.planning.starts import StartSamples
from gateway.replay.fleet import NEVER, Fleet
from gateway.replay.outcome import Outcome, ReplayMeter
from gateway.replay.platforms import Platform
from gateway.replay.traffic import Traffic

_TELL_EVERY = 5000
"""Calls between two words on how far it has come."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What may be tuned of a planner; left out, its own default holds."""

    late_s: float | None = None
    target: float | None = None
    eager: float | None = None
    horizon: float | None = None
    give_up: float | None = None


DEFAULTS = Parameters()
"""Nothing is tuned."""


def rule_of(traffic: Traffic, platform: Platform, chosen: Parameters) -> PlanRule:
    """The planner's rule for such traffic: by minutes for a short recording, by hours else."""
    given = {name: value for name, value in msgspec.structs.asdict(chosen).items() if value}
    give_up = {"give_up": given.pop("give_up")} if "give_up" in given else {}
    times = {"window_s": 600.0, "every_s": 60.0, "commit_s": 300.0} if traffic.is_short else {}
    share = platform.reserved_per_s / platform.per_s
    return PlanRule(
        slo_s=traffic.slo_s,
        every_s=platform.look_every_s,
        baseline=BaselineRule(share=share, **times, **give_up),
        **given,
    )


def planned(
    traffic: Traffic,
    platform: Platform,
    chosen: Parameters = DEFAULTS,
    *,
    seed: int = 1,
    advanced: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Replays all of it; ``advanced`` is told now and then how many calls have come."""
    return _Replay(traffic, platform, rule_of(traffic, platform, chosen), seed).run(advanced)


class _Replay:
    def __init__(self, traffic: Traffic, platform: Platform, rule: PlanRule, seed: int) -> None:
        self._traffic, self._platform, self._rule = traffic, platform, rule
        start = traffic.arrivals[0].at
        self._planner = Planner(rule, StartSamples(platform.starts), start)
        self._line: Line[int] = Line(traffic.slo_s)
        self._overdue = Overdue(traffic.slo_s)
        self._fleet = Fleet(platform, seed)
        self._meter = ReplayMeter(traffic, platform)
        self._look_at = start

    def run(self, advanced: Callable[[int], object]) -> Outcome:
        arrivals, fleet, meter, overdue = (
            self._traffic.arrivals, self._fleet, self._meter, self._overdue,
        )  # fmt: skip
        number, total = 0, len(arrivals)
        while number < total or overdue.in_system:
            comes = arrivals[number].at if number < total else NEVER
            happens = fleet.next_event()
            now = min(comes, happens, self._look_at)
            meter.until(now, overdue.in_system, fleet.rented, fleet.paid)
            fresh = False
            if now == comes:
                overdue.arrive(number, now)
                self._line.add(number, now)
                number += 1
                if number % _TELL_EVERY == 0:
                    advanced(number)
            elif now == happens:
                ended = fleet.advance(now)
                fresh = ended is None
                if ended is not None:
                    overdue.end(ended)
            else:
                self._look(now, comes)
            self._bind(now, fresh)
        meter.until(self._traffic.judged_until, 0, fleet.rented, 0)
        return meter.outcome()

    def _bind(self, now: float, fresh: bool) -> None:
        line, fleet, arrivals = self._line, self._fleet, self._traffic.arrivals
        while line and fleet.has_free:
            call = line.take(now)
            one = arrivals[call]
            reserved = fleet.run(call, now, one.runs_s)
            in_time = self._meter.bound(one.at, now, cold=fresh, reserved=reserved)
            self._planner.feedback.observe(in_time)

    def _look(self, now: float, comes: float) -> None:
        every_s, fleet = self._rule.every_s, self._fleet
        self._look_at = now + every_s
        load = self._overdue.in_system
        quiet = not (load or fleet.starting or fleet.idle)
        until = min(comes, now + self._rule.baseline.every_s) if comes < NEVER else now
        if quiet and until - now > every_s:
            looks = int((until - now) / every_s)
            self._planner.rest(now, looks)
            self._look_at = now + looks * every_s
            fleet.reserve(now, self._planner.reserved)
            return
        seen = Seen(load, self._overdue.count(now), len(self._line), fleet.ready)
        self._apply(now, self._planner.look(now, seen))

    def _apply(self, now: float, plan: Capacity) -> None:
        fleet = self._fleet
        while fleet.starting < plan.starting:
            fleet.start(now)
            self._meter.start(now)
        fleet.cancel(max(plan.starting, plan.hold - fleet.ready))
        fleet.let_go(now, plan.hold, self._platform.idle_s)
        fleet.reserve(now, plan.reserved)
