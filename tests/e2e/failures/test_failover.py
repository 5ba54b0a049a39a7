"""Two gateways on a Redis of several servers, whose primary is killed under load."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.failures import shared_stores
from tests.e2e.failures.shared_stores import failing, gateway_of, well
from tests.e2e.observing import metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.private_authority import issue
from tests.redis_groups import ClusterServers, SentinelServers
from tests.redis_server import require_redis
from tests.waiting import until

PATIENT = {"timeout": "500ms"}
"""A call waits long for a server of a machine that is busy."""
chat = partial(shared_stores.chat, within_s=5.0)
keep_asking = partial(shared_stores.keep_asking, within_s=5.0)


@pytest.fixture(params=["cluster", "sentinels"])
def servers(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[ClusterServers | SentinelServers]:
    require_redis()
    kind = ClusterServers if request.param == "cluster" else SentinelServers
    with kind(tmp_path / "redis", issue(tmp_path / "tls")) as made:
        yield made


@pytest.fixture
def gateways(
    tmp_path: Path, servers: ClusterServers | SentinelServers
) -> Iterator[list[LiveGateway]]:
    with PaidServer() as server:
        made = [
            gateway_of(tmp_path, name, server.url, servers.url, PATIENT) for name in ("one", "two")
        ]
        with made[0], made[1]:
            yield made


async def test_a_primary_is_killed_under_load_and_no_budget_is_passed(
    gateways: list[LiveGateway], servers: ClusterServers | SentinelServers
) -> None:
    """Calls are refused for a while, none hangs, and all of it ends by itself."""
    rich = gateways[0].create_key("alice", "--limit", "spend=50 USD/month")
    poor = gateways[0].create_key("bob", "--limit", "spend=0.02 USD/month")
    async with AsyncExitStack() as stack:
        rich_clients, poor_clients = [
            [await stack.enter_async_context(one.async_client(key)) for one in gateways]
            for key in (rich, poor)
        ]
        assert {await chat(one) for one in poor_clients * 5} == {200}
        ended = asyncio.Event()
        seen: list[int] = []
        load = [asyncio.create_task(keep_asking(one, seen, ended)) for one in rich_clients * 3]
        await until(lambda: len(seen) > 50, "the load runs")

        before = servers.primary
        before.stop()
        for gateway in gateways:
            await until(partial(failing, gateway), "the primary is missed")
        for gateway in gateways:
            await until(partial(well, gateway), "another one has taken over")
        assert servers.primary is not before
        for client in rich_clients:
            await until(partial(serves, client), "calls are served")
        ended.set()
        await asyncio.gather(*load)
        assert set(seen) == {200, 503}
        answers = collections.Counter([await chat(one) for one in poor_clients * 10])
        assert answers == {200: 10, 402: 10}
    for gateway in gateways:
        assert metric(gateway, "spillgate_spent_past_caps_usd_total") == 0


async def serves(client: httpx.AsyncClient) -> bool:
    return await chat(client) == 200
