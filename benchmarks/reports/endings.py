"""How long a call that ends waits while counters are filled from the ledger: what its window has
seen is read beside it, and was read with every end held back before."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from benchmarks.ledger import open_row, settled
from benchmarks.reports.questions import WINDOWS
from gateway.clock import SystemClock
from gateway.metrics import Metrics
from gateway.money.counted import Limited
from gateway.money.settling.settlement import Settler
from gateway.money.settling.windows import Windows
from gateway.storage.base import Ledger
from gateway.storage.memory import MemorySharedStore
from gateway.types import Unit

_UNITS: tuple[Unit, ...] = ("nano_usd", "gpu_us", "tokens", "calls")
_LIMITED = {(kind, unit) for kind in ("key", "user", "gateway", "model") for unit in _UNITS}
_LIMITS: Limited = dict.fromkeys(WINDOWS, _LIMITED)


async def endings(ledger: Ledger, now: float) -> None:
    """While the sums of limits in every window are read, by a ledger that ends ``now``."""
    clock = SystemClock()
    settler = Settler(
        shared=MemorySharedStore(clock), ledger=ledger, clock=clock, metrics=Metrics()
    )
    queries = Windows(_LIMITS, now).queries

    @contextlib.asynccontextmanager
    async def held_back() -> AsyncIterator[None]:
        async with settler.stands_still():
            await ledger.sums(queries, contextlib.nullcontext)
            yield

    await _measured("held back until they are read", settler, held_back)
    await _measured("beside them", settler, lambda: settler.sums(queries))


async def _measured(
    name: str, settler: Settler, read: Callable[[], AbstractAsyncContextManager[object]]
) -> None:
    waits: list[float] = []

    async def end(number: int) -> None:
        row = open_row(number)
        began = time.perf_counter()
        await settler.settle((settled(row, number),), (), opened=False)
        waits.append(time.perf_counter() - began)

    async def end_each(every_s: float) -> None:
        number = 0
        while True:
            await end(number)
            number += 1
            await asyncio.sleep(every_s)

    ending = asyncio.create_task(end_each(0.002))
    await asyncio.sleep(0.2)
    began, before = time.perf_counter(), len(waits)
    async with read():
        took = time.perf_counter() - began
    await asyncio.sleep(0.2)
    ending.cancel()
    await asyncio.wait([ending])
    longest = max(waits[before:], default=0.0)
    print(
        f"calls that end {name}: {longest * 1e3:.0f} ms at most, of sums that took {took:.2f} s",
        flush=True,
    )
