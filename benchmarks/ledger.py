"""What a row of the ledger costs: ``python -m benchmarks.ledger``.

CPU is that of the whole process (both threads, system calls included) less that of making the
rows. A call is an open row and its settlement. The last part fills a ledger and asks it for
reports.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop

from gateway.storage.base import Claim, LedgerRow, UsageQuery
from gateway.storage.sqlite.ledger import SqliteLedger

CLAIMS = tuple(
    Claim(scope, unit, "month", 10**12, 10**6)
    for scope in ("key:key_0", "user:user-0", "gateway")
    for unit in ("gpu_us", "nano_usd")
)
Do = Callable[[SqliteLedger, int], Awaitable[None]]


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


async def nothing(_: SqliteLedger, number: int) -> None:
    settled(open_row(number), number)


async def settle_only(ledger: SqliteLedger, number: int) -> None:
    await ledger.settle((settled(open_row(number), number),))


async def open_and_settle(ledger: SqliteLedger, number: int) -> None:
    row = open_row(number)
    await ledger.open(row)
    await ledger.settle((settled(row, number),))


async def load(ledger: SqliteLedger, do: Do, *, callers: int, calls: int) -> tuple[float, ...]:
    """(µs of CPU a call, then the 50th and 99th percentile and the longest delay in µs)."""
    delays: list[float] = []

    async def caller(first: int) -> None:
        for number in range(first, calls, callers):
            began = time.perf_counter()
            await do(ledger, number)
            delays.append(time.perf_counter() - began)

    before = time.process_time()
    await asyncio.gather(*(caller(first) for first in range(callers)))
    cpu = time.process_time() - before
    delays.sort()
    at = (delays[len(delays) // 2], delays[len(delays) * 99 // 100], delays[-1])
    return (cpu / calls * 1e6, *(delay * 1e6 for delay in at))


async def writes(folder: Path, calls: int) -> None:
    print(f"{'':18} {'callers':>8} {'CPU µs':>8} {'p50 µs':>8} {'p99 µs':>8} {'max µs':>8}")
    for do in (settle_only, open_and_settle):
        for callers in (1, 32):
            ledger = SqliteLedger(folder / f"{do.__name__}-{callers}.db")
            await load(ledger, do, callers=32, calls=2_000)
            idle, *_ = await load(ledger, nothing, callers=callers, calls=calls)
            cpu, *delays = await load(ledger, do, callers=callers, calls=calls)
            await ledger.aclose()
            columns = " ".join(f"{each:8.0f}" for each in delays)
            print(f"{do.__name__:18} {callers:8} {cpu - idle:8.1f} {columns}")


async def reports(folder: Path, rows: int) -> None:
    ledger = SqliteLedger(folder / "reports.db")
    for start in range(0, rows, 500):
        numbers = range(start, min(start + 500, rows))
        await ledger.settle([settled(open_row(number), number) for number in numbers])
    size = (folder / "reports.db").stat().st_size
    print(f"\n{rows:,} rows, {size / rows:.0f} bytes a row")
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
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(writes(Path(folder), options.calls))
        if options.rows:
            uvloop.run(reports(Path(folder), options.rows))


if __name__ == "__main__":
    main(sys.argv[1:])
