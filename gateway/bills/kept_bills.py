"""Platforms' bills as they were told last, kept in a small SQLite file that all processes of a
gateway share: a page shows them without asking a platform."""

from __future__ import annotations

import itertools
import logging
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from adapters.types import Bill
from gateway.bills.periods import DAY, Period
from gateway.storage.small_files import SmallFile

log = logging.getLogger("spillgate")

FILE = "bills.db"
PLATFORM = "the platform"
"""The source of a bill that its platform told; that of another is its file's name."""
KEPT_DAYS = 400
_SCHEMA = """
CREATE TABLE IF NOT EXISTS bills (
    backend TEXT NOT NULL,
    start REAL NOT NULL,
    "end" REAL NOT NULL,
    told BLOB NOT NULL,
    PRIMARY KEY (backend, start)
) STRICT, WITHOUT ROWID
"""
_TOUCHING = 'SELECT backend, start, told FROM bills WHERE start < ? AND "end" > ? ORDER BY start'


class KeptBill(msgspec.Struct, frozen=True, kw_only=True):
    """A bill of whole days (UTC): who told it, and when (seconds since the epoch)."""

    bill: Bill
    source: str
    at: float


def whole_days(kept: KeptBill) -> KeptBill:
    """The same for the days that it and its lines lie in."""
    around = Period(kept.bill.start, kept.bill.end).around(kept.bill.lines)
    start, end = math.floor(around.start / DAY) * DAY, math.ceil(around.end / DAY) * DAY
    bill = msgspec.structs.replace(kept.bill, start=float(start), end=float(end))
    return msgspec.structs.replace(kept, bill=bill)


def without(kept: KeptBill, start: float, end: float) -> Iterator[KeptBill]:
    """What is left of it where a later bill tells of ``start`` to ``end``: at most a part before
    and a part after. A line that reaches into the later one is left out with all its days."""
    for left, right in ((kept.bill.start, start), (end, kept.bill.end)):
        bill = _between(kept.bill, left, right)
        if bill is not None:
            yield msgspec.structs.replace(kept, bill=bill)


def of_ended_days(kept: KeptBill) -> KeptBill | None:
    """Those days of it that were over when it was told: of others the bill can have grown since."""
    bill = _between(kept.bill, kept.bill.start, min(kept.bill.end, _down(kept.at)))
    return None if bill is None else msgspec.structs.replace(kept, bill=bill)


def _between(bill: Bill, start: float, end: float) -> Bill | None:
    lines = [one for one in bill.lines if one.start < end and one.end > start]
    while start < end:
        cut = [one for one in lines if one.start < start or one.end > end]
        if not cut:
            return msgspec.structs.replace(bill, start=start, end=end, lines=tuple(lines))
        start = max(start, *(_up(one.end) for one in cut if one.start < start), start)
        end = min(end, *(_down(one.start) for one in cut if one.end > end), end)
        lines = [one for one in lines if one not in cut and one.start < end and one.end > start]
    return None


def _up(at: float) -> float:
    return float(math.ceil(at / DAY) * DAY)


def _down(at: float) -> float:
    return float(math.floor(at / DAY) * DAY)


def joined(kept: Iterable[KeptBill]) -> list[Bill]:
    """One bill for all days that follow one another, oldest first."""
    runs: list[list[Bill]] = []
    for bill in sorted((one.bill for one in kept), key=lambda bill: bill.start):
        last = runs[-1][-1] if runs else None
        if last is not None and (last.end, last.of_runs) == (bill.start, bill.of_runs):
            runs[-1].append(bill)
        else:
            runs.append([bill])
    return [_one(run) for run in runs]


def _one(run: Sequence[Bill]) -> Bill:
    lines = tuple(itertools.chain.from_iterable(bill.lines for bill in run))
    return msgspec.structs.replace(run[0], end=run[-1].end, lines=lines)


class KeptBills:
    """In the file ``path``, which the first bill makes. Each method takes some milliseconds of a
    thread, and raises StorageUnavailable where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self._file = SmallFile(path, "bills", _SCHEMA)

    def put(self, backend: str, kept: KeptBill) -> None:
        """From now on its days are told by this bill, whatever was known of them before. A row of
        those days that cannot be read is dropped."""
        new = whole_days(kept)
        start, end = new.bill.start, new.bill.end
        with self._file.opened(create=True) as file:
            file.execute("BEGIN IMMEDIATE")
            for name, begins, told in file.execute(_TOUCHING, (end, start)).fetchall():
                if name != backend:
                    continue
                file.execute("DELETE FROM bills WHERE backend = ? AND start = ?", (name, begins))
                old = _decoded(name, told)
                for part in () if old is None else without(old, start, end):
                    _write(file, backend, part)
            _write(file, backend, new)
            oldest = kept.at - KEPT_DAYS * DAY
            file.execute('DELETE FROM bills WHERE "end" <= ? AND start < ?', (oldest, start))
            file.execute("COMMIT")

    def within(self, period: Period) -> dict[str, list[KeptBill]]:
        """Those that touch the period, by backend, oldest first, without what cannot be read."""
        if not self._file.exists():
            return {}
        with self._file.opened() as file:
            rows = file.execute(_TOUCHING, (period.end, period.start)).fetchall()
        found: defaultdict[str, list[KeptBill]] = defaultdict(list)
        for backend, _, told in rows:
            kept = _decoded(backend, told)
            if kept is not None:
                found[backend].append(kept)
        return dict(found)


def _decoded(backend: str, told: bytes) -> KeptBill | None:
    try:
        return msgspec.json.decode(told, type=KeptBill)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s: a kept bill cannot be read: %s", backend, error)
        return None


def _write(file: sqlite3.Connection, backend: str, kept: KeptBill) -> None:
    row = (backend, kept.bill.start, kept.bill.end, msgspec.json.encode(kept))
    file.execute('INSERT INTO bills (backend, start, "end", told) VALUES (?, ?, ?, ?)', row)
