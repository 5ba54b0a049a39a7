"""Which of a few fixed shapes a batch is padded to. Pure: knows no tensor and no device.

A CUDA graph replays one shape, and a compiled model is compiled anew for each; so both are made
for a handful of shapes and a batch goes into the smallest that holds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec


class Shape(msgspec.Struct, frozen=True, order=True):
    """The leading dimensions of a batch."""

    rows: int
    length: int | None = None
    """The second dimension, where that is padded too (tokens, say)."""


class Buckets(msgspec.Struct, frozen=True, kw_only=True):
    """The shapes there are: each of ``rows`` with each of ``lengths``. Both ascend.

    Without ``lengths`` only the first dimension is padded, and all others are those of the sample
    that the model was warmed up with. Raises ValueError for sizes that do not ascend from 1.
    """

    rows: tuple[int, ...]
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("buckets have at least one number of rows")
        for sizes in (self.rows, self.lengths):
            if list(sizes) != sorted(set(sizes)) or any(size < 1 for size in sizes):
                raise ValueError(f"sizes of buckets ascend from at least 1: {sizes}")

    def fit(self, rows: int, length: int | None = None) -> Shape | None:
        """The smallest shape that holds the batch; None above the largest, or for no rows."""
        across = _fit(self.rows, rows)
        if across is None or not self.lengths:
            return None if across is None else Shape(across)
        along = None if length is None else _fit(self.lengths, length)
        return None if along is None else Shape(across, along)

    def largest_first(self) -> Iterator[Shape]:
        """All shapes in the order in which graphs are best captured: the memory of a larger one
        serves the smaller ones after it."""
        for rows in reversed(self.rows):
            for length in reversed(self.lengths) if self.lengths else (None,):
                yield Shape(rows, length)


def doubling(largest: int, *, smallest: int = 1) -> tuple[int, ...]:
    """Sizes that double from ``smallest`` and end at ``largest``: of a batch that is padded to
    one of them less than half is padding, save below the smallest. Raises ValueError."""
    if not 1 <= smallest <= largest:
        raise ValueError(f"sizes go from at least 1 upward, not from {smallest} to {largest}")
    sizes = [smallest]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return tuple(sizes) if sizes[-1] == largest else (*sizes, largest)


def _fit(sizes: Sequence[int], wanted: int) -> int | None:
    if wanted < 1:
        return None
    return next((size for size in sizes if size >= wanted), None)
