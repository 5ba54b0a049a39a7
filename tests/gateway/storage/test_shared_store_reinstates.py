"""What every shared store does for calls that have begun, when it has forgotten them or limits have
changed."""

from __future__ import annotations

from gateway.clock import FakeClock
from tests.gateway.storage.claims import admit, at, concurrent, left, money, opened, rate
from tests.gateway.storage.conftest import OpenStore


async def test_a_hold_that_was_forgotten_is_held_again_whatever_the_limits_say(
    open_store: OpenStore,
) -> None:
    async with opened(open_store) as store:
        claims = [money("user:a", 10, 8), concurrent("user:a", 1), rate("user:a", 5)]
        await admit(store, "one", *claims)
        await store.reinstate("two", claims, 60.0)
        assert [await left(store, claim) for claim in claims] == [0, 0, 4]
        await store.settle("one", claims, {"nano_usd": 1})
        await store.settle("two", claims, {"nano_usd": 2})
        assert [await left(store, claim) for claim in claims] == [7, 1, 4]


async def test_a_hold_is_widened_by_the_limits_that_are_new(open_store: OpenStore) -> None:
    """And by nothing that it has already; however often."""
    async with opened(open_store) as store:
        old, new = money("user:a", 10, 8), money("plan:p", 5, 8)
        await admit(store, "one", old)
        for _ in range(2):
            await store.reinstate("one", [old, new], 60.0)
            assert [await left(store, claim) for claim in (old, new)] == [2, 0]
        await store.settle("one", [old], {"nano_usd": 3})
        assert [await left(store, claim) for claim in (old, new)] == [7, 2]


async def test_a_hold_that_was_reinstated_expires_like_any_other(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 8)
        await store.reinstate("one", [claim], 5.0)
        clock.move(5.0)
        assert await left(store, claim) == 10


async def test_a_hold_is_reinstated_with_the_limit_that_holds_now(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        await admit(store, "one", money("user:a", 100, 8))
        await store.reinstate("one", [money("user:a", 10, 8)], 60.0)
        assert not await store.extend("one", "nano_usd", 3)
        await store.reinstate("one", [money("user:a", 11, 8)], 60.0)
        assert await store.extend("one", "nano_usd", 3)
        assert await store.settle("one", [], {"nano_usd": 12}) == 1


async def test_a_hold_lives_as_long_as_it_was_reinstated_for_and_never_shorter(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claims = [money("user:a", 10, 8), concurrent("user:a", 1)]
        await admit(store, "one", *claims, ttl=60.0)
        await store.reinstate("one", claims, 5.0)
        clock.move(59.0)
        assert [await left(store, claim) for claim in claims] == [2, 0]
        await store.reinstate("one", claims, 100.0)
        clock.move(99.0)
        assert [await left(store, claim) for claim in claims] == [2, 0]
        clock.move(1.0)
        assert [await left(store, claim) for claim in claims] == [10, 1]


async def test_a_hold_stays_in_the_window_in_which_it_was_admitted(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        at(clock, "2026-01-31T23:59:00")
        claim = money("user:a", 10, 8)
        await admit(store, "one", claim, ttl=3600.0)
        clock.move(120.0)
        await store.reinstate("one", [claim], 60.0)
        assert await left(store, claim) == 10
        await store.settle("one", [claim], {"nano_usd": 8})
        assert await left(store, claim) == 10


async def test_what_was_settled_is_not_held_again(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 8)
        await admit(store, "one", claim)
        await store.settle("one", [claim], {"nano_usd": 3})
        await store.reinstate("one", [claim], 60.0)
        assert await left(store, claim) == 7
