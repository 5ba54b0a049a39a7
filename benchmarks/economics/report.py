"""The table of ``make bench-economics``. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from benchmarks.economics.replay import Outcome

_HEADS = ("trace", "platform", "calls", "USD/1,000", "reserved", "serverless", "in time", "workers")


class Row(msgspec.Struct, frozen=True):
    """What one trace costs on one platform."""

    trace: str
    platform: str
    outcome: Outcome


def as_table(rows: Iterable[Row]) -> str:
    """GitHub's markdown."""
    lines = [_HEADS, ("---",) * len(_HEADS), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    found = row.outcome
    return (
        *(row.trace, row.platform, f"{found.calls:,}", f"{found.cost:.2f}"),
        *(f"{found.reserved:.2f}", f"{found.serverless:.2f}"),
        *(f"{100 * found.in_time:.2f} %", f"{found.mean_workers:.1f}"),
    )
