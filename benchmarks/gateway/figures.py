"""What was measured, as values, and the arithmetic over it: medians, spreads, ratios, targets."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

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
    error: str = ""

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
    import_s: tuple[float, ...]

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


def checks(figures: Mapping[str, Figures], alone: Alone | None) -> list[Check]:
    """Every target for which the run has the figures."""
    found = [*_cpu(figures), *_throughput(figures), *_latency(figures), *_streams(figures)]
    return found + (_alone(alone) if alone else [])


def _usable(figures: Mapping[str, Figures], *names: str) -> list[Figures] | None:
    """The contenders by these names, if all ran; by no fewer rounds than the others."""
    found = [figures[name] for name in names if name in figures and figures[name].rounds]
    return found if len(found) == len(names) else None


def _cpu(figures: Mapping[str, Figures]) -> list[Check]:
    found = []
    for name, words, limit, aim in (
        ("spillgate-local", "CPU a call, local worker", 1.6, 1.0),
        ("spillgate", "CPU a call, passed on", 2.2, 1.5),
    ):
        if pair := _usable(figures, name, "sglang-router"):
            ours, theirs = ([one.cpu_us for one in each.rounds] for each in pair)
            value = ratio(ours, theirs)
            found.append(
                Check(what=words, value=value, limit=limit, aim=aim, unit="x sglang-router")
            )
    return found


def _throughput(figures: Mapping[str, Figures]) -> list[Check]:
    pair = _usable(figures, "spillgate", "litellm")
    if pair is None:
        return []
    value = ratio(*([one.per_second for one in each.rounds] for each in pair))
    words = "requests/s, one worker"
    return [Check(what=words, value=value, limit=40, aim=80, unit="x LiteLLM", at_least=True)]


def _latency(figures: Mapping[str, Figures]) -> list[Check]:
    found = _usable(figures, "spillgate")
    added = [one.added_ms for one in found[0].rounds if one.added_ms is not None] if found else []
    if not added:
        return []
    return [Check(what="added latency, p50", value=spread(added), limit=1.0, aim=0.4, unit="ms")]


def _streams(figures: Mapping[str, Figures]) -> list[Check]:
    ours = figures.get("spillgate")
    if ours is None or ours.smooth_streams is None:
        return []
    value = spread([ours.smooth_streams])
    words = "streams without a gap"
    return [Check(what=words, value=value, limit=512, aim=1024, unit="streams", at_least=True)]


def _alone(alone: Alone) -> list[Check]:
    idle, grown = spread([alone.idle_mib]), spread([alone.grown_mib])
    after = f"memory grown after {alone.calls:,} calls"
    ready = spread(alone.ready_s)
    return [
        Check(what="memory idle", value=idle, limit=120, aim=80, unit="MiB resident"),
        Check(what=after, value=grown, limit=5, aim=5, unit="MiB resident"),
        Check(what="process start to /readyz", value=ready, limit=1.5, aim=0.7, unit="s"),
    ]
