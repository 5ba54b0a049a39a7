"""What every shared store does with a hold: settles, extends, releases, expires, restores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim, Counted, StorageUnavailable
from gateway.types import NANO, Unit
from tests.gateway.storage.claims import (
    CENT,
    admit,
    at,
    concurrent,
    device,
    left,
    money,
    opened,
    rate,
    refuse,
)
from tests.gateway.storage.conftest import OpenStore

# --- holds and settlement -----------------------------------------------------------------------


async def test_what_is_held_counts_against_the_cap(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        await admit(store, "one", money("user:a", 10 * CENT, 6 * CENT))
        refused = await refuse(store, "two", money("user:a", 10 * CENT, 5 * CENT))
        assert refused.status.remaining == 4 * CENT
        await admit(store, "three", money("user:a", 10 * CENT, 4 * CENT))


async def test_settling_spends_what_was_used_and_frees_the_rest(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claims = [money("user:a", 10, 8), device("user:a", 100, 50), money("gateway", 20, 8)]
        await admit(store, "one", *claims)
        await store.settle("one", claims, {"nano_usd": 3, "gpu_us": 40})
        assert [await left(store, claim) for claim in claims] == [7, 60, 17]


async def test_a_call_that_cost_more_than_was_held_is_spent_in_full(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 8)
        await admit(store, "one", claim)
        await store.settle("one", [claim], {"nano_usd": 15})
        refused = await refuse(store, "two", money("user:a", 10, 1))
        assert refused.status.remaining == 0
        assert await left(store, money("user:a", 20, 0)) == 5


async def test_settling_twice_changes_nothing(open_store: OpenStore, clock: FakeClock) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 8)
        await admit(store, "one", claim)
        await store.settle("one", [claim], {"nano_usd": 3})
        clock.move(3599.0)
        await store.settle("one", [claim], {"nano_usd": 3})
        assert await left(store, claim) == 7


async def test_a_settlement_counts_in_the_window_of_its_admission(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        at(clock, "2026-01-31T23:59:00")
        claim = money("user:a", 10, 8)
        await admit(store, "one", claim, ttl=3600.0)
        clock.move(120.0)
        assert await left(store, claim) == 10
        await store.settle("one", [claim], {"nano_usd": 8})
        assert await left(store, claim) == 10


async def test_an_expired_hold_gives_its_amounts_and_concurrency_back(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claims = [rate("user:a", 10), concurrent("user:a", 1), money("user:a", 10, 8)]
        await admit(store, "one", *claims, ttl=30.0)
        clock.move(29.9)
        assert [await left(store, claim) for claim in claims[1:]] == [0, 2]
        clock.move(0.1)
        assert [await left(store, claim) for claim in claims[1:]] == [1, 10]
        await admit(store, "two", *claims)


async def test_settling_after_expiry_still_spends_once(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claims = [concurrent("user:a", 1), money("user:a", 10, 8), money("gateway", 10, 8)]
        await admit(store, "late", *claims, ttl=30.0)
        clock.move(31.0)
        await store.settle("late", claims, {"nano_usd": 5})
        await store.settle("late", claims, {"nano_usd": 5})
        assert [await left(store, claim) for claim in claims] == [1, 5, 5]


async def test_settling_what_the_store_has_forgotten_spends_it_in_the_current_window(
    open_store: OpenStore,
) -> None:
    """After the store was emptied, or the gateway killed: the ledger's claims are enough."""
    async with opened(open_store) as store:
        claims = [rate("user:a", 5), concurrent("user:a", 1), money("user:a", 10, 8)]
        await store.settle("unknown", claims, {"nano_usd": 5, "gpu_us": 9})
        await store.settle("unknown", claims, {"nano_usd": 5, "gpu_us": 9})
        assert [await left(store, claim) for claim in claims] == [5, 1, 5]


async def test_releasing_gives_everything_back_the_token_too(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claims = [
            rate("user:a", 7),
            rate("key:k", 3, "second"),
            concurrent("user:a", 1),
            device("user:a", 10, 8),
            money("user:a", 10, 8),
        ]
        await admit(store, "one", *claims)
        await store.release("one")
        assert [await left(store, claim) for claim in claims] == [7, 3, 1, 10, 10]
        await store.release("one")
        await store.release("never held")
        assert [await left(store, claim) for claim in claims] == [7, 3, 1, 10, 10]


async def test_releasing_one_of_several_gives_back_one_token(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        for number in range(7):
            await admit(store, f"call-{number}", rate("user:a", 7))
        await store.release("call-3")
        await store.release("call-3")
        assert await left(store, rate("user:a", 7)) == 1
        await admit(store, "again", rate("user:a", 7))
        await refuse(store, "one too many", rate("user:a", 7))


async def test_releasing_late_gives_no_token_that_time_has_given_already(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claim = rate("user:a", 60)
        await admit(store, "early", claim)
        clock.move(30.0)
        await admit(store, "later", claim)
        await store.release("early")
        assert await left(store, claim) == 59


async def test_settling_after_release_is_spent(open_store: OpenStore) -> None:
    """Money that was spent is spent, whatever was said before."""
    async with opened(open_store) as store:
        claim = money("user:a", 10, 8)
        await admit(store, "one", claim)
        await store.release("one")
        await store.settle("one", [claim], {"nano_usd": 2})
        assert await left(store, claim) == 8


async def test_concurrency_is_freed_by_settling_releasing_and_expiring(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claim = concurrent("user:a", 3)
        await admit(store, "settled", claim)
        await admit(store, "released", claim)
        await admit(store, "expired", claim, ttl=5.0)
        refused = await refuse(store, "fourth", claim)
        assert (refused.status.remaining, refused.retry_after_s) == (0, 1.0)
        assert refused.status.reset_s == 0.0
        await store.settle("settled", [claim], {})
        assert await left(store, claim) == 1
        await store.release("released")
        assert await left(store, claim) == 2
        clock.move(5.0)
        assert await left(store, claim) == 3


# --- extending --------------------------------------------------------------------------------


async def test_extending_holds_more_in_every_scope_of_the_unit(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        claims = [money("user:a", 10, 2), device("user:a", 10, 2), money("gateway", 20, 2)]
        await admit(store, "one", *claims)
        assert await store.extend("one", "nano_usd", 5)
        assert [await left(store, claim) for claim in claims] == [3, 8, 13]
        await store.settle("one", claims, {"nano_usd": 1})
        assert [await left(store, claim) for claim in claims] == [9, 10, 19]


async def test_extending_changes_nothing_where_one_scope_has_no_room(
    open_store: OpenStore,
) -> None:
    async with opened(open_store) as store:
        claims = [money("user:a", 100, 2), money("gateway", 6, 2)]
        await admit(store, "one", *claims)
        assert not await store.extend("one", "nano_usd", 5)
        assert [await left(store, claim) for claim in claims] == [98, 4]
        assert await store.extend("one", "nano_usd", 4)
        assert [await left(store, claim) for claim in claims] == [94, 0]


async def test_only_a_hold_that_is_alive_can_be_extended(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 2)
        with pytest.raises(StorageUnavailable, match="not held"):
            await store.extend("never held", "nano_usd", 1)
        await admit(store, "one", claim, ttl=5.0)
        assert await store.extend("one", "gpu_us", 10**9), "nothing limits it"
        clock.move(5.0)
        with pytest.raises(StorageUnavailable, match="not held"):
            await store.extend("one", "nano_usd", 1)
        assert await left(store, claim) == 10
        with pytest.raises(ValueError, match="concurrent"):
            await store.extend("one", "concurrent", 1)


async def test_an_extension_belongs_to_the_window_of_the_admission(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        at(clock, "2026-01-31T23:59:00")
        claim = money("user:a", 10, 4)
        await admit(store, "old", claim, ttl=3600.0)
        clock.move(120.0)
        await admit(store, "new", money("user:a", 10, 10))
        assert await store.extend("old", "nano_usd", 6)
        assert not await store.extend("old", "nano_usd", 1)
        await store.settle("old", [claim], {"nano_usd": 10})
        assert await left(store, claim) == 0


# --- restoring --------------------------------------------------------------------------------


async def test_a_counter_knows_what_the_ledger_knows_and_never_less_than_it_did(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        await store.restore([])
        less, more, new = (money(f"user:{name}", 100, 8) for name in "abc")
        for claim in (less, more):
            await admit(store, claim.scope, claim)
            await store.settle(claim.scope, [claim], {"nano_usd": 8})
        spent = [
            Counted("user:a", "nano_usd", "month", 50),
            Counted("user:b", "nano_usd", "month", 5),
            Counted("user:c", "nano_usd", "month", 60),
            Counted("user:c", "gpu_us", "day", 7),
            Counted("user:c", "requests", "minute", 3),
        ]
        for _ in range(2):
            await store.restore(iter(spent))
            assert [await left(store, claim) for claim in (less, more, new)] == [50, 92, 40]
        assert await left(store, device("user:c", 10, 0)) == 3
        assert await left(store, rate("user:c", 5)) == 5
        clock.move(32 * 86_400)
        assert await left(store, new) == 100


async def test_what_is_held_before_restoring_is_kept_beside_what_was_spent(
    open_store: OpenStore,
) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 100, 8)
        await admit(store, "one", claim)
        await store.restore([Counted("user:a", "nano_usd", "month", 50)])
        assert await left(store, claim) == 42


async def test_a_ping_says_that_the_store_is_there(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        await store.ping()


# --- past a cap -------------------------------------------------------------------------------


async def test_a_settlement_tells_what_of_it_lies_past_a_cap(open_store: OpenStore) -> None:
    """Of the scope where it is most, and never more than the settlement itself."""
    async with opened(open_store) as store:
        claims = [money("user:a", 10, 3), money("gateway", 100, 3), device("user:a", 1, 0)]
        for hold in ("one", "two", "three"):
            await admit(store, hold, *claims)
        used: dict[Unit, int] = {"nano_usd": 8, "gpu_us": 9}
        assert await store.settle("one", claims, used) == 0
        assert await store.settle("two", claims, used) == 6
        assert await store.settle("two", claims, used) == 0
        assert await store.settle("three", claims, used) == 8


# --- at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [CENT // 10, CENT // 7, CENT])
async def test_two_hundred_calls_at_once_never_pass_a_cap_of_one_cent(
    open_store: OpenStore, cost: int
) -> None:
    claims: Sequence[Claim] = [money("user:a", CENT, cost), money("gateway", NANO, cost)]
    async with opened(open_store) as store:

        async def call(number: int) -> bool:
            answer = await store.admit(f"call-{number}", claims, 60.0)
            await asyncio.sleep(0)
            if isinstance(answer, Admitted) and number % 3 == 0:
                await store.settle(f"call-{number}", claims, {"nano_usd": cost})
            return isinstance(answer, Admitted)

        admitted = sum(await asyncio.gather(*(call(number) for number in range(200))))
        assert admitted == CENT // cost
        assert await left(store, claims[0]) == CENT - admitted * cost


async def test_an_amount_of_nine_million_dollars_is_exact(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        most = 2**53 - 1
        claim = money("user:a", most, most - 1)
        await admit(store, "one", claim)
        assert await left(store, claim) == 1
        await store.settle("one", [claim], {"nano_usd": most - 2})
        assert await left(store, claim) == 2
