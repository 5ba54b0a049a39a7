"""One contract for every store that handlers can keep values in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgspec
import pytest

from gateway.clock import FakeClock
from local_runtime import Runtime
from local_runtime.app.store import (
    HandlerStore,
    MemoryStore,
    RedisStore,
    StoreUnavailable,
    open_store,
)
from local_runtime.potassium import RedisConfig
from local_runtime.potassium import Store as PotassiumStore
from tests.redis_server import RedisServer, require_redis


class Case(msgspec.Struct):
    """A store, and how time passes for it."""

    store: HandlerStore
    advance: Callable[[float], None]


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    require_redis()
    with RedisServer() as server:
        yield server


def aged(server: RedisServer, seconds: float) -> None:
    """Takes so much from the time that every key has left, as the clock would."""
    for key in _keys(server):
        left = int(server.command("PTTL", key).strip(b":\r\n"))
        if left >= 0:
            server.command("PEXPIRE", key, str(left - round(seconds * 1000)))


def _keys(server: RedisServer) -> list[str]:
    lines = server.command("KEYS", "*").decode().split("\r\n")
    return lines[2::2]


@pytest.fixture(params=["memory", "redis"])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "memory":
        clock = FakeClock()
        return Case(MemoryStore(clock=clock.monotonic), clock.move)
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    return Case(RedisStore(server.url), lambda seconds: aged(server, seconds))


def test_what_was_set_is_got_until_it_is_deleted(case: Case) -> None:
    case.store.set("key", {"text": ["a", 1, None]})
    assert case.store.get("key") == {"text": ["a", 1, None]}
    assert case.store.delete("key")
    assert case.store.get("key") is None
    assert not case.store.delete("key")


def test_a_value_lasts_as_long_as_was_asked(case: Case) -> None:
    case.store.set("short", 1, ttl=10)
    case.store.set("usual", 2)
    case.store.set("for-good", 3, ttl=None)
    case.advance(9)
    assert case.store.get("short") == 1
    case.advance(1)
    assert case.store.get("short") is None
    case.advance(591)
    assert case.store.get("usual") is None
    assert case.store.get("for-good") == 3


def test_a_value_set_again_has_the_new_time(case: Case) -> None:
    case.store.set("key", 1, ttl=5)
    case.store.set("key", 2, ttl=50)
    case.advance(10)
    assert case.store.get("key") == 2


def test_a_value_that_was_read_is_nobody_elses(case: Case) -> None:
    value = [1]
    case.store.set("key", value)
    value.append(2)
    case.store.get("key").append(3)
    assert case.store.get("key") == [1]


@pytest.mark.parametrize("ttl", [0, -1, float("nan")])
def test_a_time_to_live_is_above_zero(case: Case, ttl: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        case.store.set("key", 1, ttl=ttl)


def test_what_json_has_no_word_for_is_refused_and_changes_nothing(case: Case) -> None:
    case.store.set("key", 1)
    with pytest.raises(TypeError):
        case.store.set("key", object())
    assert case.store.get("key") == 1


def test_a_store_in_memory_forgets_the_oldest_when_it_is_full() -> None:
    store = MemoryStore(max_bytes=30)
    for name in ("first", "second", "third"):
        store.set(name, "x" * 5)
    assert [store.get(name) is not None for name in ("first", "second", "third")] == [
        False,
        True,
        True,
    ]


def test_a_server_that_is_gone_is_an_error_with_a_name() -> None:
    require_redis()
    with RedisServer() as server:
        store = RedisStore(server.url)
        store.set("key", 1)
    with pytest.raises(StoreUnavailable):
        store.get("key")


def test_potassiums_store_shares_its_keys_with_other_programs(redis_server: RedisServer) -> None:
    """The key is the key, the value JSON; pickle only where it is asked for."""
    store = PotassiumStore(config=RedisConfig(host="127.0.0.1", port=redis_server.port))
    store.set("shared", {"a": 1}, ttl=60)
    assert redis_server.command("GET", "shared") == b'$7\r\n{"a":1}\r\n'
    config = RedisConfig(host="127.0.0.1", port=redis_server.port, encoding="pickle")
    pickling = PotassiumStore(backend="redis", config=config)
    pickling.set("odd", {1, 2})
    assert pickling.get("odd") == {1, 2}


def test_an_app_opens_its_store_once() -> None:
    assert "SPILLGATE_STORE" not in os.environ
    app = Runtime("app")
    app.store.set("key", 1)
    assert app.store.get("key") == 1


def test_the_url_of_a_store_says_what_it_is(redis_server: RedisServer) -> None:
    assert isinstance(open_store("memory://"), MemoryStore)
    assert isinstance(open_store(redis_server.url), RedisStore)
    with pytest.raises(ValueError, match="not s3://"):
        open_store("s3://bucket")


def test_a_value_may_last_for_ever_by_its_number_too(case: Case) -> None:
    case.store.set("key", 1, ttl=float("inf"))
    case.advance(1e6)
    assert case.store.get("key") == 1


def test_a_key_that_is_no_text_is_refused_and_leaves_nothing_behind(case: Case) -> None:
    """In memory its size could not be counted, nor it be forgotten."""
    with pytest.raises(TypeError, match="a key is a str, not a int"):
        case.store.set(5, 1)  # type: ignore[arg-type]
    case.store.set("5", 2)
    assert case.store.get("5") == 2


def test_a_value_larger_than_the_memory_is_refused_and_drives_out_no_other() -> None:
    store = MemoryStore(max_bytes=20)
    store.set("a", 1)
    with pytest.raises(ValueError, match="23 bytes are more than the 20 of this store"):
        store.set("b", "x" * 20)
    assert store.get("a") == 1
