"""The tables of ``make bench-economics``. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from gateway.replay.comparison import Replayed

_HEADS = (
    "recording", "platform", "calls", "USD/1,000", "best", "bound", "x best", "in time",
    "in surges", "cold", "GPUs", "harm",
)  # fmt: skip


class Case(msgspec.Struct, frozen=True):
    """One recording on one platform, under one strain."""

    strain: str
    found: Replayed


def as_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """GitHub's markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def replays(cases: Iterable[Case]) -> str:
    """A line for each."""
    return as_table(_HEADS, (_cells(one.found) for one in cases))


def means(cases: Sequence[Case]) -> str:
    """By strain and platform: the geometric mean of cost over the best, and the worst of the
    rest."""
    heads = (
        "strain", "platform", "recordings", "x best, geometric mean", "in time, worst",
        "in surges, worst", "harm, worst",
    )  # fmt: skip
    groups: dict[tuple[str, str], list[Replayed]] = {}
    for one in cases:
        groups.setdefault((one.strain, one.found.platform.name), []).append(one.found)
    return as_table(heads, (_mean(*key, found) for key, found in groups.items()))


def _mean(strain: str, platform: str, found: Sequence[Replayed]) -> tuple[str, ...]:
    ratios = [one.ratio(one.planned) for one in found]
    surges = [one.planned.surge_attainment for one in found]
    harms = [one.harm for one in found if one.harm is not None]
    return (
        *(strain, platform, str(len(found))),
        f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.3f}",
        _percent(min(one.planned.slo_attainment for one in found)),
        _percent(min((each for each in surges if each is not None), default=None)),
        f"{max(harms):.3f}" if harms else "-",
    )


def _cells(found: Replayed) -> tuple[str, ...]:
    ours, thousands = found.planned, found.planned.calls / 1000
    return (
        *(found.traffic.name, found.platform.name, f"{ours.calls:,}"),
        f"{ours.cost_per_1000:.2f}",
        f"{found.best.plan / thousands:.2f}",
        f"{found.best.bound / thousands:.2f}",
        f"{found.ratio(ours):.3f}",
        _percent(ours.slo_attainment),
        _percent(ours.surge_attainment),
        _percent(ours.cold_share),
        f"{ours.reserved_gpus:.1f} + {ours.serverless_gpus:.1f}",
        "-" if found.harm is None else f"{found.harm:.3f}",
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
