"""What a Redis server is told of the time in which it was lost, and who is alive meanwhile."""

from __future__ import annotations

import time

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim
from gateway.storage.redis.store import RedisSharedStore
from gateway.storage.remote import CatchUp, Held, Settled
from tests.gateway.storage.redis.test_store import ALIVE, MONEY, opened
from tests.redis_server import RedisServer


async def test_what_was_missed_is_taken_once(redis_server: RedisServer) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        assert isinstance(await store.admit("ended", [MONEY, ALIVE], 60.0), Admitted)
        assert isinstance(await store.admit("left", [MONEY, ALIVE], 60.0), Admitted)
        now_us = round(time.time() * 1_000_000)
        spent = Claim(MONEY.scope, MONEY.unit, MONEY.window, MONEY.limit, 5)
        missed = CatchUp(
            id="missed",
            spent=((spent, now_us),),
            settled=(Settled("ended", (MONEY, ALIVE), {"nano_usd": 7}),),
            released=("left", "unknown"),
            held=(Held("between", (MONEY, ALIVE), 60_000_000),),
            extended=(("between", "nano_usd", 3), ("unknown", "nano_usd", 3)),
        )
        for _ in range(3):
            assert (await store.catch_up(missed)).gateways == 1
            (money, running) = await store.statuses([MONEY, ALIVE])
            assert (money.remaining, running.remaining) == (100 - 5 - 7 - 10 - 3, 3)


async def test_what_was_spent_in_an_earlier_window_is_spent_there(
    redis_server: RedisServer, clock: FakeClock
) -> None:
    day = Claim("user:a", "nano_usd", "day", 100, 5)
    store = RedisSharedStore(redis_server.url, 5.0, now_us=lambda: round(clock.time() * 1e6))
    async with opened(store):
        yesterday = round((clock.time() - 86_400) * 1e6)
        await store.catch_up(CatchUp(id="late", spent=((day, yesterday),)))
        assert (await store.statuses([day]))[0].remaining == 100
        await store.catch_up(CatchUp(id="now", spent=((day, round(clock.time() * 1e6)),)))
        assert (await store.statuses([day]))[0].remaining == 95


async def test_what_is_told_past_a_limit_is_said(redis_server: RedisServer) -> None:
    async with opened(RedisSharedStore(redis_server.url, 5.0)) as store:
        over = Claim(MONEY.scope, MONEY.unit, MONEY.window, MONEY.limit, 130)
        spent = ((over, round(time.time() * 1_000_000)),)
        assert (await store.catch_up(CatchUp(id="over", spent=spent))).past_nano == 30


async def test_gateways_are_alive_for_some_seconds_after_a_sign_of_life(
    redis_server: RedisServer, clock: FakeClock
) -> None:
    def gateway() -> RedisSharedStore:
        return RedisSharedStore(redis_server.url, 5.0, now_us=lambda: round(clock.time() * 1e6))

    async with opened(gateway()) as one, opened(gateway()) as two, opened(gateway()) as three:
        seen = [(await store.beat()).gateways for store in (one, two, one, three)]
        assert seen == [1, 2, 2, 3]
        await three.leave()
        assert (await one.beat()).gateways == 2
        clock.move(6.0)
        assert (await one.beat()).gateways == 1
