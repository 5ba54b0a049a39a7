"""What holds while the shared store is lost, and what it is told when it is back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.clock import FakeClock, settle
from gateway.storage.base import Admitted, Claim, Refused
from gateway.storage.outage.answers import LostAnswers
from gateway.storage.outage.store import FallbackStore
from gateway.storage.remote import StorageLost
from gateway.types import LostAnswer
from tests.gateway.storage.claims import concurrent, device, money, rate
from tests.gateway.storage.outage.fleeting import FleetingStore

BACK_S = 2.0
"""Within which a store that is back is asked."""


@asynccontextmanager
async def outage(
    clock: FakeClock,
    answers: LostAnswer | LostAnswers = "share",
    *,
    gateways: int = 2,
    before: tuple[Claim, ...] = (),
) -> AsyncIterator[tuple[FallbackStore, FleetingStore]]:
    """Lost after a call with the claims ``before`` was admitted, as ``before``."""
    remote = FleetingStore(clock, gateways)
    given = answers if isinstance(answers, LostAnswers) else LostAnswers(rest=answers)
    store = FallbackStore(remote, given, clock)
    try:
        await store.ping()
        if before:
            assert isinstance(await store.admit("before", before, 600.0), Admitted)
            await store.ping()
        remote.lost = True
        yield store, remote
    finally:
        await store.aclose()


async def passed(store: FallbackStore, *claims: Claim, most: int = 100) -> int:
    """How many calls with these claims are let through."""
    for number in range(most):
        try:
            answer = await store.admit(f"{claims[0].scope}-{number}", claims, 600.0)
        except StorageLost:
            return number
        if isinstance(answer, Refused):
            return number
    return most


async def back(clock: FakeClock, remote: FleetingStore) -> None:
    remote.lost = remote.deaf = False
    await settle()
    await clock.advance(BACK_S)


async def left(remote: FleetingStore, claim: Claim) -> int:
    (status,) = await remote.memory.statuses([claim])
    return status.remaining


# --- the answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"), [("closed", 0), ("share", 5), ("open", 100)], ids=str
)
@pytest.mark.parametrize(
    "claim",
    [rate("user:a", 10), concurrent("user:a", 10), device("user:a", 10, 1), money("user:a", 10, 1)],
    ids=["rate", "concurrent", "device", "money"],
)
async def test_a_scope_is_closed_open_or_has_a_share(
    claim: Claim, answer: LostAnswer, expected: int, clock: FakeClock
) -> None:
    async with outage(clock, answer) as (store, _):
        assert await passed(store, claim) == expected


async def test_a_call_goes_on_where_all_of_its_scopes_let_it(clock: FakeClock) -> None:
    answers = LostAnswers({"key": "open", "user": "share"}, "closed")
    async with outage(clock, answers) as (store, _):
        assert await passed(store, rate("key:k", 1), money("user:a", 10, 1)) == 5
        assert await passed(store, rate("key:l", 1), money("gateway", 10, 1)) == 0


async def test_a_share_is_of_what_a_budget_had_left(clock: FakeClock) -> None:
    claim = money("user:a", 100, 60)
    async with outage(clock, before=(claim,)) as (store, _):
        assert await passed(store, money("user:a", 100, 1)) == 20


async def test_what_was_taken_since_the_last_look_is_not_shared_again(clock: FakeClock) -> None:
    """Nor what was taken while the look itself was lost."""
    budget = money("user:a", 100, 20)
    async with outage(clock, before=(budget,)) as (store, remote):
        remote.lost = False
        assert isinstance(await store.admit("since", [budget], 60.0), Admitted)
        remote.lost = True
        with pytest.raises(StorageLost):
            await store.ping()
        assert await passed(store, money("user:a", 100, 1)) == 20


@pytest.mark.parametrize("looks", [True, False], ids=["after a look", "before a look"])
async def test_an_outage_after_another_gives_no_second_share(looks: bool, clock: FakeClock) -> None:
    claim = money("user:a", 100, 1)
    async with outage(clock, gateways=1, before=(money("user:a", 100, 40),)) as (store, remote):
        assert await passed(store, claim) == 60
        await back(clock, remote)
        if looks:
            await store.ping()
        remote.lost = True
        assert await passed(store, money("user:a", 100, 2)) == 0


async def test_what_was_taken_of_a_budget_before_any_look_is_taken_off(clock: FakeClock) -> None:
    async with outage(clock, gateways=1) as (store, remote):
        remote.lost = False
        assert isinstance(await store.admit("since", [money("user:a", 100, 70)], 60.0), Admitted)
        remote.lost = True
        assert await passed(store, money("user:a", 100, 1)) == 30


async def test_a_budget_that_was_used_up_is_refused_as_ever(clock: FakeClock) -> None:
    async with outage(clock, before=(money("user:a", 100, 95),)) as (store, _):
        answer = await store.admit("one", [money("user:a", 100, 10)], 60.0)
        assert isinstance(answer, Refused)
        assert (answer.status.claim.limit, answer.status.remaining) == (100, 5)


async def test_calls_that_run_already_count_for_how_many_run_at_once(clock: FakeClock) -> None:
    claim = concurrent("user:a", 10)
    async with outage(clock, before=(claim,)) as (store, _):
        assert await passed(store, claim) == 4
        await store.settle("before", [claim], {})
        assert isinstance(await store.admit("another", [claim], 60.0), Admitted)


async def test_nothing_is_shared_by_a_gateway_that_knows_of_no_others(clock: FakeClock) -> None:
    remote = FleetingStore(clock)
    store = FallbackStore(remote, LostAnswers(rest="share"), clock)
    remote.lost = True
    assert await passed(store, money("user:a", 10, 1)) == 0
    await store.aclose()


async def test_a_rate_that_is_shared_tells_its_limit_and_one_that_is_open_tells_nothing(
    clock: FakeClock,
) -> None:
    answers = LostAnswers({"key": "open"}, "share")
    async with outage(clock, answers) as (store, _):
        answer = await store.admit("one", [rate("key:k", 60), rate("user:a", 60)], 60.0)
        assert isinstance(answer, Admitted)
        (status,) = answer.statuses
        assert (status.claim, status.remaining) == (rate("user:a", 60), 29)


async def test_more_is_held_within_the_share(clock: FakeClock) -> None:
    claim = money("user:a", 100, 10)
    async with outage(clock, before=(claim,)) as (store, _):
        assert await store.extend("before", "nano_usd", 40)
        with pytest.raises(StorageLost):
            await store.extend("before", "nano_usd", 6)
        assert await store.extend("before", "nano_usd", 5)


# --- an outage --------------------------------------------------------------------------------


async def test_one_call_finds_out_and_no_other_one_asks(clock: FakeClock) -> None:
    async with outage(clock) as (store, remote):
        asked = remote.asked
        assert await passed(store, money("user:a", 20, 1)) == 10
        assert remote.asked == asked + 1


async def test_one_question_at_a_time_asks_whether_it_is_back(clock: FakeClock) -> None:
    async with outage(clock) as (store, remote):
        await passed(store, rate("user:a", 10))
        await settle()
        asked = remote.asked
        await clock.advance(10.0)
        assert asked + 10 <= remote.asked <= asked + 16
        await back(clock, remote)
        assert (store.failing, store.degraded) == ("", "")


async def test_its_beginning_and_its_end_are_told_once(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "spillgate"):
        async with outage(clock) as (store, remote):
            await passed(store, rate("user:a", 10))
            assert store.degraded == "limits hold by share, of 2 gateways"
            await clock.advance(10.0)
            await back(clock, remote)
    begin, end = [record.getMessage() for record in caplog.records]
    assert begin == "the shared store is lost: it is lost; limits meanwhile: share"
    assert end.startswith("the shared store is back after")


async def test_where_all_is_closed_the_store_fails(clock: FakeClock) -> None:
    async with outage(clock, "closed") as (store, _):
        await passed(store, rate("user:a", 10))
        assert (store.failing, store.degraded) == ("it is lost", "")


# --- the return -------------------------------------------------------------------------------

CLAIMS = (money("user:a", 1000, 10), concurrent("user:a", 100))


@pytest.mark.parametrize("deaf", [False, True], ids=["unheard", "answers lost"])
async def test_what_was_spent_and_is_held_is_added_once(deaf: bool, clock: FakeClock) -> None:
    """Of calls from before, that ended and that go on; of calls from in between, the same."""
    async with outage(clock, before=CLAIMS) as (store, remote):
        remote.lost, remote.deaf = not deaf, deaf
        assert isinstance(await store.admit("ends", CLAIMS, 600.0), Admitted)
        assert isinstance(await store.admit("goes on", CLAIMS, 600.0), Admitted)
        await store.settle("before", CLAIMS, {"nano_usd": 7})
        await store.settle("ends", CLAIMS, {"nano_usd": 4})
        await clock.advance(10.0)
        await back(clock, remote)
        assert await left(remote, CLAIMS[0]) == 1000 - 7 - 4 - 10
        assert await left(remote, CLAIMS[1]) == 99
        await store.settle("goes on", CLAIMS, {"nano_usd": 3})
        assert await left(remote, CLAIMS[0]) == 1000 - 7 - 4 - 3
        assert await left(remote, CLAIMS[1]) == 100


async def test_a_settlement_whose_answer_was_lost_is_not_added_twice(clock: FakeClock) -> None:
    async with outage(clock, before=CLAIMS) as (store, remote):
        remote.lost, remote.deaf = False, True
        assert await store.settle("before", CLAIMS, {"nano_usd": 7}) == 0
        await back(clock, remote)
        assert await left(remote, CLAIMS[0]) == 1000 - 7


async def test_what_was_refused_or_released_holds_nothing(clock: FakeClock) -> None:
    async with outage(clock, "closed", before=CLAIMS) as (store, remote):
        remote.lost, remote.deaf = False, True
        with pytest.raises(StorageLost):
            await store.admit("refused", CLAIMS, 600.0)
        await store.release("before")
        await back(clock, remote)
        assert await left(remote, CLAIMS[0]) == 1000
        assert await left(remote, CLAIMS[1]) == 100


async def test_what_was_held_more_is_held_there_too(clock: FakeClock) -> None:
    async with outage(clock, before=CLAIMS) as (store, remote):
        await store.admit("between", CLAIMS, 600.0)
        assert await store.extend("before", "nano_usd", 5)
        assert await store.extend("between", "nano_usd", 6)
        await settle()
        await back(clock, remote)
        assert await left(remote, CLAIMS[0]) == 1000 - 15 - 16


async def test_what_lies_past_a_limit_is_told(clock: FakeClock) -> None:
    """By gateways that had a share each of the same budget."""
    past: list[int] = []
    remote = FleetingStore(clock, gateways=1)
    stores = [
        FallbackStore(remote, LostAnswers(rest="share"), clock, past.append) for _ in range(2)
    ]
    claim = money("user:a", 100, 80)
    for store in stores:
        await store.ping()
    remote.lost = True
    for number, store in enumerate(stores):
        assert isinstance(await store.admit(f"call {number}", [claim], 60.0), Admitted)
        await store.settle(f"call {number}", [claim], {"nano_usd": 80})
    await back(clock, remote)
    assert past == [60]
    for store in stores:
        await store.aclose()
