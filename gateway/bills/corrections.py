"""Rows of the ledger for what a bill has and calls' rows have not. Pure.

A row is never changed: a difference is booked as a row for each of its causes, and what a later
bill says otherwise by another one. They are nobody's calls and count for no limit; the user
``system:idle`` has the idle time, ``system:corrections`` the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from gateway.bills.causes import Cause, CauseName
from gateway.bills.comparison import CORRECTION, Corrected, Day
from gateway.money.committed import IDLE
from gateway.money.text import iso
from gateway.storage.base import LedgerRow
from gateway.types import MICRO

NAMES: tuple[CauseName, ...] = get_args(CauseName)
CORRECTIONS = "system:corrections"
"""The user of what is no idle time."""


def stem_of(backend: str, day: Day, number: int) -> str:
    """What the names of a day's rows begin with, before ``#`` and a cause. ``number`` is how often
    it was booked before."""
    return f"{CORRECTION}_{backend}_{iso(day.period.start, 'minutes')[:10]}_{number}"


def corrections_of(
    backend: str,
    day: Day,
    number: int,
    *,
    causes: Collection[CauseName] = NAMES,
    now_at: float,
    version: str,
) -> list[LedgerRow]:
    """What is still to be booked of a day, by cause; empty where all is. Their names are told by
    day, ``number`` and cause alone: of two that book at once, a ledger takes each once."""
    wanted = {cause.name: cause for cause in day.causes}
    stem = stem_of(backend, day, number)
    rows: list[LedgerRow] = []
    for name in NAMES:
        cause = wanted.get(name, Cause(name, 0))
        known = day.books.corrected.get(name, Corrected())
        if cause.nano == known.nano or name not in causes:
            continue
        rows.append(
            LedgerRow(
                id=f"{stem}#{name}",
                kind=CORRECTION,
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
