"""Two processes on one port, whose limits are in Redis, or ledger and keys in PostgreSQL."""

from __future__ import annotations

import asyncio
import collections
import itertools
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.together.gateways import alive, ask_quickly, gateway_in, started
from tests.live import LiveGateway
from tests.postgres_server import PostgresServer, require_postgres
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until


@pytest.fixture
def on_redis(tmp_path: Path) -> Iterator[LiveGateway]:
    require_redis()
    with RedisServer() as redis, gateway_in(tmp_path, store={"shared": redis.url}) as gateway:
        yield gateway


@pytest.fixture
def on_postgres(tmp_path: Path) -> Iterator[LiveGateway]:
    require_postgres()
    with PostgresServer() as server:
        store = {"ledger": server.url()}
        with gateway_in(tmp_path, store=store) as gateway:
            yield gateway


async def test_a_cap_in_redis_is_a_cap_over_both(on_redis: LiveGateway) -> None:
    await cap_holds(on_redis)


async def test_rows_and_keys_in_postgres_are_those_of_both(on_postgres: LiveGateway) -> None:
    await cap_holds(on_postgres)


async def test_one_that_is_killed_leaves_nothing_open_in_postgres(on_postgres: LiveGateway) -> None:
    await both(on_postgres)
    before = len(started(on_postgres))
    calls = asyncio.gather(
        *(ask_quickly(on_postgres, on_postgres.user_key, 40) for _ in range(8)),
        return_exceptions=True,
    )
    await until(partial(some_have_ended, on_postgres), "the load runs")
    os.kill(alive(on_postgres)[0], signal.SIGKILL)
    answers = [one for one in await calls if isinstance(one, list)]
    assert {*itertools.chain.from_iterable(answers)} <= {200}
    await until(lambda: len(started(on_postgres)) > before, "another is started")
    await until(partial(holds_nothing, on_postgres), "nothing is held any more", within_s=60.0)


async def cap_holds(gateway: LiveGateway) -> None:
    """Of calls by a key that both know, as many are charged as its budget has room for."""
    await both(gateway)
    with gateway.client(gateway.admin_key) as admin:
        asked = {"user": "carol", "limits": {"spend": "0.03 USD/day"}}
        key = admin.post("/admin/keys", json=asked).json()["key"]
    await until(partial(is_known_to_both, gateway, key), "both know the key")
    asked_by = await asyncio.gather(*(ask_quickly(gateway, key, 5) for _ in range(16)))
    seen = collections.Counter(itertools.chain.from_iterable(asked_by))
    assert {*seen} == {200, 402}
    assert seen[200] <= 30
    with gateway.client(key) as client:
        usage = client.get("/usage").json()
    assert usage["totals"]["calls"] == seen[200]


async def is_known_to_both(gateway: LiveGateway, key: str) -> bool:
    async def one() -> int:
        async with gateway.async_client(key) as client:
            return (await client.get("/v1/models")).status_code

    return {await one() for _ in range(20)} == {200}


async def both(gateway: LiveGateway) -> None:
    await until(lambda: len(alive(gateway)) == 2, "two serve")


async def some_have_ended(gateway: LiveGateway) -> bool:
    async with gateway.async_client() as client:
        usage = (await client.get("/usage")).json()
    return bool(usage["totals"]["calls"])


async def holds_nothing(gateway: LiveGateway) -> bool:
    async with gateway.async_client() as client:
        limits = (await client.get("/v1/me")).json()["limits"]
    (concurrent,) = (one for one in limits if one["unit"] == "concurrent")
    left: bool = concurrent["remaining"] == concurrent["limit"]
    return left
