"""What the runtime adds to a bare loop around the model, as a process of its own that prints JSON.

    python -m benchmarks.runtime.framed bare --seconds 3 --core 1
    python -m benchmarks.runtime.framed saturated --seconds 3 --core 1
    python -m benchmarks.runtime.framed unloaded --url http://127.0.0.1:8000/one

``bare`` and ``saturated`` run the heavy model at full batches: the one calls it in a loop, the
other asks a worker over its framed socket for more than it can do. In both the thread that runs
the model has a core for itself, which stands for the device; all else has the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from benchmarks.gateway.accounting import family
from benchmarks.gateway.latency import Connection
from benchmarks.gateway.processes import ROOT
from benchmarks.gateway.target import Target
from benchmarks.runtime.apps.batching import HEAVY_BATCH
from benchmarks.runtime.apps.payload import sample
from local_runtime.client.connection import WorkerConnection
from local_runtime.client.managed import ManagedWorkers, supervisor_arguments
from local_runtime.client.workers import Workers
from local_runtime.clock import SystemClock
from local_runtime.protocol.events import Done
from local_runtime.protocol.wire import MAX_FRAME

IN_FLIGHT = 96
"""Calls at a time: three batches, so that the next is always there."""
START_S = 60.0
BODY = json.dumps(sample()).encode()
APPS = ROOT / "benchmarks" / "runtime" / "apps"


# --- a bare loop ----------------------------------------------------------------------------------


def bare(seconds: float, core: int) -> dict[str, float]:
    """Items a second, and the device's time for one."""
    from benchmarks.runtime.apps.mlp import HEAVY, build, infer

    os.sched_setaffinity(0, {core})
    model, rows = build(HEAVY), [sample()["x"]] * HEAVY_BATCH
    infer(model, rows)
    stretch, batches = Stretch(os.getpid()), 0
    while stretch.seconds < seconds:
        infer(model, rows)
        batches += 1
    return stretch.rates(batches * HEAVY_BATCH)


class Stretch:
    """A stretch of time in the life of a process's main thread, which stands for the device."""

    def __init__(self, pid: int) -> None:
        self._file = Path(f"/proc/{pid}/task/{pid}/schedstat")
        self._begun, self._waited = time.perf_counter(), self._waiting()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def rates(self, items: int) -> dict[str, float]:
        """``device_us`` leaves out the time in which the thread could have run and other processes
        of the machine had its core (proc(5), schedstat): that is neither's fault."""
        spent, waited = self.seconds, self._waiting() - self._waited
        return {"per_second": items / spent, "device_us": (spent - waited) * 1e6 / max(1, items)}

    def _waiting(self) -> float:
        return int(self._file.read_text().split()[1]) / 1e9


# --- a worker that has more to do than it can -----------------------------------------------------


async def saturated(seconds: float, core: int) -> dict[str, float]:
    """Items a second, and the device's time for one, pauses between batches included."""
    workers = await _started(APPS / "heavy.py")
    try:
        device = _give_the_device_a_core(core)
        link = workers.connections[0]
        counts = [0]
        tasks = [asyncio.create_task(_ask_on(link, counts)) for _ in range(IN_FLIGHT)]
        await asyncio.sleep(1.0)
        stretch, before = Stretch(device), counts[0]
        await asyncio.sleep(seconds)
        rates = stretch.rates(counts[0] - before)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return rates
    finally:
        await workers.aclose()


async def _started(app: Path) -> Workers:
    arguments = supervisor_arguments(str(app), {"workers": 1, "threads": 1})
    clock = SystemClock()
    workers = Workers("bench", ManagedWorkers(arguments, clock), MAX_FRAME, clock)
    workers.start()
    end = time.monotonic() + START_S
    while not workers.slots:
        if time.monotonic() > end:
            raise TimeoutError(f"the worker of {app.name} was not ready: {workers.detail}")
        await asyncio.sleep(0.02)
    return workers


def _give_the_device_a_core(core: int) -> int:
    """The main thread of the worker runs the model; its id, returned, is that of the process."""
    others = os.sched_getaffinity(0) - {core} or {core}
    everyone = family(os.getpid(), apart="local_runtime.worker")
    for pid in everyone.own | everyone.apart:
        for entry in Path(f"/proc/{pid}/task").iterdir():
            device = pid in everyone.apart and int(entry.name) == pid
            os.sched_setaffinity(int(entry.name), {core} if device else others)
    return min(everyone.apart)


async def _ask_on(link: WorkerConnection, counts: list[int]) -> None:
    while True:
        await _ask(link, "/predict")
        counts[0] += 1


async def _ask(link: WorkerConnection, route: str) -> None:
    entry = link.run("bench", route, BODY, False, float("inf"))
    while entry.answer is None:
        await entry.wait()
    assert isinstance(entry.answer, Done), entry.answer
    assert entry.answer.ok, entry.answer.message


# --- a worker that has nothing else to do ---------------------------------------------------------


async def unloaded(url: str, blocks: int, size: int) -> dict[str, float]:
    """Milliseconds at the median of a bare call, and what both ways to a worker add to it.

    The three take turns in blocks: whatever the machine does falls on all of them.
    """
    from benchmarks.runtime.apps.mlp import build, infer

    model, row = build(), sample()["x"]
    workers = await _started(APPS / "ours.py")
    connection = Connection(_OneRoute(url=url))
    seen: dict[str, list[float]] = {"bare": [], "framed": [], "http": []}
    try:
        for _ in range(blocks):
            seen["bare"] += [_timed(lambda: infer(model, [row])) for _ in range(size)][size // 10 :]
            framed = [await _framed(workers.connections[0]) for _ in range(size)]
            seen["framed"] += framed[size // 10 :]
            seen["http"] += [connection.ask() for _ in range(size)][size // 10 :]
    finally:
        connection.close()
        await workers.aclose()
    medians = {name: statistics.median(times) * 1e3 for name, times in seen.items()}
    return {
        "bare_ms": medians["bare"],
        "framed_ms": medians["framed"] - medians["bare"],
        "http_ms": medians["http"] - medians["bare"],
    }


def _timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


async def _framed(link: WorkerConnection) -> float:
    begun = time.perf_counter()
    await _ask(link, "/one")
    return time.perf_counter() - begun


class _OneRoute(Target, frozen=True, kw_only=True):
    """The stand-alone server's route that does not batch; ``url`` is that of the route."""

    def request(self, *, stream: bool = False) -> bytes:
        parts = urlsplit(self.url)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        kind = f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        return head.encode() + kind.encode() + BODY


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("bare", "saturated", "unloaded"))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--url", default="")
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--block", type=int, default=60)
    given = parser.parse_args()
    if given.what == "bare":
        found = bare(given.seconds, given.core)
    elif given.what == "saturated":
        found = uvloop.run(saturated(given.seconds, given.core))
    else:
        found = uvloop.run(unloaded(given.url, given.blocks, given.block))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
