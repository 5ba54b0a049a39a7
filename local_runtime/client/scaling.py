"""How many workers there should be, by the calls that there are. Pure: time is passed in."""

from __future__ import annotations

import math

import msgspec


class ScalingBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Between what, and how fast, the number of workers may move."""

    least: int
    most: int
    grow_after_s: float = 1.0
    """So long there must be more calls than the workers can run at once."""
    shrink_after_s: float = 300.0
    """So long fewer workers would have done."""

    def above(self, workers: int) -> ScalingBounds:
        """The same with no fewer than so many, as far as there may be."""
        least = self.around(workers)
        return self if least == self.least else msgspec.structs.replace(self, least=least)

    def around(self, workers: int) -> int:
        """As many, within the bounds."""
        return max(self.least, min(self.most, workers))


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do."""

    calls: int
    """Under way, and waiting for a worker."""
    slots: int
    """Calls that one worker runs at once; 0 while none has said so."""


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers there should be, and since when that is in doubt."""

    workers: int
    short_since: float | None = None
    """Since when more were wanted."""
    spare_since: float | None = None
    """Since when fewer would have done."""
    most_wanted: int = 0
    """In that time."""


def plan(trend: Trend, load: Demand, bounds: ScalingBounds, now: float) -> Trend:
    """The trend as of ``now``. Grows at once to what the calls need, and shrinks at once to the
    most that was needed in ``shrink_after_s``; a need that passes sooner changes nothing."""
    wanted = _wanted(trend, load, bounds)
    if wanted > trend.workers:
        since = now if trend.short_since is None else trend.short_since
        if now - since >= bounds.grow_after_s:
            return Trend(workers=wanted)
        return Trend(workers=trend.workers, short_since=since)
    if wanted < trend.workers:
        since = now if trend.spare_since is None else trend.spare_since
        most = max(wanted, trend.most_wanted)
        if now - since >= bounds.shrink_after_s:
            return Trend(workers=most)
        return Trend(workers=trend.workers, spare_since=since, most_wanted=most)
    return Trend(workers=trend.workers)


def _wanted(trend: Trend, load: Demand, bounds: ScalingBounds) -> int:
    """Workers that could run all the calls at once."""
    if load.slots:
        return needed(load, bounds)
    return bounds.around(max(trend.workers, min(load.calls, 1)))


def needed(load: Demand, bounds: ScalingBounds) -> int:
    """Workers that the calls need; one, while none has said how many it runs at once."""
    return bounds.around(math.ceil(load.calls / (load.slots or max(load.calls, 1))))
