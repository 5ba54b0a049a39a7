"""Redis Cluster and Sentinel, with a private authority: real servers, of which the primary dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.storage.base import Admitted, Claim, Counted, StorageUnavailable
from gateway.storage.redis.breaker import Breaker
from gateway.storage.redis.discovery import primary_of
from gateway.storage.redis.store import KEY, RedisSharedStore
from gateway.storage.remote import StorageLost
from gateway.store_urls import parse_group
from tests.private_authority import issue
from tests.redis_groups import ClusterServers, SentinelServers
from tests.redis_server import RedisServer, require_redis
from tests.waiting import until

MONEY = Claim("user:a", "nano_usd", "month", 1000, 10)
ALIVE = Claim("user:a", "concurrent", "", 100, 1)


@pytest.fixture(params=["cluster", "cluster with tls", "sentinel", "sentinel with tls"])
def servers(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[ClusterServers | SentinelServers]:
    require_redis()
    kind, _, tls = request.param.partition(" with ")
    material = issue(tmp_path / "tls") if tls else None
    made = (ClusterServers if kind == "cluster" else SentinelServers)(tmp_path / kind, material)
    with made:
        yield made


@asynccontextmanager
async def opened(url: str, **options: object) -> AsyncIterator[RedisSharedStore]:
    primary = primary_of(parse_group(url), KEY)
    breaker = Breaker(pause_s=0.05, longest_s=0.2)
    store = RedisSharedStore(primary, 1.0, breaker=breaker, **options)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.aclose()


async def answers(store: RedisSharedStore, name: str) -> Admitted | None:
    try:
        found = await store.admit(name, [MONEY, ALIVE], 60.0)
    except StorageUnavailable:
        return None
    assert isinstance(found, Admitted)
    return found


async def test_a_primary_dies_and_another_one_takes_over_what_was_spent(
    servers: ClusterServers | SentinelServers,
) -> None:
    reports: list[str] = []
    async with opened(servers.url, ledger="one", emptied=lambda: reports.append("lost")) as store:
        await store.restore([Counted("user:a", "nano_usd", "month", 20)])
        assert isinstance(await store.admit("before", [MONEY, ALIVE], 60.0), Admitted)
        await store.settle("before", [MONEY, ALIVE], {"nano_usd": 7})
        before = servers.primary
        before.stop()
        while not reports:
            assert await answers(store, "during") is None
            await asyncio.sleep(0.05)
        await store.restore([Counted("user:a", "nano_usd", "month", 27)])
        assert servers.primary is not before
        assert isinstance(await store.admit("after", [MONEY, ALIVE], 60.0), Admitted)
        (money, alive) = await store.statuses([MONEY, ALIVE])
        assert (money.remaining, alive.remaining) == (1000 - 27 - 10, 99)


async def test_what_a_replica_has_not_heard_is_told_it_when_it_takes_over(tmp_path: Path) -> None:
    """Holds by those who hold them, ends of holds by whoever ended them, sums by the ledger."""
    require_redis()
    reports: list[str] = []
    with SentinelServers(tmp_path) as servers:
        url, before = servers.url, servers.primary
        async with opened(url, ledger="one", emptied=lambda: reports.append("lost")) as store:
            await store.restore([])
            assert await answers(store, "ends") is not None
            await until(lambda: heard(servers, before), "the replicas have heard")
            replicas = [one for one in servers.servers if one is not before]
            for replica in replicas:
                replica.pause()
            await store.settle("ends", [MONEY, ALIVE], {"nano_usd": 7})
            assert await answers(store, "goes on") is not None
            before.stop()
            for replica in replicas:
                replica.resume()
            while not reports:
                assert await answers(store, "during") is None
                await asyncio.sleep(0.05)
            await store.reinstate("goes on", [MONEY, ALIVE], 60.0)
            await store.restore([Counted("user:a", "nano_usd", "month", 7)])
            (money, alive) = await store.statuses([MONEY, ALIVE])
            assert (money.remaining, alive.remaining) == (1000 - 7 - 10, 99)


def heard(servers: SentinelServers, primary: RedisServer) -> bool:
    """Every replica has what the primary has written."""
    offset = primary.command("INFO", "replication").split(b"master_repl_offset:")[1].split()[0]
    replicas = [one for one in servers.servers if one is not primary]
    return all(
        b"slave_repl_offset:" + offset in one.command("INFO", "replication") for one in replicas
    )


async def test_servers_that_are_all_gone_are_lost_and_not_waited_for(tmp_path: Path) -> None:
    for url in ("redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis+sentinel://127.0.0.1:1/limits"):
        async with opened(url) as store:
            with pytest.raises(StorageLost, match=r"127\.0\.0\.1:1|Sentinels"):
                await store.ping()
