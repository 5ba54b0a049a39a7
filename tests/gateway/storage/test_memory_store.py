"""The memory store forgets what is over."""

from __future__ import annotations

import gc
import sys

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim, Refused
from gateway.storage.claims import CallClaims, template_of
from gateway.storage.memory import MemorySharedStore
from gateway.types import Principal


def claims_of(user: str) -> tuple[Claim, ...]:
    return (
        Claim(user, "requests", "second", 10**6, 1),
        Claim(user, "concurrent", "", 10**6, 1),
        Claim(user, "gpu_us", "minute", 10**9, 5),
        Claim(user, "nano_usd", "day", 10**9, 5),
    )


async def serve(store: MemorySharedStore, clock: FakeClock, first: int, last: int) -> None:
    claims = claims_of("user:a")
    for number in range(first, last):
        name = f"call-{number}"
        assert isinstance(await store.admit(name, claims, 600.0), Admitted)
        await store.settle(name, claims, {"nano_usd": 1})
        clock.move(0.001)


async def test_memory_does_not_grow_with_the_number_of_calls(clock: FakeClock) -> None:
    """100,000 calls, none of which has reached its expiry, after 10,000 to warm up."""
    store = MemorySharedStore(clock, remember=1000)
    await serve(store, clock, 0, 10_000)
    gc.collect()
    before = sys.getallocatedblocks()
    await serve(store, clock, 10_000, 110_000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 5_000, "blocks of memory, for 100,000 calls"


async def test_memory_does_not_grow_with_the_number_of_scopes(clock: FakeClock) -> None:
    store = MemorySharedStore(clock)
    for number in range(5_000):
        user = f"user:{number}"
        await store.admit(f"call-{number}", claims_of(user), 60.0)
        await store.settle(f"call-{number}", claims_of(user), {"nano_usd": 1})
        clock.move(60.0)
    money_of_today, other_counters_of_the_last_call = 5_000 % 1440, 3
    expected = money_of_today + other_counters_of_the_last_call
    assert repr(store) == f"MemoryStore(0 holds, {expected} counters)"


async def test_a_storm_of_expired_holds_is_cleared_a_bounded_number_at_a_time(
    clock: FakeClock,
) -> None:
    store = MemorySharedStore(clock)
    claim = Claim("user:a", "concurrent", "", 1000, 1)
    for number in range(1000):
        await store.admit(f"lost-{number}", [claim], 30.0)
    clock.move(31.0)
    remaining = [(await store.statuses([claim]))[0].remaining for _ in range(17)]
    assert remaining[0] == 64
    assert remaining[-1] == 1000
    assert repr(store).startswith("MemoryStore(0 holds")


async def test_at_least_so_many_settled_ids_are_remembered_as_was_asked(clock: FakeClock) -> None:
    store = MemorySharedStore(clock, remember=100)
    claim = Claim("user:a", "nano_usd", "month", 10**9, 0)
    for number in range(100):
        await store.settle(f"call-{number}", [claim], {"nano_usd": 1})
    for number in range(100):
        await store.settle(f"call-{number}", [claim], {"nano_usd": 1})
    assert (await store.statuses([claim]))[0].remaining == 10**9 - 100


async def test_a_counter_that_was_forgotten_is_looked_up_anew_by_callers_who_knew_it(
    clock: FakeClock,
) -> None:
    store = MemorySharedStore(clock)
    one_at_a_time = Claim("gateway", "concurrent", "", 1, 1)
    known = CallClaims(template_of(Principal(key_id="k", user="u"), [one_at_a_time], ()), 0, 0)
    assert isinstance(await store.admit("first", known, 600.0), Admitted)
    await store.settle("first", known, {})
    clock.move(60.0)
    assert isinstance(await store.admit("second", [one_at_a_time], 600.0), Admitted)
    assert repr(store) == "MemoryStore(1 holds, 1 counters)"
    assert isinstance(await store.admit("third", known, 600.0), Refused)


async def test_a_window_that_begins_begins_for_callers_whose_counters_are_known(
    clock: FakeClock,
) -> None:
    store = MemorySharedStore(clock)
    limit = Claim("user:u", "nano_usd", "minute", 10, 0)
    template = template_of(Principal(key_id="k", user="u"), [limit], ())
    for name in ("this minute", "the next"):
        claims = CallClaims(template, 10, 0)
        assert isinstance(await store.admit(name, claims, 600.0), Admitted)
        await store.settle(name, claims, {"nano_usd": 10})
        assert isinstance(await store.admit("one more", claims, 600.0), Refused)
        clock.move(60.0)
