"""What one admission and its settlement cost in CPU, on each shared store.

    python -m benchmarks.shared_store [--calls 20000] [--redis]

Prints microseconds of this process's own CPU for each admit and settle together; ``--redis``
starts a ``redis-server`` of its own on a free port of 127.0.0.1 and ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import uvloop

from gateway.clock import SystemClock
from gateway.storage.base import Admitted, Claim, SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.redis.store import RedisSharedStore
from tests.redis_server import RedisServer

_HUGE = 10**12
_OFTEN = 10**6


def claims_for(count: int, user: int) -> tuple[Claim, ...]:
    """``count`` claims as a plan makes them: rates, concurrency, device time and money."""
    return (
        Claim(f"user:{user}", "requests", "minute", _OFTEN, 1),
        Claim(f"user:{user}", "concurrent", "", _HUGE, 1),
        Claim(f"user:{user}", "gpu_us", "day", _HUGE, 1000),
        Claim(f"user:{user}", "nano_usd", "month", _HUGE, 1000),
        Claim(f"key:{user}", "requests", "minute", _OFTEN, 1),
        Claim(f"key:{user}", "nano_usd", "month", _HUGE, 1000),
        Claim("plan:free", "requests", "minute", _OFTEN, 1),
        Claim("gateway", "nano_usd", "month", _HUGE, 1000),
    )[:count]


async def measure(store: SharedStore, calls: int, claims: int, together: int = 32) -> float:
    """Microseconds of CPU for each admit and settle, with ``together`` calls in flight."""
    sets = [claims_for(claims, user) for user in range(100)]

    async def caller(number: int) -> None:
        for step in range(calls // together):
            mine = sets[(number + step) % len(sets)]
            name = f"call-{number}-{step}"
            assert isinstance(await store.admit(name, mine, 600.0), Admitted)
            await store.settle(name, mine, {"nano_usd": 500, "gpu_us": 500})

    begin = time.process_time()
    await asyncio.gather(*(caller(number) for number in range(together)))
    return (time.process_time() - begin) / (calls // together * together) * 1e6


async def report(name: str, store: SharedStore, calls: int) -> None:
    await measure(store, min(calls, 1000), 8)
    for claims in (4, 8):
        cost = await measure(store, calls, claims)
        print(f"{name:8} {claims} claims  {cost:7.1f} µs of CPU for admit + settle")
    await store.aclose()


async def main(calls: int, redis: bool) -> None:
    await report("memory", MemorySharedStore(SystemClock()), calls)
    if redis:
        with RedisServer() as server:
            await report("redis", RedisSharedStore(server.url, 1.0), calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--redis", action="store_true")
    chosen = parser.parse_args()
    uvloop.run(main(chosen.calls, chosen.redis))
