"""The stores under test: each kind behind one way to open it and to move its time."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import SharedStore
from gateway.storage.key_store import KeyStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.owner import LedgerOwner
from gateway.storage.postgres.keys import PostgresKeys
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.redis.discovery import primary_of
from gateway.storage.redis.primary import Primary
from gateway.storage.redis.store import KEY, RedisSharedStore
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.store_urls import Database, parse_group
from gateway.types import MICRO
from tests.gateway.storage.opened import OpenKeys, OpenLedger, StoredLedger
from tests.gateway.storage.served.wired import wired
from tests.postgres_server import PostgresServer, require_postgres
from tests.processes import lasting
from tests.redis_groups import ClusterServers, RedisGroup, SentinelServers
from tests.redis_server import RedisServer, require_redis

PATIENT: dict[str, Any] = {"timeout_s": 30.0}
"""What is not about time waits for a machine that has much else to do."""

OpenStore = Callable[[], SharedStore]
"""Opens an empty store whose time is the test's clock. The test closes it."""


@pytest.fixture(scope="session")
def redis_session() -> Iterator[RedisServer]:
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server(redis_session: RedisServer) -> RedisServer:
    """The session's Redis server, emptied. Do not stop it: start one of your own for that."""
    redis_session.command("FLUSHALL")
    return redis_session


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterServers]:
    require_redis()
    with ClusterServers(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(scope="session")
def redis_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelServers]:
    require_redis()
    with SentinelServers(tmp_path_factory.mktemp("sentinels")) as servers:
        yield servers


@pytest.fixture(params=["memory", "served", "redis", "cluster", "sentinels"])
def open_store(request: pytest.FixtureRequest, clock: FakeClock) -> OpenStore:
    if request.param == "memory":
        return lambda: MemorySharedStore(clock)
    if request.param == "served":
        return lambda: wired(MemorySharedStore(clock), clock)[0]
    name = {"redis": "redis_session"}.get(request.param, f"redis_{request.param}")
    servers: RedisServer | RedisGroup = request.getfixturevalue(name)

    def opened() -> SharedStore:
        place: str | Primary = servers.url
        if isinstance(servers, RedisGroup):
            place = primary_of(parse_group(servers.url), KEY)
        servers.command("FLUSHALL")
        return RedisSharedStore(place, 5.0, now_us=lambda: round(clock.time() * MICRO))

    return opened


# --- the ledger and the keys ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_session() -> Iterator[PostgresServer]:
    require_postgres()
    with contextlib.ExitStack() as stack:
        with lasting():
            server = stack.enter_context(PostgresServer())
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLedger:
    if request.param == "sqlite":
        return lambda place="one", **options: SqliteLedger(tmp_path / f"{place}.db", **options)
    server: PostgresServer = request.getfixturevalue("postgres_session")
    schemas: defaultdict[str, Database] = defaultdict(server.empty)

    def opened(place: str = "one", **options: Any) -> StoredLedger:
        owner = LedgerOwner(tmp_path / place)
        return PostgresLedger(schemas[place], owner, **PATIENT | options)

    return opened


@pytest.fixture(params=["sqlite", "postgres"])
def open_keys(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> OpenKeys:
    if request.param == "sqlite":
        return lambda place="one", **options: SqliteKeys(
            tmp_path / f"{place}.db", clock=clock, **options
        )
    server: PostgresServer = request.getfixturevalue("postgres_session")
    schemas: defaultdict[str, Database] = defaultdict(server.empty)

    def opened(place: str = "one", **options: Any) -> KeyStore:
        never_stale = {"stale_s": float("inf")} | PATIENT
        return PostgresKeys(schemas[place], clock=clock, **never_stale | options)

    return opened
