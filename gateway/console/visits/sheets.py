"""Tables as CSV: RFC 4180, and safe for spreadsheets, which would run some texts as formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence

from gateway.console.visits.visit import Sheet
from gateway.money.text import safe_cell

_ROWS_A_PIECE = 500


def sheet_of(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Sheet:
    """``name`` is the file's, without its ending."""
    return Sheet(f"{name}.csv", _pieces(head, rows))


async def _pieces(head: Sequence[str], rows: Iterable[Sequence[object]]) -> AsyncIterator[bytes]:
    waiting: list[Sequence[object]] = [head]
    for row in rows:
        waiting.append(row)
        if len(waiting) >= _ROWS_A_PIECE:
            yield written(waiting)
            waiting = []
    yield written(waiting)


def written(rows: Iterable[Sequence[object]]) -> bytes:
    """Lines of a sheet."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue().encode()
