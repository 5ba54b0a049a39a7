"""What every shared store tells of what is held: how much, and how much will probably come back. No
call has room for it."""

from __future__ import annotations

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import Claim, LimitStatus, SharedStore
from tests.gateway.storage.claims import admit, concurrent, device, money, opened, rate, refuse
from tests.gateway.storage.conftest import OpenStore

WINDOWS = ["month", "24h"]


async def status(store: SharedStore, claim: Claim) -> LimitStatus:
    [found] = await store.statuses([claim])
    return found


@pytest.mark.parametrize("window", WINDOWS)
async def test_it_gives_no_call_room(open_store: OpenStore, window: str) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 8, window, surplus=7)
        await admit(store, "one", claim, rate("user:a", 5), concurrent("user:a", 3))
        refused = (await refuse(store, "two", money("user:a", 10, 3, window))).status
        assert (refused.remaining, refused.held, refused.surplus) == (2, 8, 7)
        assert refused.likely == 9
        assert not await store.extend("one", "nano_usd", 3)


@pytest.mark.parametrize("window", WINDOWS)
async def test_it_goes_with_the_hold_however_that_ends(
    open_store: OpenStore, clock: FakeClock, window: str
) -> None:
    async with opened(open_store) as store:
        claim, other = (
            money("user:a", 100, 8, window, surplus=5),
            money("plan:p", 100, 8, surplus=5),
        )
        for name in ("settled", "released", "expired"):
            await admit(store, name, claim, other, ttl=30.0 if name == "expired" else 600.0)
        assert (await status(store, claim)).surplus == 15
        await store.settle("settled", [claim, other], {"nano_usd": 2})
        assert (await status(store, claim)).surplus == 10
        await store.release("released")
        assert (await status(store, claim)).surplus == 5
        clock.move(31.0)
        for one in (claim, other):
            found = await status(store, one)
            assert (found.remaining, found.held, found.surplus) == (98, 0, 0)


@pytest.mark.parametrize("window", WINDOWS)
async def test_what_is_held_more_does_not_come_back(open_store: OpenStore, window: str) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 100, 8, window, surplus=5)
        await admit(store, "one", claim)
        await store.extend("one", "nano_usd", 4)
        found = await status(store, claim)
        assert (found.held, found.surplus) == (12, 5)


async def test_a_hold_that_is_made_anew_has_it_again_in_every_limit(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        old, new = money("user:a", 100, 8, surplus=5), money("plan:p", 100, 8, surplus=5)
        await admit(store, "known", old)
        for name in ("known", "forgotten"):
            await store.reinstate(name, [old, new], 60.0)
        assert [(await status(store, one)).surplus for one in (old, new)] == [10, 10]
        for name in ("known", "forgotten"):
            await store.settle(name, [old, new], {})
        assert [(await status(store, one)).surplus for one in (old, new)] == [0, 0]


async def test_of_other_units_what_is_held_is_told_alone(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claims = [device("user:a", 100, 40), rate("user:a", 5), concurrent("user:a", 3)]
        await admit(store, "one", *claims)
        found = [await status(store, claim) for claim in claims]
        assert [(one.held, one.surplus) for one in found] == [(40, 0), (0, 0), (0, 0)]
