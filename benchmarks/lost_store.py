"""Two gateways under load, while their Redis is stopped for some seconds (SIGSTOP): what calls
take, what is spent, and how soon it is over.

    python -m benchmarks.lost_store [--seconds 10] [--rate 100] [--when-lost share]

Prints one line a phase: calls, answers, milliseconds at the 50th and 99th percentile; then what was
spent of a small budget. Needs redis-server.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.e2e.failures.shared_stores import chat, gateway_of, know_each_other, well
from tests.e2e.observing import metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.redis_server import RedisServer
from tests.waiting import until

_CAP = 1.0


class Seen(NamedTuple):
    """One call: when it was sent, what it took, its status."""

    at: float
    took_s: float
    status: int


async def ask(client: httpx.AsyncClient, seen: list[Seen]) -> None:
    """One call, however it ends."""
    begin = time.monotonic()
    status = await chat(client, within_s=30.0)
    seen.append(Seen(begin, time.monotonic() - begin, status))


async def load(
    clients: list[httpx.AsyncClient], rate: float, seen: list[Seen], ended: asyncio.Event
) -> None:
    """So many calls a second, whether or not the ones before have ended."""
    calls: set[asyncio.Task[None]] = set()
    begin = time.monotonic()
    for number in itertools.count():
        wait = begin + number / rate - time.monotonic()
        await asyncio.sleep(max(0.0, wait))
        if ended.is_set():
            break
        call = asyncio.create_task(ask(clients[number % len(clients)], seen))
        calls.add(call)
        call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)


def report(name: str, seen: list[Seen]) -> None:
    """One line."""
    took = sorted(one.took_s * 1000 for one in seen) or [0.0]
    answers = dict(collections.Counter(one.status for one in seen))
    p50, p99 = (took[min(len(took) - 1, int(len(took) * part))] for part in (0.5, 0.99))
    print(
        f"{name:8} {len(seen):6} calls  {answers}  p50 {p50:.1f} ms  p99 {p99:.1f} ms  "
        f"longest {took[-1]:.1f} ms",
        flush=True,
    )


async def measure(
    gateways: list[LiveGateway], redis: RedisServer, seconds: float, rate: float
) -> None:
    """The phases, one after another, under one load."""
    rich = gateways[0].create_key("alice", "--limit", "spend=1000 USD/month")
    poor = gateways[0].create_key("bob", "--limit", f"spend={_CAP} USD/month")
    rich_clients = [gateway.async_client(rich) for gateway in gateways]
    poor_clients = [gateway.async_client(poor) for gateway in gateways]
    for gateway in gateways:
        await until(partial(know_each_other, gateway), "the gateways know each other")
    seen: list[Seen] = []
    spent: list[Seen] = []
    ended = asyncio.Event()
    loads = [
        asyncio.create_task(load(rich_clients, rate, seen, ended)),
        asyncio.create_task(load(poor_clients, _CAP * 1000 / seconds, spent, ended)),
    ]
    await asyncio.sleep(seconds)
    stopped = time.monotonic()
    redis.pause()
    await asyncio.sleep(seconds)
    resumed = time.monotonic()
    redis.resume()
    for gateway in gateways:
        await until(partial(well, gateway), "the store is back")
    back = time.monotonic()
    await asyncio.sleep(seconds / 2)
    ended.set()
    await asyncio.gather(*loads)
    warm = [one for one in seen if one.at > stopped - seconds * 0.8]
    report("before", [one for one in warm if one.at < stopped - 0.1])
    report("stopped", [one for one in warm if stopped - 0.1 <= one.at < resumed])
    report("after", [one for one in warm if one.at >= resumed])
    paid = sum(one.status == 200 for one in spent) * 0.001
    past = sum(metric(g, "spillgate_spent_past_caps_usd_total") for g in gateways)
    print(f"back after {back - resumed:.2f} s; {paid:.3f} USD of {_CAP} spent, {past:.3f} past it")
    for client in (*rich_clients, *poor_clients):
        await client.aclose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second")
    parser.add_argument("--when-lost", default="share", choices=["closed", "open", "share"])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer() as redis,
        PaidServer() as server,
    ):
        names, store = ("one", "two"), {"when_lost": options.when_lost}
        made = [gateway_of(Path(folder), n, server.url, redis.url, store) for n in names]
        with made[0], made[1]:
            asyncio.run(measure(made, redis, options.seconds, options.rate))


if __name__ == "__main__":
    main()
