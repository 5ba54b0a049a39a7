"""What the Redis store does when its server is slow, gone, empty, or used by others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from gateway.clock import FakeClock, settle
from gateway.storage.base import Admitted, Claim, Counted, Refused, StorageUnavailable
from gateway.storage.redis.store import LONGEST_HOLD_S, RedisSharedStore
from gateway.store_urls import parse_address
from tests.redis_server import RedisServer, require_redis

MONEY = Claim("user:a", "nano_usd", "month", 100, 10)
ALIVE = Claim("user:a", "concurrent", "", 4, 1)
RATE = Claim("user:a", "requests", "minute", 60, 1)


@asynccontextmanager
async def opened(store: RedisSharedStore) -> AsyncIterator[RedisSharedStore]:
    try:
        yield store
    finally:
        await store.aclose()


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server that the test may stop, start and freeze."""
    require_redis()
    with RedisServer() as server:
        yield server


async def alive(store: RedisSharedStore) -> int:
    (status,) = await store.statuses([ALIVE])
    return ALIVE.limit - status.remaining


# --- time -------------------------------------------------------------------------------------


async def test_the_time_is_the_servers_own_unless_one_is_given(redis_server: RedisServer) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        (status,) = await store.statuses([Claim("user:a", "nano_usd", "day", 1, 0)])
        assert status.reset_s == pytest.approx(86_400 - time.time() % 86_400, abs=30)


async def test_several_gateways_share_their_counters(redis_server: RedisServer) -> None:
    first, second = RedisSharedStore(redis_server.url, 5.0), RedisSharedStore(redis_server.url, 5.0)
    async with opened(first), opened(second):
        assert isinstance(await first.admit("one", [MONEY, ALIVE], 60.0), Admitted)
        await second.settle("one", [MONEY, ALIVE], {"nano_usd": 91})
        assert isinstance(await first.admit("two", [MONEY], 60.0), Refused)


def test_it_works_on_the_loop_that_the_gateway_runs_on(redis_server: RedisServer) -> None:
    async def calls() -> int:
        async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
            names = [f"id-{number}" for number in range(50)]
            claim = Claim("user:a", "concurrent", "", 40, 1)
            answers = await asyncio.gather(*(store.admit(n, [claim], 60.0) for n in names))
            await asyncio.gather(*(store.settle(name, [claim], {}) for name in names[:40]))
            assert (await store.statuses([claim]))[0].remaining == 40
            return sum(isinstance(answer, Admitted) for answer in answers)

    assert uvloop.run(calls()) == 40


# --- what is left on the server ---------------------------------------------------------------


def keys_of(server: RedisServer) -> list[str]:
    return [word for word in server.command("KEYS", "*").decode().split("\r\n") if ":" in word]


async def test_every_key_has_the_prefix_the_hash_tag_and_a_time_to_live(
    redis_server: RedisServer,
) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        claims = [MONEY, ALIVE, RATE, Claim("user:a", "gpu_us", "second", 100, 1)]
        await store.restore([Counted("user:b", "nano_usd", "week", 5)])
        for name in ("held", "settled", "released"):
            await store.admit(name, claims, 60.0)
        await store.extend("held", "nano_usd", 5)
        await store.settle("settled", claims, {"nano_usd": 5, "gpu_us": 1})
        await store.settle("unknown", claims, {"nano_usd": 5, "gpu_us": 1})
        await store.release("released")
    keys = keys_of(redis_server)
    assert len(keys) >= 9
    assert all(key.startswith("spillgate:{limits}:") for key in keys)
    lives = [int(redis_server.command("PTTL", key).strip(b":\r\n")) for key in keys]
    assert min(lives) > 0, list(zip(keys, lives, strict=True))


async def test_many_calls_leave_nothing_but_their_counters_and_an_hour_of_names(
    redis_server: RedisServer,
) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        for number in range(300):
            assert isinstance(await store.admit(f"id-{number}", [ALIVE, MONEY], 60.0), Admitted)
            await store.settle(f"id-{number}", [ALIVE, MONEY], {})
    kept = [key for key in keys_of(redis_server) if ":ended:" not in key]
    assert len(kept) <= 1, kept


async def test_a_hold_longer_than_its_record_is_kept_is_refused(redis_server: RedisServer) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        with pytest.raises(ValueError, match="longer"):
            await store.admit("one", [ALIVE], LONGEST_HOLD_S + 1)


# --- the script -------------------------------------------------------------------------------


async def test_a_server_that_forgot_the_script_is_given_it_again(
    redis_server: RedisServer,
) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        await store.admit("one", [ALIVE], 60.0)
        redis_server.command("SCRIPT", "FLUSH")
        await store.admit("two", [ALIVE], 60.0)
        assert await alive(store) == 2


# --- a server that is gone --------------------------------------------------------------------


async def test_a_server_that_was_killed_and_started_again_is_used_again(
    own_server: RedisServer, clock: FakeClock
) -> None:
    async with opened(RedisSharedStore(own_server.url, 5.0, clock=clock)) as store:
        await store.admit("before", [ALIVE], 60.0)
        own_server.stop()
        with pytest.raises(StorageUnavailable):
            await store.admit("lost", [ALIVE], 60.0)
        with pytest.raises(StorageUnavailable):
            await store.ping()
        own_server.start()
        await clock.advance(6.0)
        assert isinstance(await store.admit("after", [ALIVE], 60.0), Admitted)
        assert await alive(store) == 1


async def test_a_gateway_starts_without_its_server_and_finds_it_later(
    own_server: RedisServer, clock: FakeClock
) -> None:
    own_server.stop()
    async with opened(RedisSharedStore(own_server.url, 5.0, clock=clock)) as store:
        with pytest.raises(StorageUnavailable, match="cannot be reached"):
            await store.ping()
        own_server.start()
        with pytest.raises(StorageUnavailable, match="a moment ago"):
            await store.ping()
        await clock.advance(0.5)
        await store.ping()


async def test_an_emptied_server_admits_nothing_until_it_is_restored(
    own_server: RedisServer, clock: FakeClock
) -> None:
    """What was spent is not known in between, and nothing is left taken by what was refused."""
    reports: list[str] = []
    store = RedisSharedStore(
        own_server.url, 5.0, clock=clock, emptied=lambda: reports.append("empty")
    )
    async with opened(store):
        await store.restore([Counted("user:a", "nano_usd", "month", 20)])
        await store.admit("one", [MONEY], 60.0)
        assert reports == []
        own_server.stop()
        own_server.start()
        await clock.advance(6.0)
        await until_refused(store, "emptied")
        with pytest.raises(StorageUnavailable, match="emptied"):
            await store.admit("two", [MONEY, ALIVE], 60.0)
        assert len(reports) == 2
        assert await alive(store) == 0
        await store.settle("two", [MONEY], {"nano_usd": 7})
        await store.restore([Counted("user:a", "nano_usd", "month", 30)])
        assert (await store.statuses([MONEY]))[0].remaining == 70
        assert await alive(store) == 0
        await store.admit("three", [MONEY], 60.0)
        assert len(reports) == 2


async def test_what_several_ledgers_know_of_a_counter_adds_up(redis_server: RedisServer) -> None:
    """In whatever order they tell it, and however often."""
    url = redis_server.url
    one, two = (RedisSharedStore(url, 5.0, ledger=name) for name in ("one", "two"))
    async with opened(one), opened(two):
        for _ in range(2):
            await one.restore([Counted("user:a", "nano_usd", "month", 30)])
            await two.restore([Counted("user:a", "nano_usd", "month", 50)])
            assert (await one.statuses([MONEY]))[0].remaining == 20
        await two.settle("late", [MONEY], {"nano_usd": 5})
        await two.restore([Counted("user:a", "nano_usd", "month", 55)])
        assert (await one.statuses([MONEY]))[0].remaining == 15


async def test_each_ledger_finds_out_that_the_server_was_emptied(redis_server: RedisServer) -> None:
    """Also of one whose gateway has no calls, by its pings."""
    reports: list[str] = []
    one = RedisSharedStore(
        redis_server.url, 5.0, ledger="one", emptied=lambda: reports.append("one")
    )
    two = RedisSharedStore(
        redis_server.url, 5.0, ledger="two", emptied=lambda: reports.append("two")
    )
    async with opened(one), opened(two):
        for store in (one, two):
            await store.restore([])
            await store.ping()
        assert reports == []
        redis_server.command("FLUSHALL")
        await one.restore([])
        await one.ping()
        await two.ping()
        assert reports == ["two"]


async def until_refused(store: RedisSharedStore, why: str) -> None:
    """The first command may meet the broken connection; the next one makes a new one."""
    reasons: list[str] = []
    while len(reasons) < 2 and (not reasons or why not in reasons[-1]):
        with pytest.raises(StorageUnavailable) as refused:
            await store.admit(f"refused {len(reasons)}", [MONEY, ALIVE], 60.0)
        reasons.append(str(refused.value))
    assert why in reasons[-1]


# --- a server that is slow --------------------------------------------------------------------


async def test_a_frozen_server_costs_one_time_out_and_then_nothing(
    own_server: RedisServer, clock: FakeClock
) -> None:
    async with opened(RedisSharedStore(own_server.url, 0.25, clock=clock)) as store:
        await store.ping()
        own_server.pause()
        first = [asyncio.create_task(store.admit(f"id-{n}", [ALIVE], 60.0)) for n in range(3)]
        await settle()
        await clock.advance(0.24)
        assert not any(task.done() for task in first)
        await clock.advance(0.01)
        answers = await asyncio.gather(*first, return_exceptions=True)
        assert all(isinstance(answer, StorageUnavailable) for answer in answers)
        with pytest.raises(StorageUnavailable, match="a moment ago"):
            await store.admit("refused at once", [ALIVE], 60.0)
        own_server.resume()


async def test_one_probe_at_a_time_asks_whether_a_frozen_server_is_back(
    own_server: RedisServer, clock: FakeClock
) -> None:
    async with opened(RedisSharedStore(own_server.url, 0.25, clock=clock)) as store:
        await store.ping()
        own_server.pause()
        first = asyncio.create_task(store.ping())
        await settle()
        await clock.advance(0.25)
        with pytest.raises(StorageUnavailable):
            await first
        await clock.advance(0.5)
        probe = asyncio.create_task(store.ping())
        await settle()
        with pytest.raises(StorageUnavailable, match="a moment ago"):
            await store.ping()
        own_server.resume()
        await probe
        await store.ping()


async def test_an_admission_that_timed_out_holds_nothing_once_the_server_is_back(
    own_server: RedisServer, clock: FakeClock
) -> None:
    async with opened(RedisSharedStore(own_server.url, 0.25, clock=clock)) as store:
        assert await alive(store) == 0
        own_server.pause()
        late = asyncio.create_task(store.admit("late", [ALIVE], 600.0))
        await settle()
        await clock.advance(0.25)
        with pytest.raises(StorageUnavailable, match=r"within 0\.25 s"):
            await late
        own_server.resume()
        await clock.advance(0.5)
        assert await alive(store) == 0


async def test_an_admission_whose_caller_leaves_is_undone(redis_server: RedisServer) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        await store.ping()
        leaving = asyncio.create_task(store.admit("left", [ALIVE], 600.0))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await alive(store) == 0


async def test_closing_tells_those_who_wait(own_server: RedisServer, clock: FakeClock) -> None:
    store = RedisSharedStore(own_server.url, 5.0, clock=clock)
    await store.ping()
    own_server.pause()
    waiting = asyncio.create_task(store.ping())
    await settle()
    await store.aclose()
    own_server.resume()
    with pytest.raises(StorageUnavailable, match="closed"):
        await waiting
    with pytest.raises(StorageUnavailable):
        await store.ping()
    await store.aclose()


# --- the door ---------------------------------------------------------------------------------


async def test_a_password_and_a_database_are_taken_from_the_url() -> None:
    require_redis()
    with RedisServer("--requirepass", "s3cret") as server:
        right = f"redis://:s3cret@127.0.0.1:{server.port}/3"
        async with opened(RedisSharedStore(right, 5.0)) as store:
            assert isinstance(await store.admit("one", [ALIVE], 60.0), Admitted)
            assert "s3cret" not in repr(store)
        assert "s3cret" not in repr(parse_address(right))
        wrong = f"redis://:guess@127.0.0.1:{server.port}/3"
        async with opened(RedisSharedStore(wrong, 5.0)) as store:
            with pytest.raises(StorageUnavailable, match="WRONGPASS") as refused:
                await store.ping()
            assert "guess" not in str(refused.value)


async def test_a_server_that_repeats_what_it_refuses_makes_no_password_known() -> None:
    """As Redis does with the words of a command that it does not know."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readuntil(b"s3cret\r\n")).split()
        writer.write(b"-ERR unknown command, with args beginning with: %b\r\n" % words[-1])
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with opened(RedisSharedStore(f"redis://:s3cret@127.0.0.1:{port}", 5.0)) as store:
            with pytest.raises(StorageUnavailable, match=r"beginning with: \*\*\*"):
                await store.ping()
            assert "s3cret" not in store.failing
    finally:
        server.close()
        await server.wait_closed()


async def test_a_database_that_does_not_exist_is_never_mistaken_for_another(
    redis_server: RedisServer,
) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/999"
    async with opened(RedisSharedStore(url, 5.0)) as store:
        with pytest.raises(StorageUnavailable, match="out of range"):
            await store.admit("one", [ALIVE], 60.0)
    assert keys_of(redis_server) == []


async def test_a_server_that_speaks_something_else_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with opened(RedisSharedStore(f"redis://127.0.0.1:{port}", 5.0)) as store:
            with pytest.raises(StorageUnavailable, match="Redis protocol"):
                await store.ping()
    finally:
        server.close()
        await server.wait_closed()
