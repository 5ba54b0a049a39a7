"""Two gateways on a Redis of several servers, whose primary is killed under load."""

from __future__ import annotations

import asyncio
import collections
import itertools
from collections.abc import Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.observing import metric
from tests.e2e.servers.paid import PaidServer
from tests.live import LiveGateway
from tests.private_authority import issue
from tests.redis_groups import ClusterServers, SentinelServers
from tests.redis_server import require_redis
from tests.waiting import until

NUMBERS = itertools.count(1)
CONFIG = """
backends:
  paid: {{kind: openai, base_url: "{url}", price: calls}}
models:
  chat: {{task: chat, backends: [paid]}}
prices:
  calls: {{per_call: 0.001, as_of: 2026-11-01, source: test}}
"""


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
        made = [gateway_of(tmp_path, name, server.url, servers.url) for name in ("one", "two")]
        with made[0], made[1]:
            yield made


def gateway_of(place: Path, name: str, backend: str, redis: str) -> LiveGateway:
    """Both share keys and ledger; a call waits long for a server of a machine that is busy."""
    folder = place / name
    folder.mkdir()
    return LiveGateway(
        folder,
        CONFIG.format(url=backend),
        server={"data": str(place / "data"), "access_log": False},
        store={
            "ledger": f"sqlite:///{place}/data/ledger.db",
            "shared": redis,
            "timeout": "500ms",
        },
    )


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


def failing(gateway: LiveGateway) -> bool:
    return metric(gateway, "spillgate_shared_store_failing") == 1


def well(gateway: LiveGateway) -> bool:
    return not failing(gateway)


async def serves(client: httpx.AsyncClient) -> bool:
    return await chat(client) == 200


async def keep_asking(client: httpx.AsyncClient, seen: list[int], ended: asyncio.Event) -> None:
    """One that is refused asks again a moment later, as it is told."""
    while not ended.is_set():
        seen.append(await chat(client))


async def chat(client: httpx.AsyncClient) -> int:
    """Within five seconds, whatever has died."""
    body = {"model": "chat", "messages": [{"role": "user", "content": f"{next(NUMBERS)}"}]}
    answer = await client.post("/v1/chat/completions", json=body, timeout=5.0)
    return answer.status_code
