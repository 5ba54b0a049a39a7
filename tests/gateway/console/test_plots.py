"""Plots whose bars add up and whose labels can be read."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.console.drawing.plots import HEIGHT, Band, PlotColumn, PlotText, stacked

COLUMN = PlotColumn("", "")
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


@given(st.integers(1, 10**6))
def test_heights_of_what_is_counted_are_whole_numbers(most: int) -> None:
    plot = stacked([Band("a", "a", [most])], [COLUMN], [], told=repr, summary="", least=1.0)
    heights = [float(mark.text) for mark in plot.heights]
    assert all(height.is_integer() for height in heights)
    assert heights[0] == 0.0
    assert most <= heights[-1]
    assert len(heights) <= 6


def test_a_time_that_would_run_out_of_the_plot_is_left_out() -> None:
    times = [PlotText(text, at) for text, at in (("31 Oct", 0), ("20 Nov", 67), ("30 Nov", 97))]
    plot = stacked([Band("a", "a", [1])], [COLUMN], times, told=str, summary="")
    assert [mark.text for mark in plot.times] == ["31 Oct", "20 Nov"]
