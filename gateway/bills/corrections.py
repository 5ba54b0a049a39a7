"""Rows of the ledger for what a bill has and calls' rows have not. Pure.

A row is never changed: a difference is booked as a row for each of its causes, and what a later
bill says otherwise by another one. They are nobody's calls and count for no limit; the user
``system:idle`` has the idle time, ``system:corrections`` the rest.
"""

from __future__ import annotations

from typing import get_args

from gateway.bills.causes import Cause, CauseName
from gateway.bills.comparison import Corrected, Day
from gateway.money.committed import IDLE
from gateway.money.text import iso
from gateway.storage.base import LedgerRow
from gateway.types import MICRO

_NAMES: tuple[CauseName, ...] = get_args(CauseName)
CORRECTIONS = "system:corrections"
"""The user of what is no idle time."""


def corrections_of(
    backend: str, day: Day, number: int, *, now_at: float, version: str
) -> list[LedgerRow]:
    """What is still to be booked of a day, by cause; empty where all is. ``number`` is how often
    it was booked before; it makes the names of the rows, of which a ledger takes each once."""
    wanted = {cause.name: cause for cause in day.causes}
    stem = f"correction_{backend}_{iso(day.period.start, 'minutes')[:10]}_{number}"
    rows: list[LedgerRow] = []
    for name in _NAMES:
        cause = wanted.get(name, Cause(name, 0))
        known = day.books.corrected.get(name, Corrected())
        if cause.nano == known.nano:
            continue
        rows.append(
            LedgerRow(
                id=f"{stem}#{len(rows)}" if rows else stem,
                kind="correction",
                outcome="success",
                started_at=day.period.start,
                ended_at=now_at,
                key_id=CORRECTIONS,
                user=IDLE if name == "idle" else CORRECTIONS,
                model="",
                task="correction",
                backend=backend,
                reason=name,
                policy=version,
                gpu_us=round((cause.seconds or 0.0) * MICRO) - known.gpu_us,
                cost_nano=cause.nano - known.nano,
                cost_basis="reported",
            )
        )
    return rows
