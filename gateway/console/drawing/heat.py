"""A table of two dimensions whose cells are the darker the more they hold. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

_ROWS, _COLUMNS = 12, 8
STEPS = 8


class Cell(msgspec.Struct, frozen=True):
    """``step`` is how dark it is, from 0."""

    text: str
    step: int
    href: str


class Heat(msgspec.Struct, frozen=True):
    """The largest rows and columns, the largest first."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]


def heat_of(
    cells: Mapping[tuple[str, str], int],
    *,
    told: Callable[[int], str],
    href: Callable[[str, str], str],
) -> Heat | None:
    """None of what has less than two rows and columns together."""
    by_row: Counter[str] = Counter()
    by_column: Counter[str] = Counter()
    for (row, column), value in cells.items():
        by_row[row] += value
        by_column[column] += value
    columns = [name for name, _ in by_column.most_common(_COLUMNS)]
    rows = [name for name, _ in by_row.most_common(_ROWS)]
    most = max(cells.values(), default=0)
    if len(columns) * len(rows) < 2 or not most:
        return None

    def cell(row: str, column: str) -> Cell | None:
        value = cells.get((row, column))
        if value is None:
            return None
        step = round((value / most) ** 0.5 * STEPS)
        return Cell(told(value), step, href(row, column))

    return Heat(columns, [(row, [cell(row, column) for column in columns]) for row in rows])
