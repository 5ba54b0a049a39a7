"""What a plan that knows every call beforehand costs, and what none can cost less than. Pure.

The plan chooses the reserved workers anew each period. A call goes to a reserved worker that is
free within its promise, first come first served; any other call finds a worker of the platform that
was started in time for it, and which is kept between two calls where that is cheaper than a new
start. Every promise is kept. It is a plan that could be carried out, so the best costs no more.

The bound lets the work of an hour flow through its reserved workers as if calls could be cut and
run on several at once; what does not get through by its deadline is paid for at the platform, whose
starts and idle workers are free. What an hour's end leaves is done for nothing. No plan costs less.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

import msgspec

from gateway.replay.platforms import Platform
from gateway.replay.traffic import Arrival, Traffic

_PATIENCE = 8
"""So many workers more without a better period, and the search ends."""
_MOST = 1024


class Clairvoyant(msgspec.Struct, frozen=True):
    """US dollars of the judged part."""

    plan: float
    """Of the plan."""
    bound: float
    """That no plan undercuts."""
    reserved: tuple[int, ...]
    """Workers that the plan reserves, by period."""


def clairvoyant(
    traffic: Traffic, platform: Platform, advanced: Callable[[int], object] = lambda _: None
) -> Clairvoyant:
    """``advanced`` is told of the workers that were tried."""
    arrivals = traffic.judged
    lengths = _lengths(traffic)
    workers = _best_workers(traffic, platform, arrivals, lengths, advanced)
    overflow_s, calls = _overflow(traffic, platform, arrivals, workers)
    reserved_s = sum(count * length for count, length in zip(workers, lengths, strict=True))
    plan = platform.reserved_per_s * reserved_s + platform.per_s * sum(overflow_s)
    plan += platform.per_call * sum(calls)
    return Clairvoyant(plan, _bound(traffic, platform, arrivals, lengths), tuple(workers))


def _lengths(traffic: Traffic) -> list[float]:
    """Seconds of each period; the last may be shorter."""
    whole, rest = divmod(traffic.judged_s, traffic.period_s)
    return [traffic.period_s] * int(whole) + ([rest] if rest else [])


def _best_workers(
    traffic: Traffic,
    platform: Platform,
    arrivals: Sequence[Arrival],
    lengths: Sequence[float],
    advanced: Callable[[int], object],
) -> list[int]:
    """Of each period, the number that would cost least if it held all the time."""
    best = [float("inf")] * len(lengths)
    workers = [0] * len(lengths)
    improved = 0
    for count in range(_MOST):
        seconds, calls = _overflow(traffic, platform, arrivals, [count] * len(lengths))
        for period, length in enumerate(lengths):
            cost = count * platform.reserved_per_s * length + platform.per_s * seconds[period]
            cost += platform.per_call * calls[period]
            if cost < best[period]:
                best[period], workers[period], improved = cost, count, count
        advanced(count)
        if count - improved >= _PATIENCE:
            break
    return workers


def _overflow(
    traffic: Traffic, platform: Platform, arrivals: Sequence[Arrival], workers: Sequence[int]
) -> tuple[list[float], list[int]]:
    """(Seconds of the platform's workers, calls there), by the period in which calls came."""
    start, period_s, slo_s = traffic.judged_from, traffic.period_s, traffic.slo_s
    cold_s = platform.mean_start_s
    seconds, calls = [0.0] * len(workers), [0] * len(workers)
    free: list[float] = []
    busy: list[float] = []
    idle: list[float] = []
    last, period = len(workers) - 1, -1
    for one in arrivals:
        now = one.at
        while period < last and now >= start + (period + 1) * period_s:
            period += 1
            _rent(free, workers[period], start + period * period_s)
        if free and free[0] - now <= slo_s:
            heapq.heapreplace(free, max(free[0], now) + one.runs_s)
            continue
        while busy and busy[0] <= now:
            idle.append(heapq.heappop(busy))
        gap_s = now - idle.pop() if idle else cold_s
        seconds[period] += min(gap_s, cold_s) + one.runs_s
        calls[period] += 1
        heapq.heappush(busy, now + one.runs_s)
    return seconds, calls


def _rent(free: list[float], workers: int, now: float) -> None:
    """So many from now on; those that are free, or will be soonest, go first."""
    while len(free) > workers:
        heapq.heappop(free)
    while len(free) < workers:
        heapq.heappush(free, now)


def _bound(
    traffic: Traffic, platform: Platform, arrivals: Sequence[Arrival], lengths: Sequence[float]
) -> float:
    periods: list[list[Arrival]] = [[] for _ in lengths]
    for one in arrivals:
        at = int((one.at - traffic.judged_from) // traffic.period_s)
        periods[min(at, len(lengths) - 1)].append(one)
    ends = traffic.judged_from
    total = 0.0
    for calls, length in zip(periods, lengths, strict=True):
        ends += length
        total += _bound_of_period(calls, ends, length, traffic.slo_s, platform)
    return total


def _bound_of_period(
    calls: Sequence[Arrival], ends: float, length: float, slo_s: float, platform: Platform
) -> float:
    """The least over the number of workers. What they leave undone is convex in their number, so
    the search ends where one more does not pay."""
    rent = platform.reserved_per_s * length
    best = platform.per_s * sum(one.runs_s for one in calls)
    for workers in range(1, _MOST):
        cost = workers * rent + platform.per_s * _undone(calls, ends, workers, slo_s)
        if cost >= best:
            break
        best = cost
    return best


def _undone(calls: Sequence[Arrival], ends: float, workers: int, slo_s: float) -> float:
    """Seconds of work that miss their deadline, the earliest deadline first."""
    due: list[tuple[float, float]] = []
    now, undone = (calls[0].at if calls else ends), 0.0
    for one in calls:
        now, missed = _flow(due, now, one.at, workers)
        undone += missed
        heapq.heappush(due, (one.at + slo_s + one.runs_s, one.runs_s))
    _, missed = _flow(due, now, ends, workers)
    return undone + missed


def _flow(
    due: list[tuple[float, float]], now: float, until: float, workers: int
) -> tuple[float, float]:
    """Works on what is due until then; returns (then, seconds of work that missed its deadline)."""
    missed = 0.0
    while due and now < until:
        deadline, work = due[0]
        if deadline <= now:
            missed += work
            heapq.heappop(due)
            continue
        end = min(until, deadline)
        done = (end - now) * workers
        if work <= done:
            now += work / workers
            heapq.heappop(due)
        else:
            due[0] = (deadline, work - done)
            now = end
    return until, missed
