"""Books what bills have and the ledger has not, of whole days that have ended: each cause of each
day once, whoever else books the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import msgspec

from gateway.bills.causes import CauseName
from gateway.bills.comparison import CORRECTION, Comparison, Corrected, Day, books_of
from gateway.bills.corrections import NAMES, corrections_of, stem_of
from gateway.storage.base import Ledger
from gateway.storage.queries import UsageQuery


def ended_days(found: Comparison, now_at: float) -> tuple[Day, ...]:
    """Those that may be booked: whole ones that are over."""
    return tuple(day for day in found.days if day.period.is_days and day.period.end <= now_at)


def open_causes(day: Day) -> dict[CauseName, int]:
    """What is not booked of a day, in nano-dollars by cause; none is 0."""
    left: defaultdict[CauseName, int] = defaultdict(int)
    for cause in day.causes:
        left[cause.name] += cause.nano
    for name in NAMES:
        left[name] -= day.books.corrected.get(name, Corrected()).nano
    return {name: left[name] for name in NAMES if left[name]}


async def book(
    found: Comparison,
    ledger: Ledger,
    *,
    now_at: float,
    version: str,
    causes: Collection[CauseName] = NAMES,
) -> int:
    """Books what is open of the days that have ended, as rows of their own, of these causes alone.
    Returns how many. Raises StorageUnavailable."""
    booked = 0
    for day in ended_days(found, now_at):
        number = await _next_number(found.backend, day, ledger)
        now = await _as_booked(found.backend, day, ledger)
        rows = corrections_of(
            found.backend, now, number, causes=causes, now_at=now_at, version=version
        )
        if rows:
            await ledger.settle(rows)
        booked += len(rows)
    return booked


async def _next_number(backend: str, day: Day, ledger: Ledger) -> int:
    number = 0
    while await ledger.rows(stem_of(backend, day, number)):
        number += 1
    return number


async def _as_booked(backend: str, day: Day, ledger: Ledger) -> Day:
    """With the corrections that are booked by now. They are read after the number was found free:
    whoever has used it since has written the same names, which the ledger takes once."""
    query = UsageQuery(
        since=day.period.start,
        until=day.period.end,
        group_by=("kind", "reason"),
        where={"backend": backend, "kind": CORRECTION},
    )
    corrected = books_of((await ledger.usage(query)).rows).corrected
    books = msgspec.structs.replace(day.books, corrected=corrected)
    return msgspec.structs.replace(day, books=books)
