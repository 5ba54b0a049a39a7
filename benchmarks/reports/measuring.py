"""How long a start and reports take, the memory that they need, and what calls wait meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.ledger import open_and_settle
from benchmarks.reports.questions import REPORTS, at, restored
from gateway.storage.base import Ledger


async def start(ledger: Ledger, name: str) -> None:
    """What a gateway's start asks the ledger: every window of its limits, the volume."""
    began, cpu = time.perf_counter(), time.process_time()
    sums = await restored(ledger)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    print(f"a start of {name}: {took:.2f} s, {used:.2f} s of CPU here ({sums:,} sums)", flush=True)


@contextlib.asynccontextmanager
async def calls(ledger: Ledger, delays: list[float]) -> AsyncIterator[None]:
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


async def reports(ledger: Ledger, now: float, *, seconds: float) -> None:
    """Each report by itself, then what calls wait without reports and with one after the other, for
    ``seconds`` each; 0: that is left out, and each is made but once."""
    before, times = _peak_mib(), 3 if seconds else 1
    for name, query in REPORTS.items():
        took, cpu = [], time.process_time()
        for _ in range(times):
            began = time.perf_counter()
            report = await ledger.usage(at(query, now))
            took.append(time.perf_counter() - began)
        used = (time.process_time() - cpu) / times
        print(
            f"  {name:34} {min(took):6.2f} s  {used:6.2f} s of CPU here"
            f"  {len(report.rows):6} groups  +{_peak_mib() - before:.0f} MiB",
            flush=True,
        )
    if seconds:
        await _calls_without(ledger, seconds)
        await _calls_with(ledger, now, seconds)
        await _calls_without(ledger, seconds)


async def _calls_without(ledger: Ledger, seconds: float) -> None:
    delays: list[float] = []
    async with calls(ledger, delays):
        await asyncio.sleep(seconds)
    print(f"calls without reports: {_told(delays)}", flush=True)


async def _calls_with(ledger: Ledger, now: float, seconds: float) -> None:
    delays: list[float] = []
    made, end = 0, time.monotonic() + 2 * seconds
    async with calls(ledger, delays):
        while time.monotonic() < end:
            for query in REPORTS.values():
                await ledger.usage(at(query, now))
                made += 1
                if time.monotonic() >= end:
                    break
    print(f"calls during {made} reports: {_told(delays)}", flush=True)


def _told(delays: list[float]) -> str:
    ordered = sorted(delays)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1e3 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms of {len(ordered)}"


def _peak_mib() -> float:
    """The memory of its own; the file's pages that are mapped are not counted."""
    status = Path("/proc/self/status").read_text()
    if "RssAnon" in status:
        return int(status.split("RssAnon:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
