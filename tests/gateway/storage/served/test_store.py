"""What a store in another process adds to the contract: silence, cancellation, and the dead."""

from __future__ import annotations

import asyncio

import pytest

from gateway.clock import FakeClock, settle
from gateway.storage.base import Admitted, StorageUnavailable
from gateway.storage.claims import CallClaims, template_of
from gateway.storage.memory import MemorySharedStore
from gateway.storage.served.messages import (
    Admit,
    NotTaken,
    Reinstate,
    Release,
    Settle,
    Taken,
    Tidied,
)
from gateway.storage.served.server import StoreServer
from gateway.types import Principal
from tests.gateway.storage.claims import concurrent, money
from tests.gateway.storage.served.wired import wired

ONE = concurrent("user:a", 1)
CALLER = template_of(Principal(key_id="key_a", user="a"), (money("user:a", 10, 0),), ())


async def test_a_question_that_is_not_answered_in_time_fails_and_holds_nothing(
    clock: FakeClock,
) -> None:
    store, wire = wired(MemorySharedStore(clock), clock, timeout_s=0.25)
    wire.silent = True
    asked = asyncio.create_task(store.admit("one", [ONE], 60.0))
    await settle()
    await clock.advance(0.25)
    with pytest.raises(StorageUnavailable, match=r"0\.25 s"):
        await asked
    assert "0.25 s" in store.failing
    wire.silent = False
    wire.go_on()
    assert isinstance(await store.admit("two", [ONE], 60.0), Admitted)
    assert not store.failing


async def test_each_question_has_a_time_of_its_own(clock: FakeClock) -> None:
    store, wire = wired(MemorySharedStore(clock), clock, timeout_s=1.0)
    wire.silent = True
    first = asyncio.create_task(store.ping())
    await settle()
    await clock.advance(0.75)
    second = asyncio.create_task(store.ping())
    await settle()
    await clock.advance(0.5)
    assert first.done()
    assert not second.done()
    await clock.advance(0.5)
    for one in (first, second):
        with pytest.raises(StorageUnavailable):
            await one


async def test_a_caller_that_goes_while_it_waits_holds_nothing(clock: FakeClock) -> None:
    store, wire = wired(MemorySharedStore(clock), clock)
    wire.silent = True
    asked = asyncio.create_task(store.admit("one", [ONE], 60.0))
    await settle()
    asked.cancel()
    await settle()
    wire.silent = False
    wire.go_on()
    assert isinstance(await store.admit("two", [ONE], 60.0), Admitted)


async def test_a_caller_that_goes_in_the_instant_of_its_answer_holds_nothing(
    clock: FakeClock,
) -> None:
    store, wire = wired(MemorySharedStore(clock), clock)
    wire.silent = True
    asked = asyncio.create_task(store.admit("one", [ONE], 60.0))
    await settle()
    wire.silent = False
    wire.go_on()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert isinstance(await store.admit("two", [ONE], 60.0), Admitted)


async def test_a_connection_that_is_gone_fails_all_who_wait_and_all_who_come(
    clock: FakeClock,
) -> None:
    store, wire = wired(MemorySharedStore(clock), clock)
    wire.silent = True
    waits = asyncio.create_task(store.ping())
    await settle()
    store.lose("the parent is gone")
    for asked in (waits, store.ping(), store.release("one"), store.admit("two", [ONE], 60.0)):
        with pytest.raises(StorageUnavailable, match="the parent is gone"):
            await asked
    assert store.failing == "the parent is gone"


def test_what_a_dead_process_holds_is_given_back_when_its_rows_are_settled(
    clock: FakeClock,
) -> None:
    server = StoreServer(MemorySharedStore(clock))
    claims = (money("user:a", 10, 6),)
    server.answer(1, Admit("of the dead", claims, 600.0))
    server.answer(2, Admit("of the living", (concurrent("user:a", 9),), 600.0))
    assert server.holds_of(1) == 1
    server.answer(2, Tidied((1,)))
    assert (server.holds_of(1), server.holds_of(2)) == (0, 1)
    answer = server.answer(2, Admit("next", claims, 600.0))
    assert answer is not None
    server.answer(2, Release("next"))
    assert server.holds_of(2) == 1


def test_what_another_process_goes_on_with_is_held_when_the_first_is_dead(
    clock: FakeClock,
) -> None:
    server = StoreServer(MemorySharedStore(clock))
    claims = (money("user:a", 10, 6),)
    server.answer(1, Admit("job", claims, 600.0))
    server.answer(2, Reinstate("job", claims, 600.0))
    server.answer(2, Tidied((1,)))
    assert isinstance(server.answer(2, Admit("call", claims, 600.0)), NotTaken)
    server.answer(2, Settle("job", claims, {"nano_usd": 1}))
    assert server.holds_of(2) == 0
    assert isinstance(server.answer(2, Admit("call", claims, 600.0)), Taken)


async def test_a_call_is_settled_without_an_answer_and_before_whatever_is_asked_next(
    clock: FakeClock,
) -> None:
    store, wire = wired(MemorySharedStore(clock), clock)
    claims = CallClaims(CALLER, 5, 0)
    assert isinstance(await store.admit("one", claims, 60.0), Admitted)
    wire.silent = True
    assert await store.settle("one", claims, {"nano_usd": 4}) == 0
    asked = asyncio.create_task(store.statuses(CALLER.limits))
    await settle()
    assert not asked.done()
    wire.silent = False
    wire.go_on()
    [status] = await asked
    assert status.remaining == 6


async def test_what_lies_past_a_cap_is_told_behind_the_settlement(clock: FakeClock) -> None:
    store, _ = wired(MemorySharedStore(clock), clock)
    told: list[tuple[str, int]] = []
    store.past = lambda hold_id, past_nano: told.append((hold_id, past_nano))
    claims = CallClaims(CALLER, 5, 0)
    await store.admit("one", claims, 60.0)
    assert await store.settle("one", claims, {"nano_usd": 13}) == 0
    await store.ping()
    assert told == [("one", 3)]


async def test_a_settlement_is_refused_when_the_connection_is_gone(clock: FakeClock) -> None:
    store, _ = wired(MemorySharedStore(clock), clock)
    claims = CallClaims(CALLER, 5, 0)
    await store.admit("one", claims, 60.0)
    store.lose("the parent is gone")
    with pytest.raises(StorageUnavailable, match="the parent is gone"):
        await store.settle("one", claims, {"nano_usd": 4})
