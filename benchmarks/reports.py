"""How long reports of a large ledger take: ``python -m benchmarks.reports --rows 10000000``.

Makes the ledger (a call every few seconds for a year, of 200 users, 4 models and 3 backends, by the
hours of a working day), rolls it up, and then measures: a start, reports by several dimensions with
the memory that they take, and what calls wait for the ledger meanwhile. The file is kept with
``--file PATH`` and used again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvloop

from benchmarks.ledger import open_and_settle
from gateway.storage.queries import UsageQuery
from gateway.storage.rows import COLUMNS
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.rollups import roll_up
from gateway.storage.sqlite.rows import connect
from gateway.types import MICRO

_YEAR_S = 365 * 86_400
_CHUNK = 200_000
_REPORTS = {
    "by user": UsageQuery(),
    "by user, model, day": UsageQuery(group_by=("user", "model", "day"), limit=1_000),
    "by backend, month": UsageQuery(group_by=("backend", "month")),
    "by tag:team": UsageQuery(group_by=("tag:team",)),
    "by hour of week, in Berlin": UsageQuery(group_by=("hour_of_week",), zone="Europe/Berlin"),
    "by day, in Berlin": UsageQuery(group_by=("day",), zone="Europe/Berlin"),
    "by model, with percentiles": UsageQuery(group_by=("model",), durations=True),
    "one user by day": UsageQuery(group_by=("day",), where={"user": "user-7"}),
    "by user, 30 days": UsageQuery(since=time.time() - 30 * 86_400),
}


def fill(path: Path, rows: int) -> None:
    """Rows of the year that ends now, in the order in which they began."""
    began = (time.time() - _YEAR_S) * MICRO
    step = _YEAR_S * MICRO / rows
    values = {
        "id": "printf('req_%016x', n)",
        "kind": "CASE WHEN n % 50 = 0 THEN 'idle' WHEN n % 37 = 0 THEN 'attempt' ELSE 'call' END",
        "outcome": "CASE WHEN n % 40 = 1 THEN 'error' ELSE 'success' END",
        "started_at": f"CAST({began} + n * {step} AS INTEGER)",
        "ended_at": f"CAST({began} + n * {step} AS INTEGER) + 20000 + abs(random()) % 4000000",
        "key_id": "'key_' || u",
        "user": "'user-' || u",
        "plan": "'free'",
        "tags": """'{"team":"team-' || (u % 7) || '"}'""",
        "model": "'model-' || (u % 4)",
        "task": "'chat'",
        "backend": "'backend-' || (n % 3)",
        "reason": "CASE WHEN n % 9 = 0 THEN 'spill' ELSE 'cheapest' END",
        "route": "'default'",
        "policy": "'0123456789ab'",
        "status": "200",
        "error": "CASE WHEN n % 40 = 1 THEN 'server_error' ELSE '' END",
        "stream": "0",
        "input_tokens": "abs(random()) % 3000",
        "output_tokens": "abs(random()) % 500",
        "queue_us": "abs(random()) % 50000",
        "cold_us": "CASE WHEN n % 100 = 3 THEN 4000000 ELSE 0 END",
        "exec_us": "abs(random()) % 4000000",
        "gpu_us": "abs(random()) % 4000000",
        "hold_nano": "1000000",
        "cost_nano": "abs(random()) % 1000000",
        "cost_basis": "'reported'",
        "price": "'price-' || (n % 3)",
        "worker": "'w'",
        "history": "''",
    }
    select = ", ".join(values[name] for name in COLUMNS)
    with contextlib.closing(connect(path)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        for first in range(0, rows, _CHUNK):
            connection.execute(
                f"""WITH RECURSIVE numbers(n) AS (SELECT {first} UNION ALL
                SELECT n + 1 FROM numbers WHERE n + 1 < {min(first + _CHUNK, rows)})
                INSERT INTO entries ({", ".join(COLUMNS)})
                SELECT {select} FROM (SELECT n, (n * 2654435761 / 65536) % 200 AS u FROM numbers)"""
            )


def rolled_up(path: Path) -> None:
    with contextlib.closing(connect(path)) as connection:
        began, cpu = time.perf_counter(), time.process_time()
        rows = roll_up(connection, lambda: True)
        took = time.perf_counter() - began
        if rows:
            cpu_us = (time.process_time() - cpu) / rows * 1e6
            print(f"rolled up {rows:,} rows in {took:.0f} s: {cpu_us:.1f} µs of CPU a row")
        for table in ("rollup_groups", "rollups"):
            [count] = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
            print(f"  {table}: {count:,}")


async def start(path: Path) -> None:
    """What a gateway's start asks the ledger: opened, every window of its limits, the volume."""
    began = time.perf_counter()
    ledger = SqliteLedger(path)
    now = time.time()
    for window in (1, 60, 3_600, 86_400, 7 * 86_400, 31 * 86_400):
        await ledger.spent_since(now - window)
    await ledger.take_abandoned()
    await ledger.calls_since(now - 86_400)
    print(f"a start: {time.perf_counter() - began:.2f} s")
    await ledger.aclose()


@contextlib.asynccontextmanager
async def calls(ledger: SqliteLedger, delays: list[float]) -> AsyncIterator[None]:
    """Calls that are opened and settled, 8 at a time and some 500 a second, meanwhile."""

    async def caller(number: int) -> None:
        while True:
            began = time.perf_counter()
            await open_and_settle(ledger, number)
            delays.append(time.perf_counter() - began)
            await asyncio.sleep(0.016)

    callers = [asyncio.create_task(caller(number)) for number in range(8)]
    try:
        yield
    finally:
        for each in callers:
            each.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def measure(path: Path) -> None:
    ledger = SqliteLedger(path)
    alone: list[float] = []
    async with calls(ledger, alone):
        await asyncio.sleep(5.0)
    print(f"calls alone: {_told(alone)}")
    before = _peak_mib()
    for name, query in _REPORTS.items():
        delays: list[float] = []
        took = []
        async with calls(ledger, delays):
            for _ in range(3):
                began = time.perf_counter()
                report = await ledger.usage(query)
                took.append(time.perf_counter() - began)
        print(
            f"  {name:28} {sorted(took)[1]:6.2f} s  {len(report.rows):6} groups  "
            f"calls meanwhile: {_told(delays)}  +{_peak_mib() - before:.0f} MiB"
        )
    await ledger.aclose()


def _told(delays: list[float]) -> str:
    ordered = sorted(delays)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(ordered)}"


def _peak_mib() -> float:
    """The most memory of its own; the file's pages that are mapped are not counted."""
    status = Path("/proc/self/status").read_text()
    if "RssAnon" in status:
        return int(status.split("RssAnon:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def place(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "ledger.db"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--file", type=Path, help="of the ledger; kept, and used where it is there")
    options = parser.parse_args(arguments)
    with place(options.file) as path:
        if not path.exists():
            began = time.perf_counter()
            fill(path, options.rows)
            print(f"made {options.rows:,} rows in {time.perf_counter() - began:.0f} s")
        uvloop.run(start(path))
        rolled_up(path)
        uvloop.run(start(path))
        uvloop.run(measure(path))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except sqlite3.Error as error:
        sys.exit(str(error))
