"""What every shared store admits: all or nothing, rates, calendar windows. Time is the test's."""

from __future__ import annotations

import datetime

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import Admitted, Claim
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

# --- all or nothing ---------------------------------------------------------------------------


async def test_a_call_that_one_scope_refuses_takes_nothing_in_any(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        narrow = money("gateway", 5 * CENT, 6 * CENT)
        wide = [
            rate("key:k", 10),
            rate("user:a", 10),
            concurrent("user:a", 10),
            device("user:a", 1000, 10),
            money("user:a", 100 * CENT, 6 * CENT),
        ]
        refused = await refuse(store, "one", *wide, narrow)
        assert refused.status.claim == narrow
        assert refused.status.remaining == 5 * CENT
        remaining = [await left(store, claim) for claim in wide]
        assert remaining == [10, 10, 10, 1000, 100 * CENT]


async def test_a_refusal_names_the_first_claim_that_does_not_fit(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        await admit(store, "one", concurrent("user:a", 1), money("user:a", CENT, CENT))
        refused = await refuse(store, "two", concurrent("user:a", 1), money("user:a", CENT, CENT))
        assert refused.status.claim.unit == "concurrent"


async def test_scopes_units_and_windows_are_counted_apart(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        await admit(store, "one", money("user:a", 10, 4), money("user:a", 10, 3, "day"))
        assert await left(store, money("user:a", 10, 0)) == 6
        assert await left(store, money("user:a", 10, 0, "day")) == 7
        assert await left(store, money("user:b", 10, 0)) == 10
        assert await left(store, device("user:a", 10, 0, "month")) == 10


async def test_a_call_without_limits_is_admitted_and_settled(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        assert await admit(store, "free") == Admitted(())
        await store.settle("free", (), {"nano_usd": 5})
        assert await store.statuses(()) == ()


async def test_an_id_that_is_held_cannot_be_held_again(open_store: OpenStore) -> None:
    async with opened(open_store) as store:
        await admit(store, "one", concurrent("user:a", 5))
        with pytest.raises(ValueError, match="one"):
            await store.admit("one", [concurrent("user:a", 5)], 60.0)
        assert await left(store, concurrent("user:a", 5)) == 4


# --- rates ------------------------------------------------------------------------------------


async def test_a_rate_gives_its_amount_at_once_and_then_evenly(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        for number in range(60):
            await admit(store, f"burst-{number}", rate("user:a", 60))
        assert (await refuse(store, "too-many", rate("user:a", 60))).retry_after_s == 1.0
        for number in range(5):
            clock.move(0.999999)
            await refuse(store, f"early-{number}", rate("user:a", 60))
            clock.move(0.000001)
            await admit(store, f"even-{number}", rate("user:a", 60))


async def test_a_window_has_no_edge_at_which_twice_the_amount_passes(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        at(clock, "2026-03-01T00:00:59.900")
        for number in range(10):
            await admit(store, f"before-{number}", rate("user:a", 10))
        clock.move(0.2)
        await refuse(store, "after-the-minute", rate("user:a", 10))


@pytest.mark.parametrize(("amount", "window"), [(7, "minute"), (3, "second"), (999_983, "month")])
async def test_retry_after_is_exact_for_an_amount_that_does_not_divide_its_window(
    open_store: OpenStore, clock: FakeClock, amount: int, window: str
) -> None:
    """One microsecond before ``retry_after_s`` the call is refused, and then it is admitted."""
    claim = Claim("user:a", "requests", window, amount, 1)
    async with opened(open_store) as store:
        first = await admit(store, "first", claim)
        assert first.statuses[0].remaining == amount - 1
        for number in range(min(amount, 12) - 1):
            await admit(store, f"burst-{number}", claim)
        if amount > 12:
            return
        for number in range(2 * amount):
            wait = (await refuse(store, f"no-{number}", claim)).retry_after_s
            clock.move(wait - 0.000001)
            await refuse(store, f"early-{number}", claim)
            clock.move(0.000001)
            await admit(store, f"yes-{number}", claim)


async def test_exactly_the_amount_passes_in_each_window_however_it_divides(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        passed = 0
        for number in range(4 * 60):
            answer = await store.admit(f"call-{number}", [rate("user:a", 7)], 60.0)
            passed += isinstance(answer, Admitted)
            clock.move(1.0)
        assert passed == 7 + 7 * 4 - 1  # the burst, then one each 8.57 s; the last is due at 240


async def test_the_status_of_a_rate_says_what_is_left_and_when_it_is_whole(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claims = [rate("key:k", 30), concurrent("user:a", 9), rate("user:a", 60, "hour")]
        admitted = await admit(store, "one", *claims)
        assert [(s.claim, s.remaining, s.reset_s) for s in admitted.statuses] == [
            (claims[0], 29, 2.0),
            (claims[2], 59, 60.0),
        ]
        clock.move(1.5)
        (status,) = await store.statuses([claims[0]])
        assert (status.remaining, status.reset_s) == (29, 0.5)
        clock.move(0.5)
        assert await left(store, claims[0]) == 30


async def test_a_rate_follows_a_limit_that_a_new_policy_changes(open_store: OpenStore) -> None:
    """What was owed keeps its share of the window: half used stays half used."""
    async with opened(open_store) as store:
        for number in range(30):
            await admit(store, f"call-{number}", rate("user:a", 60))
        assert await left(store, rate("user:a", 10)) == 5
        assert await left(store, rate("user:a", 600)) == 300


async def test_a_clock_that_is_set_back_does_not_block_a_rate(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        for number in range(60):
            await admit(store, f"call-{number}", rate("user:a", 60))
        clock.move(-86_400.0)
        assert (await admit(store, "then", rate("user:a", 60))).statuses[0].remaining == 59


# --- calendar windows -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "now", "seconds_left"),
    [
        ("second", "2026-03-01T12:00:00.250", 0.75),
        ("minute", "2026-03-01T12:00:15", 45),
        ("hour", "2026-03-01T12:15:00", 45 * 60),
        ("day", "2026-03-01T23:59:59", 1),
        ("week", "2026-03-01T23:59:59", 1),  # a Sunday
        ("week", "2026-03-02T00:00:00", 7 * 86_400),  # a Monday
        ("month", "2026-02-01T00:00:00", 28 * 86_400),
        ("month", "2028-02-10T00:00:00", 20 * 86_400),  # a leap year
        ("month", "2100-02-10T00:00:00", 19 * 86_400),  # none, though 4 divides it
        ("month", "2400-02-10T00:00:00", 20 * 86_400),  # one, because 400 divides it
        ("month", "2026-04-30T23:59:59", 1),
        ("month", "2026-12-31T23:59:59", 1),
        ("month", "2027-01-01T00:00:00", 31 * 86_400),
    ],
)
async def test_a_total_is_whole_again_when_its_calendar_window_ends(
    open_store: OpenStore, clock: FakeClock, window: str, now: str, seconds_left: float
) -> None:
    async with opened(open_store) as store:
        at(clock, now)
        claim = money("user:a", 10, 10, window)
        await admit(store, "one", claim, ttl=60.0)
        refused = await refuse(store, "two", claim)
        assert refused.retry_after_s == pytest.approx(seconds_left, abs=1e-5)
        clock.move(refused.retry_after_s + 0.0001)
        await admit(store, "three", claim)


async def test_every_day_of_eight_years_has_the_month_that_the_calendar_gives_it(
    open_store: OpenStore, clock: FakeClock
) -> None:
    async with opened(open_store) as store:
        claim = money("user:a", 10, 1)
        for _ in range(8 * 366 // 5):
            today = datetime.datetime.fromtimestamp(clock.time(), datetime.UTC)
            after = (today.replace(day=1) + datetime.timedelta(days=32)).replace(
                day=1, hour=0, minute=0, second=0
            )
            (status,) = await store.statuses([claim])
            assert status.reset_s == (after - today).total_seconds()
            clock.move(5 * 86_400)
