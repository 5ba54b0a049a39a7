"""What a large body costs between a caller and its worker, through the socket and through memory.

    python -m benchmarks.runtime.bodies
    python -m benchmarks.runtime.bodies --sizes 65536,1048576 --seconds 2

Two connections to one worker take turns call by call: one shares memory with it, the other does
not, as with a worker on another machine. Prints the median of a lone call's time, and the CPU of
both processes. ``bytes`` gives back what came, ``numpy`` and ``torch`` make an array of it and
give one back, ``json`` does the same with numbers in JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import uvloop

from benchmarks.gateway.table import plain
from benchmarks.runtime.contenders import short_folder
from benchmarks.runtime.framed import APPS, START_S
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.managed import ManagedWorkers, supervisor_arguments
from local_runtime.client.workers import Workers
from local_runtime.clock import SystemClock
from local_runtime.protocol.events import CONTENT_TYPE, Done
from local_runtime.protocol.sockets import dial
from local_runtime.protocol.wire import MAX_FRAME

KINDS = ("bytes", "numpy", "torch", "json")
SIZES = (1024, 64 * 1024, 1024 * 1024, 8 * 1024 * 1024)
COLUMNS = ("body", "KiB", "socket ms", "memory ms", "ratio", "socket CPU µs", "memory CPU µs")
BINARY = ((CONTENT_TYPE, "application/octet-stream"),)


class Costs(msgspec.Struct, frozen=True):
    """Of one call: the time until its answer, and the CPU of caller and worker."""

    ms: float
    cpu_us: float


async def measure(
    kinds: Sequence[str], sizes: Sequence[int], seconds: float, folder: str
) -> list[tuple[str, ...]]:
    """The table's rows."""
    clock = SystemClock()
    arguments = supervisor_arguments(str(APPS / "bodies.py"), {"workers": 1, "threads": 1})
    managed = ManagedWorkers(arguments, clock, sockets=folder)
    workers = Workers("bench", managed, MAX_FRAME, clock)
    workers.start()
    try:
        end = time.monotonic() + START_S
        while not workers.slots:
            if time.monotonic() > end:
                raise TimeoutError(f"the worker was not ready: {workers.detail}")
            await asyncio.sleep(0.02)
        path = os.path.join(folder, "worker-0.sock")
        links = [await _connect(path, shares) for shares in (False, True)]
        return [await _row(kind, size, links, seconds) for kind in kinds for size in sizes]
    finally:
        await workers.aclose()


async def _connect(path: str, shares: bool) -> WorkerConnection:
    link = WorkerConnection("bench", lambda one: None, MAX_FRAME)
    await dial(path, lambda: link.socket, take_memory=link.take_memory if shares else None)
    while not link.ready:
        await asyncio.sleep(0.01)
    return link


async def _row(
    kind: str, size: int, links: list[WorkerConnection], seconds: float
) -> tuple[str, ...]:
    body, headers = _body(kind, size), () if kind == "json" else BINARY
    seen: list[list[Costs]] = [[], []]
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(seen[1]) < 5:
        for link, costs in zip(links, seen, strict=True):
            costs.append(await _block(link, f"/{kind}", body, headers))
    socket, memory = (
        Costs(statistics.median(c.ms for c in each), statistics.median(c.cpu_us for c in each))
        for each in (seen[0][1:], seen[1][1:])
    )
    ratio = statistics.median(a.ms / b.ms for a, b in zip(*seen, strict=True))
    return (
        kind,
        f"{len(body) / 1024:,.0f}",
        f"{socket.ms:.3f}",
        f"{memory.ms:.3f}",
        f"{ratio:.2f}",
        f"{socket.cpu_us:,.0f}",
        f"{memory.cpu_us:,.0f}",
    )


async def _block(
    link: WorkerConnection, route: str, body: bytes, headers: tuple[tuple[str, str], ...]
) -> Costs:
    count = max(1, min(50, 4 * 1024 * 1024 // len(body)))
    cpu, begun = _cpu_s(), time.perf_counter()
    for _ in range(count):
        call = link.run("bench", route, body, False, float("inf"), headers=headers)
        await call.wait()
        assert isinstance(call.answer, Done), call.answer
        assert call.answer.ok, call.answer.message
    spent = time.perf_counter() - begun
    return Costs(spent / count * 1e3, (_cpu_s() - cpu) / count * 1e6)


_WORKER: list[int] = []


def _cpu_s() -> float:
    """Of this process's and the worker's threads, by the scheduler's own nanoseconds."""
    if not _WORKER:
        from benchmarks.gateway.accounting import family

        _WORKER.extend(family(os.getpid(), apart="local_runtime.worker").apart)
    total = 0
    for pid in (os.getpid(), *_WORKER):
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def _body(kind: str, size: int) -> bytes:
    if kind != "json":
        return os.urandom(size)
    number = "0.1234567"
    return json.dumps({"x": [float(number)] * max(1, size // (len(number) + 2))}).encode()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runtime.bodies",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    with short_folder() as folder:
        sockets = os.path.join(folder, "sockets")
        rows = uvloop.run(measure(given.kinds.split(","), sizes, given.seconds, sockets))
    print("\n".join(plain(COLUMNS, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
