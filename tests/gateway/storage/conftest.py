"""The stores under test: each kind behind one way to open it and to move its time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import SharedStore
from gateway.storage.memory import MemorySharedStore
from gateway.storage.redis.store import RedisSharedStore
from gateway.types import MICRO
from tests.redis_server import RedisServer, require_redis

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


@pytest.fixture(params=["memory", "redis"])
def open_store(request: pytest.FixtureRequest, clock: FakeClock) -> OpenStore:
    if request.param == "memory":
        return lambda: MemorySharedStore(clock)
    server: RedisServer = request.getfixturevalue("redis_server")

    def opened() -> SharedStore:
        server.command("FLUSHALL")
        return RedisSharedStore(server.url, 5.0, now_us=lambda: round(clock.time() * MICRO))

    return opened
