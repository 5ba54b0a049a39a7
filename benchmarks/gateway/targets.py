"""The targets, each as far as a run has its figures: against nginx, which does not wander, and
against the best router of the same run; and what a setup of Spillgate costs beside the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.gateway.contenders import SETUPS
from benchmarks.gateway.contenders.routers import ROUTERS
from benchmarks.gateway.figures import Alone, Check, Figures, Round, Spread, ratio, spread

Measure = Callable[[Round], float]


def checks(figures: Mapping[str, Figures], alone: Alone | None) -> list[Check]:
    """Every target for which the run has the figures."""
    found = [*_cpu(figures), *_throughput(figures), *_tail(figures), *_latency(figures)]
    found += [*_streams(figures), *_large(figures)]
    return found + (_alone(alone) if alone else [])


def best_router(figures: Mapping[str, Figures], measure: Measure) -> Figures | None:
    """The router whose median is the least; None where none ran."""
    ran = [figures[one.name] for one in ROUTERS if one.name in figures]
    return min(
        (one for one in ran if one.rounds),
        key=lambda one: median(measure(each) for each in one.rounds),
        default=None,
    )


def beside_the_plain(figures: Mapping[str, Figures]) -> list[tuple[str, Spread]]:
    """Setup -> CPU a call, of its stores too, over that of the plain gateway in the same rounds."""
    plain = figures.get("spillgate")
    if plain is None or not plain.rounds:
        return []
    return [
        (name, ratio(_of(figures[name], _whole), _of(plain, _whole)))
        for name in SETUPS
        if name in figures and figures[name].rounds
    ]


def _of(figures: Figures, measure: Measure) -> list[float]:
    return [measure(one) for one in figures.rounds]


def _cpu_us(one: Round) -> float:
    return one.cpu_us


def _whole(one: Round) -> float:
    return one.cpu_us + one.apart_us


def _p99(one: Round) -> float:
    return one.p99_ms


def _ran(figures: Mapping[str, Figures], name: str) -> Figures | None:
    found = figures.get(name)
    return found if found is not None and found.rounds else None


def _times(
    figures: Mapping[str, Figures],
    ours: str,
    theirs: Figures | None,
    measure: Measure,
    words: str,
    bounds: tuple[float, float],
) -> list[Check]:
    """Ours over theirs, which is to be little."""
    mine = _ran(figures, ours)
    if mine is None or theirs is None:
        return []
    value = ratio(_of(mine, measure), _of(theirs, measure))
    limit, aim = bounds
    return [Check(what=words, value=value, limit=limit, aim=aim, unit=f"x {theirs.name}")]


def _cpu(figures: Mapping[str, Figures]) -> list[Check]:
    nginx, router = _ran(figures, "nginx"), best_router(figures, _cpu_us)
    passed, local = "CPU a call, passed on", "CPU a call, local worker"
    return [
        *_times(figures, "spillgate", nginx, _cpu_us, passed, (10, 7)),
        *_times(figures, "spillgate", router, _cpu_us, passed, (2.4, 1.5)),
        *_times(figures, "spillgate-local", nginx, _cpu_us, local, (7.5, 5)),
    ]


def _throughput(figures: Mapping[str, Figures]) -> list[Check]:
    ours, theirs = _ran(figures, "spillgate"), _ran(figures, "litellm")
    if ours is None or theirs is None:
        return []
    value = ratio(*([one.per_second for one in each.rounds] for each in (ours, theirs)))
    words = "requests/s, one worker"
    return [Check(what=words, value=value, limit=60, aim=80, unit="x litellm", at_least=True)]


def _tail(figures: Mapping[str, Figures]) -> list[Check]:
    router = best_router(figures, _p99)
    return _times(figures, "spillgate", router, _p99, "p99 at 32 connections", (2.5, 1.5))


def _latency(figures: Mapping[str, Figures]) -> list[Check]:
    found = _ran(figures, "spillgate")
    added = [one.added_ms for one in found.rounds if one.added_ms is not None] if found else []
    if not added:
        return []
    return [Check(what="added latency, p50", value=spread(added), limit=0.35, aim=0.2, unit="ms")]


def _streams(figures: Mapping[str, Figures]) -> list[Check]:
    ours = figures.get("spillgate")
    if ours is None or ours.smooth_streams is None:
        return []
    value = spread([ours.smooth_streams])
    words, unit = "streams without a gap", "streams"
    found = [Check(what=words, value=value, limit=1536, aim=2048, unit=unit, at_least=True)]
    routers = [figures[one.name] for one in ROUTERS if one.name in figures]
    able = [(one.delta_us, one.name) for one in routers if one.delta_us is not None]
    if able and ours.delta_us is not None:
        theirs, name = min(able)
        value = spread([ours.delta_us / theirs])
        found.append(Check(what="CPU a delta", value=value, limit=1.3, aim=1, unit=f"x {name}"))
    return found


def _large(figures: Mapping[str, Figures]) -> list[Check]:
    ours, nginx = figures.get("spillgate"), figures.get("nginx")
    if ours is None or nginx is None or not (ours.large and nginx.large):
        return []
    value = _positive(
        [one.body_added_us for one in ours.large], [one.body_added_us for one in nginx.large]
    )
    words = "256 KiB body, CPU added"
    return [Check(what=words, value=value, limit=4, aim=2, unit="x nginx")] if value else []


def _positive(above: Sequence[float], below: Sequence[float]) -> Spread | None:
    """Of the rounds in which nginx, too, took longer for a large body: what it adds is little, and
    a tick of the clock may swallow it."""
    pairs = [(one, other) for one, other in zip(above, below, strict=True) if other > 0]
    return ratio(*zip(*pairs, strict=True)) if pairs else None


def _alone(alone: Alone) -> list[Check]:
    idle, grown = spread([alone.idle_mib]), spread([alone.grown_mib])
    after = f"memory grown after {alone.calls:,} calls"
    ready, imported = spread(alone.ready_s), spread(alone.import_s)
    found = [
        Check(what="memory idle", value=idle, limit=50, aim=45, unit="MiB resident"),
        Check(what=after, value=grown, limit=5, aim=5, unit="MiB resident"),
    ]
    if alone.streams_mib is not None:
        words, value = f"memory grown after {alone.streams:,} streams", spread([alone.streams_mib])
        found.append(Check(what=words, value=value, limit=25, aim=10, unit="MiB resident"))
    return [
        *found,
        Check(what="process start to /readyz", value=ready, limit=0.3, aim=0.3, unit="s"),
        Check(what="import gateway.app", value=imported, limit=0.12, aim=0.12, unit="s"),
    ]
