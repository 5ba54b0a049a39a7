"""How far the need for workers may grow within the time that a start takes. Pure.

What is learned at each look: so many calls were in the system, and within the horizon after it so
many were past their promise at once; the difference is by how much capacity had to grow, or could
shrink. Samples of a like load are kept together and fade, so that a table follows the traffic.
"""

from __future__ import annotations

import math
from collections import deque

_BUCKETS = 48
_BINS = 256
_LEAST = -64
"""Growth is counted one by one from here on, and lumped together at both ends."""
_EXACT = 8
"""Up to so many calls every load has a bucket of its own; above, four to each doubling."""
_REBASE = 1e100
_WIDTH = 16
"""Bins that are summed up together, so that a look at all of them is one at few sums."""


def bucket_of(load: int) -> int:
    """The bucket of a load, in calls."""
    return _BUCKET_OF[load] if load < _KNOWN else _bucket_of(load)


def _bucket_of(load: int) -> int:
    if load < _EXACT:
        return load
    return min(_BUCKETS - 1, _EXACT + int(4 * math.log2(load / _EXACT)))


_KNOWN = 1024
_BUCKET_OF = tuple(map(_bucket_of, range(_KNOWN)))


class FadingBins:
    """Weights of samples by bin. Each sample makes those before it weigh less, by one in
    ``memory``; older ones are not touched: the newer ones are made heavier."""

    __slots__ = ("_fade", "bins", "sums", "total", "unit")

    def __init__(self, memory: int) -> None:
        self._fade = 1 / (1 - 1 / memory)
        self.bins = [0.0] * _BINS
        self.sums = [0.0] * (_BINS // _WIDTH)
        """Of each row of bins."""
        self.total = 0.0
        """Of all bins, in the same weights."""
        self.unit = 1.0
        """What the next sample weighs."""

    def add_one(self, bin: int) -> None:
        """A sample."""
        weight = self.unit
        self.bins[bin] += weight
        self.sums[bin // _WIDTH] += weight
        self.total += weight
        self.unit = weight * self._fade
        if self.unit > _REBASE:
            self._rebase()

    def add(self, bin: int, times: int) -> None:
        """The same sample ``times`` in a row, twice at the least."""
        grown = self.unit * self._fade**times
        if grown > _REBASE:
            self._rebase()
            grown = self.unit * self._fade**times
        weight = (grown - self.unit) / (self._fade - 1)
        self.bins[bin] += weight
        self.sums[bin // _WIDTH] += weight
        self.total += weight
        self.unit = grown

    def _rebase(self) -> None:
        self.bins = [weight / self.unit for weight in self.bins]
        self.sums = [weight / self.unit for weight in self.sums]
        self.total /= self.unit
        self.unit = 1.0


class GrowthTable:
    """Growth of the need within one horizon, by the load at its beginning.

    ``memory``  samples after which an old one weighs about a third.
    ``prior``   samples of any load that are counted beside those of the load itself, so that a
                load that is seldom seen borrows from the others.
    """

    __slots__ = ("_all", "_by_load", "_memory", "_prior")

    def __init__(self, *, memory: int = 600, prior: int = 20) -> None:
        self._memory = memory
        self._prior = prior
        self._all = FadingBins(memory)
        self._by_load: dict[int, FadingBins] = {}

    def learn(self, load: int, growth: int, times: int = 1) -> None:
        """With ``load`` calls in the system the need grew by ``growth`` within the horizon."""
        bin = growth - _LEAST
        if not 0 <= bin < _BINS:
            bin = 0 if bin < 0 else _BINS - 1
        bucket = bucket_of(load)
        known = self._by_load.get(bucket)
        if known is None:
            known = self._by_load[bucket] = FadingBins(self._memory)
        if times == 1:
            known.add_one(bin)
            self._all.add_one(bin)
            return
        # A longer row of equal samples than the memory holds says no more than one that fills it.
        times = min(times, 20 * self._memory)
        known.add(bin, times)
        self._all.add(bin, times)

    def needed(self, load: int, chance: float) -> int:
        """The fewest workers that are too few with a probability of ``chance`` at most; ``load``
        of them where nothing was learned yet."""
        everything = self._all
        if not everything.total:
            return load
        own = self._by_load.get(bucket_of(load))
        if own is None:
            own = _NOTHING
        # Both in the weights of the load's own samples.
        share = self._prior * own.unit / everything.total
        bound = chance * (own.total + self._prior * own.unit)
        beyond = 0.0
        sums, others = own.sums, everything.sums
        for row in range(_BINS // _WIDTH - 1, -1, -1):
            more = sums[row] + share * others[row]
            if beyond + more > bound:
                return max(
                    0, load + _LEAST + _bin_beyond(own, everything, share, row, bound - beyond)
                )
            beyond += more
        return max(0, load + _LEAST)


def _bin_beyond(
    own: FadingBins, everything: FadingBins, share: float, row: int, left: float
) -> int:
    """The highest bin of a row with which more than ``left`` lies from there to the row's end."""
    bins, others = own.bins, everything.bins
    first = row * _WIDTH
    for bin in range(first + _WIDTH - 1, first, -1):
        left -= bins[bin] + share * others[bin]
        if left < 0:
            return bin
    return first


_NOTHING = FadingBins(2)


class Growth:
    """Two tables, learned from looks at a steady pace: growth within one horizon from now, which
    says what must be held, and within the one after it, which says what must be started."""

    __slots__ = ("_highest", "_loads", "_looks", "_number", "hold", "start")

    def __init__(self, looks: int, *, memory: int = 600, prior: int = 20) -> None:
        """``looks``: the horizon, in looks; at least 1."""
        self._looks = looks
        self.hold = GrowthTable(memory=memory, prior=prior)
        self.start = GrowthTable(memory=memory, prior=prior)
        self._number = 0
        self._loads: deque[int] = deque(maxlen=2 * looks + 1)
        self._highest: deque[tuple[int, int]] = deque()
        """(number of the look, overdue), falling: the first is the most within the horizon."""

    def look(self, load: int, overdue: int) -> None:
        """So many calls are in the system, and so many of them past their promise."""
        highest, looks, number = self._highest, self._looks, self._number
        while highest and highest[-1][1] <= overdue:
            highest.pop()
        highest.append((number, overdue))
        while highest[0][0] < number - looks:
            highest.popleft()
        most = highest[0][1]
        loads = self._loads
        loads.append(load)
        if len(loads) > looks:
            before = loads[-1 - looks]
            self.hold.learn(before, most - before)
        if len(loads) > 2 * looks:
            self.start.learn(loads[0], most - loads[0])
        self._number = number + 1

    def rest(self, looks: int) -> None:
        """So many looks in a row at an empty system; the same as each of them, and cheaper."""
        own = min(looks, 2 * self._looks + 1)
        for _ in range(own):
            self.look(0, 0)
        if looks > own:
            self.hold.learn(0, 0, looks - own)
            self.start.learn(0, 0, looks - own)
            self._number += looks - own
            self._highest.clear()
            self._highest.append((self._number - 1, 0))
