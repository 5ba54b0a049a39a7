"""What each kind of backend adds to the bare exchange of the same bytes.

    python -m benchmarks.adapters [--calls 2000] [--only openai,cog] [--markdown FILE]

The bare exchange is what our HTTP client does with the bytes that the kind sends, to the same
stand-in (``benchmarks/platforms.py``, a process of its own). One call at a time, the two in turn:
the difference of their medians is what the kind adds. Then 1, 10, 50 and 200 calls in flight:
the CPU of this process for each call, which should not grow with them.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import gc
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import uvloop

from adapters.base import Backend
from adapters.http.client import Client, Origin
from benchmarks.platforms import PLATFORMS, answering, apart, backend_of, call_of
from gateway.clock import SystemClock

IN_FLIGHT = (1, 10, 50, 200)
LIMIT_MS = 0.5
"""What a kind may add at the median."""
FLAT = 1.5
"""How much more CPU a call may take with 200 in flight than with one."""
_BEGIN = "<!-- adapter figures: begin, written by python -m benchmarks.adapters --markdown -->"
_END = "<!-- adapter figures: end -->"

Exchange = Callable[[], Awaitable[object]]


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Of one kind. Milliseconds are medians; CPU is microseconds of this process a call."""

    name: str
    raw_ms: float
    kind_ms: float
    cpu_us: dict[int, float]
    """By the number of calls in flight."""

    @property
    def added_ms(self) -> float:
        return self.kind_ms - self.raw_ms

    @property
    def growth(self) -> float:
        counts = sorted(self.cpu_us)
        return self.cpu_us[counts[-1]] / self.cpu_us[counts[0]]


async def latency(exchanges: Sequence[Exchange], calls: int) -> list[float]:
    """The median milliseconds of each, one call at a time, in turn."""
    taken: list[list[float]] = [[] for _ in exchanges]
    for _ in range(calls):
        for exchange, times in zip(exchanges, taken, strict=True):
            begin = time.perf_counter()
            await exchange()
            times.append(time.perf_counter() - begin)
    return [statistics.median(times) * 1e3 for times in taken]


async def cpu(exchange: Exchange, calls: int, in_flight: int) -> float:
    """Microseconds of this process's CPU for each call, ``in_flight`` at a time."""

    async def caller() -> None:
        for _ in range(calls // in_flight):
            await exchange()

    await asyncio.gather(*(exchange() for _ in range(in_flight)))
    gc.collect()
    begin = time.process_time()
    await asyncio.gather(*(caller() for _ in range(in_flight)))
    return (time.process_time() - begin) / (calls // in_flight * in_flight) * 1e6


def exchange_of(backend: Backend, name: str) -> Exchange:
    """Calls of that kind, each with an id of its own."""
    count = iter(range(sys.maxsize))

    async def exchange() -> object:
        return await backend.invoke(call_of(name, f"call-{next(count)}"))

    return exchange


async def bytes_of(name: str) -> tuple[bytes, bytes]:
    """What the kind sends for one call, as a head without its length and a body."""
    async with answering() as (address, counts):
        backend = backend_of(name, address)
        await backend.start()
        try:
            await backend.invoke(call_of(name, "call-0"))
        finally:
            await backend.aclose()
    head, _, body = counts.last[name].partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join(lines) + b"\r\n", body


async def measure(name: str, address: str, calls: int) -> Figures:
    head, body = await bytes_of(name)
    client = Client(Origin(address), SystemClock())
    client.start()
    backend = backend_of(name, address)
    await backend.start()
    try:
        raw, kind = (lambda: client.request(head, body)), exchange_of(backend, name)
        await latency((raw, kind), min(calls, 200))
        raw_ms, kind_ms = await latency((raw, kind), calls)
        cpu_us = {count: await cpu(kind, calls, count) for count in IN_FLIGHT}
    finally:
        await backend.aclose()
        await client.aclose()
    return Figures(name=name, raw_ms=raw_ms, kind_ms=kind_ms, cpu_us=cpu_us)


# --- shown --------------------------------------------------------------------------------------


def table(figures: Sequence[Figures]) -> str:
    columns = ["kind", "raw ms", "call ms", "added ms", *(f"CPU µs at {n}" for n in IN_FLIGHT)]
    lines = [_row([*columns, "200 to 1"]), _row(["---", *["---:"] * (len(columns))])]
    for one in figures:
        times = [f"{value:.3f}" for value in (one.raw_ms, one.kind_ms, one.added_ms)]
        costs = [f"{one.cpu_us[count]:.0f}" for count in IN_FLIGHT]
        lines.append(_row([f"`{one.name}`", *times, *costs, f"{one.growth:.2f}"]))
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def verdicts(figures: Sequence[Figures]) -> list[str]:
    """One line for each target that is missed."""
    slow = [
        f"{one.name} adds {one.added_ms:.3f} ms, more than {LIMIT_MS} ms"
        for one in figures
        if one.added_ms > LIMIT_MS
    ]
    steep = [
        f"{one.name} takes {one.growth:.2f} times the CPU with 200 calls in flight"
        for one in figures
        if one.growth > FLAT
    ]
    return slow + steep


def write(page: Path, text: str) -> None:
    """Puts the figures between their marks. Raises ValueError where a mark is missing."""
    before, begin, rest = page.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{page} has no place for the figures")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


async def run(names: Sequence[str], calls: int) -> list[Figures]:
    with apart() as address:
        return [await measure(name, address, calls) for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=2000, help="of each measurement")
    parser.add_argument("--only", default=",".join(PLATFORMS), help="kinds, by commas")
    parser.add_argument("--markdown", type=Path, help="the page whose figures are written anew")
    options = parser.parse_args(arguments)
    figures = uvloop.run(run(options.only.split(","), options.calls))
    shown = table(figures)
    print(shown)
    missed = verdicts(figures)
    print("\n".join(missed) if missed else "every target is met")
    if options.markdown is not None:
        date = datetime.datetime.now(datetime.UTC).date()
        write(options.markdown, f"{date}; {options.calls} calls of each.\n\n{shown}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
