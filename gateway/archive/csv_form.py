"""Rows as CSV, compressed: the ledger's own columns, so that nothing is lost.

Integers are microseconds and nano-dollars; a missing value is an empty cell. A text that a
spreadsheet would run as a formula, or that begins with ', has ' before it; ``read_csv`` takes it
away again.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from gateway.storage.rows import COLUMNS, INTEGERS, Encoded

SUFFIX = ".csv.gz"
_LEVEL = 6
_LONGEST = 1 << 26
"""Characters of a cell: more than any row's history has."""
_GUARDED = ("=", "+", "-", "@", "\t", "\r", "'")
_IS_INTEGER = tuple(name in INTEGERS for name in COLUMNS)


class CsvFile:
    """A file that is being written; belongs to one thread at a time."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._packed = gzip.open(raw, "wt", _LEVEL, encoding="utf-8", newline="")  # noqa: SIM115 - closed at its end
        self._csv = csv.writer(self._packed)
        self._csv.writerow(COLUMNS)

    def write(self, rows: Sequence[Encoded]) -> None:
        """Raises OSError."""
        self._csv.writerows([_cell(value) for value in row] for row in rows)

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes its end."""
        self._packed.close()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_GUARDED) else value


def read_csv(path: Path, most: int) -> Iterator[list[Encoded]]:
    """Its rows as they were written, ``most`` at a time. Raises OSError, EOFError, zlib.error and
    ValueError for a file that is none of these, or not whole."""
    csv.field_size_limit(_LONGEST)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as packed:
        cells = csv.reader(packed, strict=True)
        if tuple(next(cells, ())) != COLUMNS:
            raise ValueError("its first line does not name the ledger's columns")
        page: list[Encoded] = []
        for line in cells:
            page.append(_row(line))
            if len(page) == most:
                yield page
                page = []
        if page:
            yield page


def _row(line: list[str]) -> Encoded:
    return [
        (int(cell) if cell else None) if integer else cell.removeprefix("'")
        for cell, integer in zip(line, _IS_INTEGER, strict=True)
    ]
