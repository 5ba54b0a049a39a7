"""Plots as shapes for SVG: stacked bars, lines over them, and where each is labelled. Pure.

A plot is as many units wide as it has buckets and ``HEIGHT`` pixels high, and is stretched to
whatever room there is; texts stand beside it and keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec

HEIGHT = 200
_LABEL = 15
"""Pixels between the labels of two bands."""
_BARS = 62
"""Of more buckets there is no gap between two."""
_LAST = 93.0
"""Percents from the left from which on a time would run out of the plot, or into the one before."""


class Band(msgspec.Struct, frozen=True):
    """What is stacked: one value a bucket. ``meaning`` is its colour, the same on every page."""

    name: str
    meaning: str
    values: Sequence[float]


class PlotColumn(msgspec.Struct, frozen=True):
    """One column: the words beside the mouse, and the rows behind it."""

    tip: str
    href: str


class PlotShape(msgspec.Struct, frozen=True):
    """A path of one colour."""

    meaning: str
    path: str


class PlotText(msgspec.Struct, frozen=True):
    """A text at a place: pixels from the top, or percents from the left."""

    text: str
    at: float
    meaning: str = ""


class Plot(msgspec.Struct, frozen=True):
    """All that a template draws."""

    width: int
    shapes: Sequence[PlotShape]
    lines: Sequence[PlotShape]
    labels: Sequence[PlotText]
    heights: Sequence[PlotText]
    times: Sequence[PlotText]
    buckets: Sequence[PlotColumn]
    summary: str
    height: int = HEIGHT


def stacked(
    bands: Sequence[Band],
    buckets: Sequence[PlotColumn],
    times: Sequence[PlotText],
    *,
    told: Callable[[float], str],
    summary: str,
    lines: Sequence[Band] = (),
    least: float = 0.0,
) -> Plot:
    """``bands`` from the bottom up; those that are nothing everywhere are left out. ``told`` writes
    a height; those that are written are multiples of ``least``."""
    shown = [band for band in bands if any(band.values)]
    drawn = [line for line in lines if any(line.values)]
    tops = [sum(values) for values in zip(*(band.values for band in shown), strict=True)]
    highest = max([*tops, *(value for line in drawn for value in line.values)], default=0.0)
    ticks = _ticks(highest, least)
    scale = HEIGHT / (ticks[-1] or 1.0)
    shapes, ends = [], []
    below = [0.0] * len(buckets)
    for band in shown:
        above = [low + value for low, value in zip(below, band.values, strict=True)]
        shapes.append(PlotShape(band.meaning, _bars(below, above, scale)))
        ends.append(PlotText(band.name, HEIGHT - _middle(below, above) * scale, band.meaning))
        below = above
    for line in drawn:
        ends.append(PlotText(line.name, HEIGHT - line.values[-1] * scale, line.meaning))
    return Plot(
        width=max(len(buckets), 1),
        shapes=shapes,
        lines=[PlotShape(line.meaning, _line(line.values, scale)) for line in drawn],
        labels=_apart(ends),
        heights=[PlotText(told(tick), HEIGHT - tick * scale) for tick in ticks],
        times=[mark for mark in times if mark.at <= _LAST],
        buckets=buckets,
        summary=summary,
    )


def _bars(below: Sequence[float], above: Sequence[float], scale: float) -> str:
    gap = 0.08 if len(below) <= _BARS else 0.0
    return "".join(
        f"M{at + gap:g} {HEIGHT - low * scale:.1f}V{HEIGHT - high * scale:.1f}H{at + 1 - gap:g}"
        f"V{HEIGHT - low * scale:.1f}Z"
        for at, (low, high) in enumerate(zip(below, above, strict=True))
        if high > low
    )


def _line(values: Sequence[float], scale: float) -> str:
    points = [f"{at + 0.5:g} {HEIGHT - value * scale:.1f}" for at, value in enumerate(values)]
    return "M" + "L".join(points)


def _middle(below: Sequence[float], above: Sequence[float]) -> float:
    """Where a band is labelled: at its last bar, as tall as that may be."""
    return (below[-1] + above[-1]) / 2 if below else 0.0


def _ticks(highest: float, least: float) -> list[float]:
    """Round heights from nothing to above the highest, each a multiple of ``least``."""
    if highest <= 0:
        return [0.0]
    step = 10 ** math.floor(math.log10(highest))
    size = next(step * part for part in (0.25, 0.5, 1, 2.5) if highest / (step * part) <= 4.001)
    size = math.ceil(max(size, least) / least) * least if least else size
    return [size * number for number in range(math.ceil(highest / size - 1e-9) + 1)]


def _apart(marks: Sequence[PlotText]) -> list[PlotText]:
    """The same, moved so far that each can be read."""
    ordered = sorted(marks, key=lambda mark: mark.at, reverse=True)
    placed: list[PlotText] = []
    lowest = float(HEIGHT)
    for mark in ordered:
        at = min(mark.at + 4, lowest)
        placed.append(msgspec.structs.replace(mark, at=at))
        lowest = at - _LABEL
    lift = max(0.0, 8.0 - min((mark.at for mark in placed), default=8.0))
    return [msgspec.structs.replace(mark, at=mark.at + lift) for mark in placed]
