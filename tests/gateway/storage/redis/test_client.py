"""Redis' own client looks at the same server: what our link wrote is there."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.storage.base import Admitted, Claim, LimitStatus
from gateway.storage.redis.store import RedisSharedStore
from gateway.store_urls import parse_address
from gateway.tls.context import ensure_certificates
from tests.live import free_port
from tests.redis_server import RedisServer, require_redis

CLAIMS = (
    Claim("user:alice", "nano_usd", "month", 1_000_000, 700),
    Claim("user:alice", "concurrent", "", 4, 1),
    Claim("user:alice", "requests", "minute", 60, 1),
)
WAYS = ["plain", "password", "user and password", "odd password", "database", "unix", "tls"]


class Doors:
    """One server with every door that a URL may lead through."""

    def __init__(self, folder: Path) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self.material = ensure_certificates(folder / "tls", ["127.0.0.1"], now)
        self.socket = folder / "redis.sock"
        self.tls_port = free_port()
        self.server = RedisServer(
            *("--unixsocket", str(self.socket), "--unixsocketperm", "700"),
            *("--tls-port", str(self.tls_port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(self.material.cert), "--tls-key-file", str(self.material.key)),
            *("--tls-ca-cert-file", str(self.material.ca)),
            *("--user", "default", "on", "nopass", "~*", "&*", "+@all"),
            *("--user", "gate", "on", ">s3cret", ">p@ss/wörd:%", "~*", "&*", "+@all"),
        )

    def url(self, way: str) -> str:
        port = self.server.port
        return {
            "plain": f"redis://127.0.0.1:{port}",
            "password": f"redis://gate:s3cret@127.0.0.1:{port}/0",
            "user and password": f"redis://gate:s3cret@localhost:{port}/2",
            "odd password": f"redis://gate:p%40ss%2Fw%C3%B6rd%3A%25@127.0.0.1:{port}/4",
            "database": f"redis://127.0.0.1:{port}/3",
            "unix": f"unix://{self.socket}?db=5",
            "tls": f"rediss://gate:s3cret@127.0.0.1:{self.tls_port}/6",
        }[way]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    require_redis()
    doors = Doors(tmp_path_factory.mktemp("redis"))
    with doors.server:
        yield doors


def client_of(url: str, **options: str) -> Any:
    """Untyped, as the client's own commands are."""
    return redis.Redis.from_url(url, decode_responses=True, **options)


def stored(client: Any) -> dict[str, Any]:
    """Every key that counts something, with what it holds, by the server's own types."""
    found: dict[str, Any] = {}
    for key in client.scan_iter("spillgate:{limits}:*"):
        kind = client.execute_command("TYPE", key)
        if kind == "hash":
            found[key] = client.execute_command("HGETALL", key)
        elif kind == "zset":
            found[key] = client.execute_command("ZRANGE", key, 0, -1)
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_a_url_leads_our_link_and_rediss_own_client_to_the_same_place(
    way: str, doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, user, password, database and TLS mean what they mean everywhere else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(doors.material.ca))
    doors.server.command("FLUSHALL")
    store = RedisSharedStore(doors.url(way), 5.0)
    trust = {"ssl_ca_certs": str(doors.material.ca)} if way == "tls" else {}
    client = client_of(doors.url(way), **trust)
    try:
        assert isinstance(await store.admit("r1", CLAIMS, 60.0), Admitted)
        database = parse_address(doors.url(way)).database
        assert client.execute_command("DBSIZE") > 0
        assert client.connection_pool.connection_kwargs.get("db", 0) == database
        assert any("r1" in value for value in stored(client).values())
    finally:
        client.close()
        await store.aclose()


async def test_amounts_stand_in_the_open_for_whoever_looks(doors: Doors) -> None:
    """Held while the call runs, spent when it has ended, and readable without our code."""
    doors.server.command("FLUSHALL")
    url = doors.url("plain")
    store, client = RedisSharedStore(url, 5.0), client_of(url)
    try:
        await store.admit("r1", CLAIMS, 60.0)
        [money] = [value for value in stored(client).values() if "held" in value]
        assert money["held"] == "700"
        await store.settle("r1", CLAIMS, {"nano_usd": 500})
        [money] = [value for value in stored(client).values() if "held" in value]
        assert (money["held"], money["spent"]) == ("0", "500")
        assert all(client.execute_command("PTTL", key) > 0 for key in stored(client))
    finally:
        client.close()
        await store.aclose()


async def test_what_another_client_takes_away_is_taken_away_for_us(doors: Doors) -> None:
    """An operator who deletes a counter by hand resets it; nothing is kept beside the server."""
    doors.server.command("FLUSHALL")
    url = doors.url("plain")
    store, client = RedisSharedStore(url, 5.0), client_of(url)
    try:
        await store.admit("r1", CLAIMS, 60.0)
        await store.settle("r1", CLAIMS, {"nano_usd": 500})
        statuses: tuple[LimitStatus, ...] = await store.statuses(CLAIMS[:1])
        assert statuses[0].remaining == 1_000_000 - 500
        client.execute_command("FLUSHDB")
        statuses = await store.statuses(CLAIMS[:1])
        assert statuses[0].remaining == 1_000_000
    finally:
        client.close()
        await store.aclose()
