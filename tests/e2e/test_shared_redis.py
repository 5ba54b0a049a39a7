"""Two gateways and one Redis: limits hold over both, and its death refuses calls but loses none."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.observing import error_of, metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until

CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: calls}}
  home: {{kind: local, app: tests/programs/echo.py:app, handler: /sleep, required: true}}
models:
  chat: {{task: chat, backends: [paid]}}
  sleep: {{task: infer, backends: [home]}}
prices:
  calls: {{per_call: 0.001, as_of: 2026-11-01, source: test}}
"""
NUMBERS = itertools.count(1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture
def gateways(tmp_path: Path, redis: RedisServer) -> Iterator[tuple[LiveGateway, LiveGateway]]:
    """Of one machine: they share keys and ledger too."""
    with PaidServer() as server:
        one, two = (gateway_of(tmp_path, name, server, redis) for name in ("one", "two"))
        with one, two:
            yield one, two


def gateway_of(place: Path, name: str, server: PaidServer, redis: RedisServer) -> LiveGateway:
    folder = place / name
    folder.mkdir()
    return LiveGateway(
        folder,
        CONFIG.format(url=server.url),
        server={"data": str(place / "data"), "access_log": False},
        store={"ledger": f"sqlite:///{place}/data/ledger.db", "shared": redis.url},
    )


@contextlib.asynccontextmanager
async def clients(
    gateways: tuple[LiveGateway, LiveGateway], *limits: str
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Of a new key with these limits, one at each gateway."""
    options = [word for limit in limits for word in ("--limit", limit)]
    key = gateways[0].create_key("alice", *options)
    async with gateways[0].async_client(key) as one, gateways[1].async_client(key) as two:
        yield one, two


async def test_every_limit_holds_over_both_gateways_together(
    gateways: tuple[LiveGateway, LiveGateway],
) -> None:
    """A rate, calls at once, and money: as many as one gateway would let pass, to the call."""
    async with clients(gateways, "requests=20/hour") as pair:
        answers = await asyncio.gather(*(nap(client, 0) for client in pair * 20))
        assert count(answers) == {(200, ""): 20, (429, "rate_limit_exceeded"): 20}
    async with clients(gateways, "concurrent=3") as pair:
        answers = await asyncio.gather(*(nap(client, 1) for client in pair * 4))
        assert count(answers) == {(200, ""): 3, (429, "concurrency_limit_exceeded"): 5}
    async with clients(gateways, "spend=0.01 USD/day") as pair:
        answers = await asyncio.gather(*(chat(client) for client in pair * 15))
        assert count(answers) == {(200, ""): 10, (402, "budget_exhausted"): 20}


async def test_redis_dies_under_load_and_returns_empty_and_no_budget_is_forgotten(
    gateways: tuple[LiveGateway, LiveGateway], redis: RedisServer
) -> None:
    """While it is gone calls get 503 within their bound; afterwards both serve by themselves."""
    async with clients(gateways, "spend=0.003 USD/month") as poor, clients(gateways) as other:
        async with clients(gateways, "requests=1000000/minute", "spend=50 USD/month") as rich:
            spent = [await chat(client) for client in (*poor, *poor)]
            assert count(spent) == {(200, ""): 3, (402, "budget_exhausted"): 1}
            seen: list[httpx.Response] = []
            ended = asyncio.Event()
            load = [asyncio.create_task(keep_asking(client, seen, ended)) for client in rich * 4]
            await until(lambda: len(seen) > 50, "the load runs")

            redis.stop()
            for gateway, client in zip(gateways, rich, strict=True):
                await until(partial(refused, client), "calls are refused")
                assert metric(gateway, "spillgate_shared_store_failing") == 1
                assert gateway.status_of("/readyz") == 503
            # Whoever has no limits asks nothing of the shared store.
            assert count([await nap(client, 0) for client in other]) == {(200, ""): 2}

            redis.start()
            for gateway, client in zip(gateways, rich, strict=True):
                await until(partial(serves, client), "calls are served")
                await until(partial(is_ready, gateway), "it is ready")
                assert metric(gateway, "spillgate_shared_store_failing") == 0
            ended.set()
            await asyncio.gather(*load)
            assert set(count(seen)) == {(200, ""), (503, "store_unavailable")}
            for gateway in gateways:
                await until(partial(has_settled_all, gateway), "what waited is settled")
        after = [await chat(client) for client in poor]
        assert count(after) == {(402, "budget_exhausted"): 2}


async def test_a_gateway_that_starts_without_redis_waits_for_it_and_knows_its_budgets(
    tmp_path: Path, redis: RedisServer
) -> None:
    with PaidServer() as server:
        gateway = gateway_of(tmp_path, "one", server, redis)
        with gateway:
            key = gateway.create_key("alice", "--limit", "spend=0.001 USD/month")
            other = gateway.create_key("bob", "--limit", "spend=1 USD/month")
            async with gateway.async_client(key) as client:
                assert await serves(client)
        redis.stop()
        try:
            gateway.start(wait_for="/healthz")
            async with gateway.async_client(key) as poor, gateway.async_client(other) as rich:
                assert error_of(await chat(poor)) == (503, "store_unavailable")
                assert gateway.status_of("/readyz") == 503
                redis.start()
                await until(partial(serves, rich), "calls are served")
                assert error_of(await chat(poor)) == (402, "budget_exhausted")
        finally:
            gateway.stop()
        assert server.calls == 2


async def keep_asking(
    client: httpx.AsyncClient, seen: list[httpx.Response], ended: asyncio.Event
) -> None:
    """Each call within three seconds, whatever has died."""
    while not ended.is_set():
        seen.append(await chat(client, timeout_s=3.0))


async def chat(client: httpx.AsyncClient, timeout_s: float = 30.0) -> httpx.Response:
    """Says what nobody else says; an answer repeats it."""
    said = f"hello {next(NUMBERS)}"
    body = {"model": "chat", "messages": [{"role": "user", "content": said}]}
    answer = await client.post("/v1/chat/completions", json=body, timeout=timeout_s)
    if answer.status_code == 200:
        assert answer.json()["choices"][0]["message"]["content"] == said
    return answer


async def nap(client: httpx.AsyncClient, seconds: float) -> httpx.Response:
    """Of a length of its own, a little longer than is said."""
    length = seconds + next(NUMBERS) / 100_000
    answer = await client.post("/v1/infer/sleep", json=length)
    if answer.status_code == 200:
        assert answer.json()["slept"] == length
    return answer


async def refused(client: httpx.AsyncClient) -> bool:
    return (await chat(client)).status_code == 503


async def serves(client: httpx.AsyncClient) -> bool:
    return (await chat(client)).status_code == 200


def is_ready(gateway: LiveGateway) -> bool:
    return gateway.status_of("/readyz") == 200


def has_settled_all(gateway: LiveGateway) -> bool:
    return metric(gateway, "spillgate_settlements_waiting") == 0


def count(answers: list[httpx.Response]) -> dict[tuple[int, str], int]:
    """(status, the error's code) -> how many."""
    return collections.Counter(
        (200, "") if answer.status_code == 200 else error_of(answer) for answer in answers
    )
