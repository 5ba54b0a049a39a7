"""Two gateways lose their Redis for some seconds under load: calls go on within a share of what was
left, nothing is forgotten or counted twice, and all of it ends by itself."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.failures import shared_stores
from tests.e2e.failures.shared_stores import failing, gateway_of, know_each_other, well
from tests.e2e.observing import metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until

STORE = {"timeout": "1s", "when_lost": {"key": "share", "rest": "closed"}}
"""Closed for the limits of users alone. A server that answers late, since the machine is busy with
something else, is not lost."""
chat = partial(shared_stores.chat, within_s=10.0)
keep_asking = partial(shared_stores.keep_asking, within_s=10.0)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture
def gateways(tmp_path: Path, redis: RedisServer) -> Iterator[list[LiveGateway]]:
    with PaidServer() as server:
        made = [gateway_of(tmp_path, name, server.url, redis.url, STORE) for name in ("one", "two")]
        with made[0], made[1]:
            yield made


async def test_calls_go_on_within_a_share_while_redis_is_silent(
    gateways: list[LiveGateway], redis: RedisServer
) -> None:
    rich = gateways[0].create_key("alice", "--limit", "spend=50 USD/month")
    poor = gateways[0].create_key("bob", "--limit", "spend=0.1 USD/month")
    async with AsyncExitStack() as stack:
        rich_clients, poor_clients = [
            [await stack.enter_async_context(one.async_client(key)) for one in gateways]
            for key in (rich, poor)
        ]
        for gateway in gateways:
            await until(partial(know_each_other, gateway), "they know each other")
        assert {await chat(client) for client in poor_clients * 10} == {200}
        ended = asyncio.Event()
        seen: list[int] = []
        load = [asyncio.create_task(keep_asking(one, seen, ended)) for one in rich_clients * 3]
        await until(lambda: len(seen) > 100, "the load runs")
        await looked(redis)

        redis.pause()
        for gateway in gateways:
            await until(partial(failing, gateway), "the store is lost")
            assert gateway.status_of("/readyz") == 200
        before = len(seen)
        # Of a budget of 0.1 USD 0.02 are spent: each gateway has half of the rest.
        answers = collections.Counter([await chat(one) for one in poor_clients * 50])
        assert answers == {200: 80, 503: 20}
        assert len(seen) > before
        assert {await chat(one) for one in rich_clients} == {200}

        redis.resume()
        for gateway in gateways:
            await until(partial(well, gateway), "the store is back")
        ended.set()
        await asyncio.gather(*load)
        assert set(seen) == {200}
        assert {await chat(one) for one in poor_clients} == {402}
        usage = await rich_clients[0].get("/usage")
        assert usage.json()["totals"]["cost_usd"] == pytest.approx((len(seen) + 2) * 0.001)
        me = (await rich_clients[1].get("/v1/me")).json()
        assert spent_of(me) == pytest.approx((len(seen) + 2) * 0.001)
    for gateway in gateways:
        assert metric(gateway, "spillgate_spent_past_caps_usd_total") == 0
        assert metric(gateway, "spillgate_settlements_waiting") == 0
        log = gateway.log_file.read_text()
        assert log.count("the shared store is lost") == 1
        assert log.count("the shared store is back") == 1


def spent_of(me: dict[str, Any]) -> float:
    """By what the shared store says is left of the one limit."""
    [limit] = me["limits"]
    return float(limit["limit"] - limit["remaining"])


async def looked(redis: RedisServer, times: int = 2) -> None:
    """Each gateway has given so many signs of life more; after each it looks up what is left."""
    for _ in range(times):
        before = signs(redis)
        await until(partial(other_signs, redis, before), "signs of life")


def other_signs(redis: RedisServer, before: set[bytes]) -> bool:
    return not before & signs(redis)


def signs(redis: RedisServer) -> set[bytes]:
    """When each will be too old."""
    key = "spillgate:{limits}:gateways"
    return {
        word
        for word in redis.command("ZRANGE", key, "0", "-1", "WITHSCORES").split()
        if word[:2] == b"17"
    }
