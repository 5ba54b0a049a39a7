"""What was measured, as values, and the arithmetic over it: medians, spreads, ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.gateway.stream_client import Streamed


class Spread(msgspec.Struct, frozen=True):
    """The median of some rounds, and how far they lay apart."""

    median: float
    low: float
    high: float


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One contender under load in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """CPU of the contender's own processes, a request."""
    apart_us: float
    """CPU of workers that answer in its place, a request."""
    failed: int
    added_ms: float | None = None
    """What it adds to the median at one connection; None for the upstream itself."""


class Large(msgspec.Struct, frozen=True, kw_only=True):
    """One contender in one round, of large calls: CPU of its own processes a request, in us."""

    plain_us: float
    """Of small ones in the same round."""
    body_us: float
    answer_us: float

    @property
    def body_added_us(self) -> float:
        return self.body_us - self.plain_us

    @property
    def answer_added_us(self) -> float:
        return self.answer_us - self.plain_us


class StreamLevel(msgspec.Struct, frozen=True, kw_only=True):
    """One contender under so many paced streams at a time: the best of the attempts."""

    streamed: Streamed
    delta_us: float
    """CPU of the contender's own processes, a delta."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All about one contender. ``error`` says why there is nothing."""

    name: str
    rounds: tuple[Round, ...] = ()
    pss_mib: float = 0.0
    rss_mib: float = 0.0
    start_s: float = 0.0
    levels: tuple[StreamLevel, ...] = ()
    large: tuple[Large, ...] = ()
    large_error: str = ""
    """Why large calls were not measured to the end."""
    error: str = ""
    missing: bool = False
    """It is not to be had on this machine, which ``error`` explains."""

    @property
    def smooth_streams(self) -> int | None:
        """The most streams that stayed free of gaps; None where streams were not measured."""
        if not self.levels:
            return None
        return max((one.streamed.streams for one in self.levels if one.streamed.smooth), default=0)

    @property
    def delta_us(self) -> float | None:
        """CPU a delta at the largest smooth level up to 256, where machines are not yet full."""
        fit = [one for one in self.levels if one.streamed.smooth and one.streamed.streams <= 256]
        return fit[-1].delta_us if fit else None


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """Spillgate by itself."""

    idle_mib: float
    """Resident memory when ready, before the first call."""
    warm_mib: float
    """After the first two thousand calls: code paths and connections are there."""
    after_mib: float
    calls: int
    ready_s: tuple[float, ...]
    ready_cpu_s: tuple[float, ...] = ()
    """CPU of the process until it was ready, which does not depend on what else runs."""
    import_s: tuple[float, ...]
    import_cpu_s: tuple[float, ...] = ()
    streams: int = 0
    """That ended whole, in a process of their own."""
    streams_mib: float | None = None
    """What they added to resident memory, from idle."""

    @property
    def grown_mib(self) -> float:
        return self.after_mib - self.idle_mib


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One target: ``limit`` must be kept, ``aim`` is what is wished for."""

    what: str
    value: Spread
    limit: float
    aim: float
    unit: str
    at_least: bool = False

    def _keeps(self, bound: float) -> bool:
        return self.value.median >= bound if self.at_least else self.value.median <= bound

    @property
    def verdict(self) -> str:
        if self._keeps(self.aim):
            return "aim"
        return "pass" if self._keeps(self.limit) else "FAIL"


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Ratios round by round: what troubled the machine in a round troubled both."""
    return spread([one / other for one, other in zip(above, below, strict=True)])
