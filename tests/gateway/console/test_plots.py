"""Plots whose bars add up and whose labels can be read."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.console.drawing.plots import HEIGHT, Band, PlotColumn, stacked

AMOUNTS = st.floats(1e-9, 1e12, allow_nan=False) | st.just(0.0)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), min_size=1, max_size=60))
def test_nothing_is_drawn_outside_and_no_label_hides_another(
    columns: list[tuple[float, float, float]],
) -> None:
    bands = [Band(name, name, [column[at] for column in columns]) for at, name in enumerate("abc")]
    plot = stacked(
        bands, [PlotColumn("", "")] * len(columns), [], told=str, summary="", lines=[bands[0]]
    )
    for shape in (*plot.shapes, *plot.lines):
        heights = [float(at) for at in re.findall(r"V(-?[\d.]+)", shape.path)]
        assert all(-0.1 <= at <= HEIGHT + 0.1 for at in heights)
    places = sorted(mark.at for mark in plot.labels)
    assert all(low + 14 <= high for low, high in itertools.pairwise(places))


def test_what_is_nothing_everywhere_has_neither_shape_nor_label() -> None:
    plot = stacked([Band("a", "a", [0, 0])], [], [], told=str, summary="")
    assert (plot.shapes, plot.labels, plot.width) == ([], [], 1)
