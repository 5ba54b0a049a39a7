"""How long reports of a large ledger take: ``python -m benchmarks.reports --rows 10000000``.

Makes the ledger, rolls it up, and then measures a start, reports by all kinds of dimensions, zones
and times with the memory that they take, and what calls wait for the ledger meanwhile, and for
counters that are filled from it. ``--check``
compares each report with that of the rows alone. The file is kept with ``--file PATH`` and used
again; ``--postgres`` copies it into a server of its own, which ends with the command.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from benchmarks.ledger import in_postgres
from benchmarks.reports.endings import endings
from benchmarks.reports.measuring import reports, start
from benchmarks.reports.questions import REPORTS, at, from_rows, same
from benchmarks.reports.rows import copy, fill
from gateway.storage.base import Ledger
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.rollups import roll_up
from gateway.storage.sqlite.rows import connect
from gateway.types import MICRO
from tests.postgres_server import PostgresServer

_SERVER = {"shared_buffers": "256MB", "max_wal_size": "4GB", "fsync": "off"}


def rolled_up(path: Path) -> None:
    """Rolls up what waits in a file."""
    with contextlib.closing(connect(path)) as connection:
        began, cpu = time.perf_counter(), time.process_time()
        rows = roll_up(connection, lambda: True)
        took = time.perf_counter() - began
        if rows:
            cpu_us = (time.process_time() - cpu) / rows * 1e6
            print(f"rolled up {rows:,} rows in {took:.0f} s: {cpu_us:.1f} µs of CPU a row")


def last_call(path: Path) -> float:
    """When the newest row began, in seconds since the epoch."""
    with contextlib.closing(connect(path)) as connection:
        [last] = connection.execute("SELECT MAX(started_at) FROM entries").fetchone()
    return float(last) / MICRO


class Asked(msgspec.Struct, frozen=True):
    """What is asked of a ledger."""

    path: Path
    """The file whose rows it has."""
    check: bool
    endings: bool
    """And not reports."""
    seconds: float


async def in_file(asked: Asked) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        empty = SqliteLedger(Path(folder) / "ledger.db")
        await start(empty, "an empty ledger")
        await empty.aclose()
    ledger = SqliteLedger(asked.path)
    try:
        return await _measured(ledger, asked)
    finally:
        await ledger.aclose()


async def in_server(server: PostgresServer, folder: Path, asked: Asked) -> bool:
    empty = in_postgres(server, folder, "empty")
    await start(empty, "an empty ledger")
    await empty.aclose()
    database = server.empty()
    ledger = PostgresLedger(database, LedgerOwner(folder / "full"), read_timeout_s=600.0)
    try:
        await ledger.open_rows()  # makes the tables
        began = time.perf_counter()
        await copy(asked.path, database)
        print(f"copied in {time.perf_counter() - began:.0f} s", flush=True)
        began, rows = time.perf_counter(), 0
        while added := await ledger.roll_up():
            rows += added
        print(f"rolled up {rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True)
        return await _measured(ledger, asked)
    finally:
        await ledger.aclose()


async def _measured(ledger: SqliteLedger | PostgresLedger, asked: Asked) -> bool:
    """Whether every report is that of the rows, where it is to be checked."""
    now = last_call(asked.path)
    await _summed_up(ledger)
    await start(ledger, "this one")
    wrong = await _differing(ledger, asked.path, now) if asked.check else []
    if asked.check:
        print(f"other than the rows: {', '.join(wrong)}" if wrong else "every report is the rows'")
    await endings(ledger, now)
    if not asked.endings:
        await reports(ledger, now, seconds=asked.seconds)
    return not wrong


async def _summed_up(ledger: SqliteLedger | PostgresLedger) -> None:
    began, count = time.perf_counter(), 0
    while await ledger.sum_up_four_weeks():
        count += 1
    took = time.perf_counter() - began
    print(f"summed up four weeks that are over {count} times in {took:.0f} s", flush=True)


async def _differing(ledger: Ledger, path: Path, now: float) -> list[str]:
    with contextlib.closing(connect(path)) as connection:
        return [
            name
            for name, query in REPORTS.items()
            if not same(await ledger.usage(at(query, now)), from_rows(connection, at(query, now)))
        ]


@contextlib.contextmanager
def place(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "ledger.db"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--file", type=Path, help="of the ledger; kept, and used where it is there")
    parser.add_argument("--postgres", action="store_true", help="the same rows in PostgreSQL")
    parser.add_argument("--check", action="store_true", help="compares reports with the rows")
    parser.add_argument(
        "--endings", action="store_true", help="only how long calls that end wait for a fill"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long calls are measured at a time"
    )
    options = parser.parse_args(arguments)
    with place(options.file) as path, tempfile.TemporaryDirectory() as folder:
        if not path.exists():
            began = time.perf_counter()
            fill(path, options.rows)
            print(f"made {options.rows:,} rows in {time.perf_counter() - began:.0f} s", flush=True)
        asked = Asked(path, options.check, options.endings, options.seconds)
        if options.postgres:
            with PostgresServer(_SERVER) as server:
                right = asyncio.run(in_server(server, Path(folder), asked))
        else:
            rolled_up(path)
            right = uvloop.run(in_file(asked))
        return 0 if right else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except sqlite3.Error as error:
        sys.exit(str(error))
