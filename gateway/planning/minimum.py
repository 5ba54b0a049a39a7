"""How many workers a platform should be told to keep, and why. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.planning.planner import Capacity, Seen

PlanReason = Literal[
    "none",  # no worker is worth its price
    "call_waits",  # so many calls wait for a worker, and starts race for them
    "scheduled",  # a schedule begins calls by the time that a start takes
    "jobs_wait",  # so many jobs must run at once, so that those in line end in time
    "start_ahead",  # one more will probably be needed when it has started
    "needed_soon",  # those that are up will probably be needed before others could start
    "lingers",  # they were needed a moment ago
    "floor",  # the policy's `spare`
    "ceiling",  # the policy's `most`
    "outside_hours",  # the policy's `hours` are over
    "away",  # it rests or is not well, and others take its calls
]


class PlanBounds(msgspec.Struct, frozen=True):
    """What the policy says."""

    floor: int
    ceiling: int


class Minimum(msgspec.Struct, frozen=True):
    """What the platform is told."""

    workers: int
    because: PlanReason
    held: int
    """Of these, those that are up and kept for what comes soon."""


NOTHING = Minimum(0, "outside_hours", 0)
AWAY = Minimum(0, "away", 0)


def minimum_of(
    capacity: Capacity, seen: Seen, at_home: int, *, per_worker: int = 1, lingering: int = 0
) -> Minimum:
    """``at_home``: of ``seen.ready``, what is no worker of this platform. ``per_worker``: calls
    that one runs at once. ``lingering``: workers that were held a moment ago: a platform takes one
    down at once that is needed again in a second."""
    here = _workers(seen.ready - at_home, per_worker)
    held = _workers(min(capacity.hold, seen.ready) - at_home, per_worker)
    started = here + _workers(capacity.starting, per_worker) if capacity.starting else 0
    lingering = min(lingering, here)
    if started > max(held, lingering):
        return Minimum(started, _starts_because(seen), held)
    if lingering > held:
        return Minimum(lingering, "lingers", held)
    return Minimum(held, _known(seen) or "needed_soon" if held else "none", held)


def _starts_because(seen: Seen) -> PlanReason:
    if seen.waiting > seen.backlog:
        return "call_waits"
    return _known(seen) or "start_ahead"


def _known(seen: Seen) -> PlanReason | None:
    """What is known to come, if anything is."""
    if seen.coming:
        return "scheduled"
    return "jobs_wait" if seen.backlog else None


def together(minima: Sequence[Minimum], bounds: PlanBounds) -> Minimum:
    """What models that other backends serve need of one platform, within what the policy allows:
    the reason is that of the one that needs most."""
    workers = sum(one.workers for one in minima)
    held = sum(one.held for one in minima)
    if workers > bounds.ceiling:
        return Minimum(bounds.ceiling, "ceiling", held)
    if workers < bounds.floor:
        return Minimum(bounds.floor, "floor", held)
    most = max(minima, key=lambda one: one.workers, default=None)
    return Minimum(workers, "none" if most is None else most.because, held)


def _workers(calls: int, per_worker: int) -> int:
    return -(-max(0, calls) // per_worker)
