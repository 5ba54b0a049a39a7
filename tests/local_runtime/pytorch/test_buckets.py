"""Which shape a batch is padded to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_runtime.pytorch.buckets import Buckets, Shape, doubling

GRID = Buckets(rows=(1, 4, 16), lengths=(8, 32))


@pytest.mark.parametrize(
    ("rows", "length", "shape"),
    [
        (1, 1, Shape(1, 8)),
        (2, 8, Shape(4, 8)),
        (4, 9, Shape(4, 32)),
        (16, 32, Shape(16, 32)),
        (17, 8, None),
        (4, 33, None),
        (0, 8, None),
        (4, None, None),
    ],
)
def test_a_batch_goes_into_the_smallest_shape_that_holds_it(
    rows: int, length: int | None, shape: Shape | None
) -> None:
    assert GRID.fit(rows, length) == shape


def test_without_lengths_the_second_dimension_does_not_matter() -> None:
    assert Buckets(rows=(2, 8)).fit(3, 999) == Shape(8)


def test_the_largest_shape_is_captured_first() -> None:
    shapes = list(Buckets(rows=(1, 2), lengths=(8, 32)).largest_first())
    assert shapes == [Shape(2, 32), Shape(2, 8), Shape(1, 32), Shape(1, 8)]
    assert list(Buckets(rows=(1, 2)).largest_first()) == [Shape(2), Shape(1)]


@pytest.mark.parametrize("rows", [(), (0, 1), (4, 2), (2, 2)])
def test_sizes_that_do_not_ascend_from_one_are_refused(rows: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="buckets"):
        Buckets(rows=rows)


@given(st.integers(1, 3000), st.integers(1, 300))
def test_doubling_sizes_hold_every_batch_with_less_than_half_padding(
    largest: int, batch: int
) -> None:
    sizes = doubling(largest)
    shape = Buckets(rows=sizes).fit(batch)
    if batch > largest:
        assert shape is None
    else:
        assert shape is not None
        assert batch <= shape.rows < 2 * batch
    assert sizes[-1] == largest


def test_doubling_may_begin_higher() -> None:
    assert doubling(100, smallest=16) == (16, 32, 64, 100)
    assert doubling(16, smallest=16) == (16,)
    with pytest.raises(ValueError, match="from 8 to 4"):
        doubling(4, smallest=8)
