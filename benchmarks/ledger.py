"""What a row of the ledger costs: ``python -m benchmarks.ledger [--postgres]``.

CPU is that of the whole process (both threads, system calls included) less that of making the
rows. A call is an open row and its settlement. The last part fills a ledger and asks it for
reports. ``--postgres`` starts a server of its own that keeps what it acknowledges, and ends it: the
ledger is there then, and the server's CPU is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from gateway.storage.base import Claim, Ledger, LedgerRow
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.queries import UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.postgres_server import PostgresServer

CLAIMS = tuple(
    Claim(scope, unit, "month", 10**12, 10**6)
    for scope in ("key:key_0", "user:user-0", "gateway")
    for unit in ("gpu_us", "nano_usd")
)
Do = Callable[[Ledger, int], Awaitable[None]]
Open = Callable[[str], Ledger]
"""A new ledger, by a name."""


def open_row(number: int) -> LedgerRow:
    return LedgerRow(
        id=f"req_{time.time_ns():x}{secrets.token_hex(6)}",
        started_at=time.time(),
        key_id=f"key_{number % 200}",
        user=f"user-{number % 200}",
        plan="free",
        tags={"team": f"team-{number % 7}"},
        model="minilm",
        task="embeddings",
        backend="home",
        reason="cheapest",
        route="default",
        policy="0123456789ab",
        hold_nano=1_000_000,
        claims=CLAIMS,
    )


def settled(row: LedgerRow, number: int) -> LedgerRow:
    return msgspec.structs.replace(
        row,
        outcome="success",
        ended_at=row.started_at + 0.01,
        status=200,
        input_tokens=123,
        exec_us=8_000,
        gpu_us=4_000,
        cost_nano=number,
        cost_basis="reported",
        price="own-h100",
        worker="home-0",
        claims=(),
    )


async def nothing(_: Ledger, number: int) -> None:
    settled(open_row(number), number)


async def settle_only(ledger: Ledger, number: int) -> None:
    await ledger.settle((settled(open_row(number), number),))


async def open_and_settle(ledger: Ledger, number: int) -> None:
    row = open_row(number)
    await ledger.open(row)
    await ledger.settle((settled(row, number),))


async def load(ledger: Ledger, do: Do, *, callers: int, calls: int) -> tuple[float, ...]:
    """(µs of CPU a call, calls a second, then the 50th and 99th percentile and the longest delay
    in µs)."""
    delays: list[float] = []

    async def caller(first: int) -> None:
        for number in range(first, calls, callers):
            began = time.perf_counter()
            await do(ledger, number)
            delays.append(time.perf_counter() - began)

    before, began_at = time.process_time(), time.perf_counter()
    await asyncio.gather(*(caller(first) for first in range(callers)))
    cpu, lasted = time.process_time() - before, time.perf_counter() - began_at
    delays.sort()
    at = (delays[len(delays) // 2], delays[len(delays) * 99 // 100], delays[-1])
    return (cpu / calls * 1e6, calls / lasted, *(delay * 1e6 for delay in at))


async def writes(open_ledger: Open, calls: int) -> None:
    names = ("callers", "CPU µs", "calls/s", "p50 µs", "p99 µs", "max µs")
    print(" " * 18, " ".join(f"{name:>8}" for name in names))
    for do in (settle_only, open_and_settle):
        for callers in (1, 32, 256):
            ledger = open_ledger(f"{do.__name__}_{callers}")
            await load(ledger, do, callers=32, calls=2_000)
            idle, *_ = await load(ledger, nothing, callers=callers, calls=calls)
            cpu, *delays = await load(ledger, do, callers=callers, calls=calls)
            await ledger.aclose()
            columns = " ".join(f"{each:8.0f}" for each in delays)
            print(f"{do.__name__:18} {callers:8} {cpu - idle:8.1f} {columns}")


async def reports(open_ledger: Open, rows: int) -> None:
    ledger = open_ledger("reports")
    for start in range(0, rows, 500):
        numbers = range(start, min(start + 500, rows))
        await ledger.settle([settled(open_row(number), number) for number in numbers])
    print(f"\n{rows:,} rows")
    month = time.time() - 30 * 86_400
    for label, query in (
        ("by user", UsageQuery()),
        ("by user, model, day", UsageQuery(group_by=("user", "model", "day"))),
        ("by tag:team", UsageQuery(group_by=("tag:team",))),
        ("by user, a month", UsageQuery(since=month)),
        ("one user by day", UsageQuery(group_by=("day",), where={"user": "user-7"})),
    ):
        began = time.perf_counter()
        await ledger.usage(query)
        print(f"  {label:22} {(time.perf_counter() - began) * 1e3:8.0f} ms")
    began = time.perf_counter()
    await ledger.spent_since(month)
    print(f"  {'spent_since a month':22} {(time.perf_counter() - began) * 1e3:8.0f} ms")
    await ledger.aclose()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=0, help="of the ledger that reports are of")
    parser.add_argument("--postgres", action="store_true", help="in PostgreSQL, not in SQLite")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if options.postgres:
            server = stack.enter_context(PostgresServer({"shared_buffers": "128MB"}))
            open_ledger = partial(in_postgres, server, folder)
        else:
            open_ledger = partial(in_sqlite, folder)
        uvloop.run(writes(open_ledger, options.calls))
        if options.rows:
            uvloop.run(reports(open_ledger, options.rows))


def in_sqlite(folder: Path, name: str) -> Ledger:
    return SqliteLedger(folder / f"{name}.db")


def in_postgres(server: PostgresServer, folder: Path, name: str) -> Ledger:
    return PostgresLedger(server.empty(), LedgerOwner(folder / name), timeout_s=60.0)


if __name__ == "__main__":
    main(sys.argv[1:])
