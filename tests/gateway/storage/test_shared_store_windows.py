"""Windows of zones and rolling ones, in every kind of store: when there is room again, and that no
cap is passed because time is counted in steps."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim, Counted, Refused
from gateway.types import MICRO, Unit
from tests.gateway.storage.claims import admit, at, left, opened, refuse
from tests.gateway.storage.conftest import OpenStore

HOUR = 3600.0


def claim(window: str, limit: int, take: int, unit: Unit = "nano_usd") -> Claim:
    return Claim("user:a", unit, window, limit, take)


async def test_a_day_of_a_zone_begins_at_its_midnight(
    open_store: OpenStore, clock: FakeClock
) -> None:
    """Summer time begins in Berlin on the 29th of March: that day has 23 hours."""
    one = claim("day Europe/Berlin", 10, 10)
    async with opened(open_store) as store:
        at(clock, "2026-03-28T22:59:59")
        await admit(store, "a", one)
        answer = await refuse(store, "b", one)
        assert answer.retry_after_s == pytest.approx(1.0)
        at(clock, "2026-03-28T23:00:00")
        await admit(store, "c", one)
        answer = await refuse(store, "d", one)
        assert answer.retry_after_s == pytest.approx(23 * HOUR)
        at(clock, "2026-03-29T22:00:00")
        await admit(store, "e", one)


async def test_room_comes_back_in_a_rolling_window_when_it_is_said_to(
    open_store: OpenStore, clock: FakeClock
) -> None:
    small, large = claim("1h", 10, 4), claim("1h", 10, 10)
    async with opened(open_store) as store:
        await admit(store, "a", small)
        await store.settle("a", [small], {"nano_usd": 4})
        clock.move(1800.0)
        await admit(store, "b", small)
        await store.settle("b", [small], {"nano_usd": 4})
        soon, late = await refuse(store, "c", small), await refuse(store, "c", large)
        assert 1800.0 < soon.retry_after_s <= 1860.0
        assert 3600.0 < late.retry_after_s <= 3660.0
        clock.move(soon.retry_after_s)
        assert await left(store, small) == 6
        await admit(store, "d", small)


async def test_what_the_ledger_knows_leaves_a_rolling_window_step_by_step(
    open_store: OpenStore, clock: FakeClock
) -> None:
    one = claim("1h", 100, 0)
    async with opened(open_store) as store:
        now = round(clock.time() * MICRO)
        steps = [(now - minutes * 60 * MICRO) // (60 * MICRO) for minutes in (50, 20)]
        known = [Counted("user:a", "nano_usd", "1h", 30, step) for step in steps]
        for _ in range(2):
            await store.restore(known)
        assert await left(store, one) == 40
        clock.move(15 * 60.0)
        assert await left(store, one) == 70
        clock.move(30 * 60.0)
        assert await left(store, one) == 100


@pytest.mark.parametrize("window", ["day", "day Europe/Berlin"])
@pytest.mark.parametrize("used", [3, 9, 12])
async def test_what_a_call_holds_more_belongs_to_the_window_of_that_time(
    window: str, used: int, open_store: OpenStore, clock: FakeClock
) -> None:
    """That of its admission is full by then, and has no more of it than was held there."""
    first, rest = claim(window, 10, 4), claim(window, 10, 6)
    async with opened(open_store) as store:
        at(clock, "2026-03-28T22:30:00")
        await admit(store, "long", first, ttl=86_400.0)
        await admit(store, "other", rest)
        await store.settle("other", [rest], {"nano_usd": 6})
        assert not await store.extend("long", "nano_usd", 1)
        at(clock, "2026-03-29T01:00:00")
        assert await left(store, first) == 10
        assert not await store.extend("long", "nano_usd", 11)
        assert await store.extend("long", "nano_usd", 5)
        assert not await store.extend("long", "nano_usd", 6)
        await store.reinstate("long", [claim(window, 20, 9)], 86_400.0)
        assert await store.extend("long", "nano_usd", 1)
        assert await left(store, first) == 4
        assert await store.settle("long", [claim(window, 20, 10)], {"nano_usd": used}) == 0
        assert await left(store, first) == 10 - max(0, used - 4)


@pytest.mark.parametrize("ends", ["released", "expired"])
async def test_what_is_held_in_two_windows_comes_back_in_both(
    ends: str, open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        at(clock, "2026-03-28T23:59:00")
        await admit(store, "long", claim("day", 10, 4))
        at(clock, "2026-03-29T00:01:00")
        assert await store.extend("long", "nano_usd", 10)
        await refuse(store, "next", claim("day", 10, 1))
        if ends == "released":
            await store.release("long")
        else:
            clock.move(600.0)
        await admit(store, "next", claim("day", 10, 10))


MOVES = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30)), min_size=1, max_size=60)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=MOVES)
def test_no_stretch_of_a_windows_length_holds_more_than_its_cap(
    open_store: OpenStore, clock: FakeClock, moves: list[tuple[int, int]]
) -> None:
    """Wherever it begins; and a call that is refused fits when it was said to, if none comes in
    between."""
    spent: list[tuple[float, int]] = []

    async def run() -> None:
        async with opened(open_store) as store:
            for number, (take, wait_s) in enumerate(moves):
                clock.move(wait_s + 0.25)
                one = claim("1m", 10, take)
                answer = await store.admit(f"c{number}", [one], 600.0)
                if isinstance(answer, Refused):
                    clock.move(answer.retry_after_s)
                    answer = await store.admit(f"c{number}", [one], 600.0)
                assert isinstance(answer, Admitted)
                spent.append((clock.time(), take))
                await store.settle(f"c{number}", [one], {"nano_usd": take})

    asyncio.run(run())
    for begun, _ in spent:
        assert sum(take for when, take in spent if begun <= when < begun + 60.0) <= 10
