"""Every outbox keeps what is to be sent until it is taken, and notes each settled row once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow
from gateway.storage.outbox import Attempted, Delivery, Message, Outbox, ToldOnce
from gateway.storage.sql_outbox import SqlOutbox
from tests.gateway.storage.books import OpenBooks, open_books
from tests.gateway.storage.sqlite.ledger_rows import NOON, open_row, settled_row

__all__ = ["open_books"]

LEASE_S = 60.0


def message(id: str = "m1", endpoint: str = "billing") -> Message:
    return Message(id=id, endpoint=endpoint, topic="test", body='{"type":"test"}')


def usage(rows: Sequence[LedgerRow]) -> Message:
    return Message(
        id=f"usage_{rows[0].id}",
        endpoint="billing",
        topic="usage",
        body=",".join(row.id for row in rows),
    )


def taken(one: Message, *, keep: bool = True) -> Attempted:
    return Attempted(delivery=delivery(one), keep=keep)


def failed(one: Message, again_s: float) -> Attempted:
    return Attempted(delivery=delivery(one, "status 500"), again_s=again_s)


def delivery(one: Message, error: str = "") -> Delivery:
    return Delivery(
        id=one.id,
        endpoint=one.endpoint,
        topic=one.topic,
        attempt=one.attempts,
        took_s=0.25,
        status=500 if error else 200,
        error=error,
    )


async def take(outbox: Outbox, most: int = 10) -> list[Message]:
    return await outbox.take("billing", most, LEASE_S)


async def gather(outbox: Outbox, batch: int = 1) -> int:
    return await outbox.gather("billing", 100, batch, usage)


# --- messages ------------------------------------------------------------------------------------


async def test_a_message_is_taken_by_one_and_due_again_after_its_lease(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """Whoever took it died before it was marked: it is sent again, by the same id."""
    async with open_books() as (_, outbox, *_), open_books() as (_, other, *_):
        await outbox.subscribe({"billing": False})
        await outbox.put([message()])
        [first] = await take(outbox)
        assert (first.id, first.body, first.attempts) == ("m1", '{"type":"test"}', 1)
        assert await take(other) == []
        clock.move(LEASE_S)
        [second] = await take(other)
        assert (second.id, second.attempts) == ("m1", 2)


async def test_of_many_who_take_at_once_each_is_given_others(open_books: OpenBooks) -> None:
    async with open_books() as (_, outbox, *_), open_books() as (_, other, *_):
        await outbox.put([message(f"m{number}") for number in range(40)])
        found = await asyncio.gather(*(take(one, 4) for one in (outbox, other) * 5))
        ids = [one.id for part in found for one in part]
        assert sorted(ids) == sorted(f"m{number}" for number in range(40))


async def test_what_was_taken_by_its_endpoint_is_not_sent_again(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.put([message("kept"), message("dropped")])
        first, second = await take(outbox)
        await outbox.mark([taken(first), taken(second, keep=False)])
        clock.move(10 * LEASE_S)
        assert await take(outbox) == []
        assert await outbox.redeliver("billing", "kept")
        assert not await outbox.redeliver("billing", "dropped")
        assert [one.id for one in await take(outbox)] == ["kept"]


async def test_what_failed_is_due_when_it_is_to_be_sent_again(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.put([message()])
        [first] = await take(outbox)
        await outbox.mark([failed(first, 300.0)])
        clock.move(299.0)
        assert await take(outbox) == []
        clock.move(1.0)
        assert [one.attempts for one in await take(outbox)] == [2]


async def test_an_id_is_put_once_for_each_endpoint(open_books: OpenBooks) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.put([message(), message(endpoint="ops")])
        await outbox.put([message()])
        assert len(await take(outbox)) == 1
        assert len(await outbox.take("ops", 10, LEASE_S)) == 1


async def test_each_attempt_is_in_the_log_the_newest_first(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.put([message()])
        [first] = await take(outbox)
        await outbox.mark([failed(first, 1.0)])
        clock.move(1.0)
        [second] = await take(outbox)
        await outbox.mark([taken(second)])
        log = await outbox.deliveries("billing", 10)
        assert [(one.attempt, one.status, one.error) for one in log] == [
            (2, 200, ""),
            (1, 500, "status 500"),
        ]
        assert (log[0].at, log[0].took_s) == (clock.time(), 0.25)


# --- usage ---------------------------------------------------------------------------------------


async def test_a_settled_row_is_noted_with_it_and_an_open_one_is_not(
    open_books: OpenBooks,
) -> None:
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True, "ops": False})
        await ledger.open(open_row("r1"))
        assert await gather(outbox) == 0
        await ledger.settle([settled_row("r1"), settled_row("r1#1", kind="attempt")])
        assert await gather(outbox) == 2
        assert {one.body for one in await take(outbox)} == {"r1", "r1#1"}
        assert await outbox.take("ops", 10, LEASE_S) == []


async def test_a_row_that_is_settled_twice_is_noted_once(open_books: OpenBooks) -> None:
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        await ledger.settle([settled_row()])
        await ledger.settle([settled_row(), settled_row("r2")])
        assert await gather(outbox) == 2


async def test_nothing_is_noted_for_an_endpoint_that_the_policy_has_no_more(
    open_books: OpenBooks,
) -> None:
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        await outbox.subscribe({})
        await ledger.settle([settled_row()])
        assert await gather(outbox) == 0


async def test_rows_stay_in_the_group_in_which_they_are_sent_first(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """A receiver that knows a message by its id would else miss what joined it later."""
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        await ledger.settle([settled_row(f"r{number}") for number in range(5)])
        assert await gather(outbox, batch=3) == 5
        bodies = [one.body for one in await take(outbox)]
        assert bodies == ["r0,r1,r2", "r3,r4"]
        await ledger.settle([settled_row("r5")])
        await gather(outbox, batch=3)
        clock.move(LEASE_S)
        assert sorted(one.body for one in await take(outbox)) == ["r0,r1,r2", "r3,r4", "r5"]


async def test_gateways_that_gather_at_once_make_one_message_of_a_row(
    open_books: OpenBooks,
) -> None:
    async with open_books() as (ledger, outbox, *_), open_books() as (_, other, *_):
        await outbox.subscribe({"billing": True})
        for part in range(5):
            await ledger.settle([settled_row(f"r{part}-{number}") for number in range(20)])
            await asyncio.gather(*(gather(one, batch=7) for one in (outbox, other, outbox)))
        bodies = [one.body for one in await take(outbox, 1000)]
        rows = [row for body in bodies for row in body.split(",")]
        assert len(rows) == len(set(rows)) == 100


async def test_rows_of_a_time_are_noted_once_more_on_request(open_books: OpenBooks) -> None:
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        row = settled_row()
        await ledger.settle([row])
        await gather(outbox)
        [first] = await take(outbox)
        await outbox.mark([taken(first, keep=False)])
        assert await outbox.usage_again("billing", row.started_at, row.started_at + 1) == 1
        assert await outbox.usage_again("billing", row.started_at + 1, row.started_at + 2) == 0
        await gather(outbox)
        assert [one.id for one in await take(outbox)] == [first.id]


async def test_many_rows_of_a_time_are_noted_part_by_part_and_each_once(
    open_books: OpenBooks,
) -> None:
    """Some of them began at the same instant."""
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        rows = [settled_row(f"r{at}", started_at=NOON + at // 4) for at in range(40)]
        await ledger.settle(rows)
        await gather(outbox)
        await outbox.mark([taken(one, keep=False) for one in await take(outbox, 100)])
        small = SqlOutbox(outbox._connection, rows_at_once=3)  # type: ignore[attr-defined]
        assert await small.usage_again("billing", NOON, NOON + 9) == 36
        await gather(outbox)
        assert {one.body for one in await take(outbox, 100)} == {row.id for row in rows[:36]}


# --- endpoints -----------------------------------------------------------------------------------


async def test_an_endpoint_that_is_disabled_misses_nothing(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """Rows are noted for it no more, and when it is enabled those of the time between are."""
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        await outbox.put([message()])
        assert await outbox.disable("billing")
        assert not await outbox.disable("billing")
        assert await outbox.due() == set()
        at = clock.time()
        await ledger.settle([settled_row(started_at=at + 1, ended_at=at + 2)])
        assert [state.waiting for state in await outbox.states()] == [1]
        assert await outbox.enable("billing")
        assert not await outbox.enable("nobody")
        assert [(s.waiting, s.disabled_at) for s in await outbox.states()] == [(2, None)]


async def test_an_endpoint_says_how_long_it_has_failed_and_what_waits(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.subscribe({"billing": False})
        await outbox.put([message()])
        [first] = await take(outbox)
        await outbox.mark([failed(first, 1.0)])
        clock.move(100.0)
        [state] = await outbox.states()
        assert (state.waiting, state.oldest_s, state.failing_s, state.due) == (1, 100, 100, True)
        assert await outbox.due() == {"billing"}
        [again] = await take(outbox)
        await outbox.mark([taken(again)])
        [state] = await outbox.states()
        assert (state.waiting, state.oldest_s, state.failing_s, state.due) == (0, 0, None, False)


async def test_what_nobody_took_for_long_is_dropped_and_counted(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.put([message("old"), message("told")])
        for one in await take(outbox):
            await outbox.mark([taken(one)] if one.id == "told" else [failed(one, 1.0)])
        clock.move(100.0)
        await outbox.put([message("young")])
        assert await outbox.prune(50.0, most_deliveries=1) == {"billing": 1}
        assert [one.id for one in await take(outbox)] == ["young"]
        assert not await outbox.redeliver("billing", "told")


async def test_the_log_of_one_receiver_takes_nothing_from_that_of_another(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        await outbox.put([message("quiet"), message("other")])
        for one in await take(outbox):
            await outbox.mark([failed(one, 1.0)])
        await outbox.put([message(f"m{at}", "loud") for at in range(8)])
        for one in await outbox.take("loud", 10, LEASE_S):
            await outbox.mark([failed(one, 1.0)])

        await outbox.prune(50.0, most_deliveries=3)

        assert [one.id for one in await outbox.deliveries("loud", 10)] == ["m7", "m6", "m5"]
        assert [one.id for one in await outbox.deliveries("billing", 10)] == ["other", "quiet"]
        assert [one.id for one in await outbox.deliveries("billing", 10, "quiet")] == ["quiet"]
        clock.move(51.0)
        await outbox.prune(50.0, most_deliveries=3)
        assert await outbox.deliveries("loud", 10) == []


async def test_a_receiver_that_a_job_has_named_is_forgotten_with_the_last_that_it_was_told(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    """One that has said that it is gone is remembered for as long; whom the policy names stays."""
    names = ["billing", "jobs:key:gone", "jobs:key:had", "jobs:key:has"]
    async with open_books() as (_, outbox, *_):
        await outbox.subscribe(dict.fromkeys(names, False))
        await outbox.put([message("m", name) for name in ("jobs:key:had", "jobs:key:has")])
        [had] = await outbox.take("jobs:key:had", 1, LEASE_S)
        await outbox.mark([taken(had)])
        await outbox.disable("jobs:key:gone")
        left = []
        for _ in range(3):
            await outbox.prune(50.0, most_deliveries=1)
            left.append([one.name for one in await outbox.states()])
            clock.move(30.0)
    assert left == [names, names, ["billing"]]


async def test_much_that_nobody_took_is_dropped_part_by_part(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (ledger, outbox, *_):
        await outbox.subscribe({"billing": True})
        await ledger.settle([settled_row(f"r{at}") for at in range(10)])
        await outbox.put([message(f"m{at}") for at in range(7)])
        clock.move(100.0)
        small = SqlOutbox(outbox._connection, rows_at_once=3)  # type: ignore[attr-defined]
        assert await small.prune(50.0, most_deliveries=1) == {"billing": 7}, "rows are younger"
        clock.move(time.time() - clock.time() + 1000)
        assert await small.prune(50.0, most_deliveries=1) == {"billing": 10}


# --- budgets -------------------------------------------------------------------------------------

FACT = ToldOnce(
    scope="user:alice",
    unit="nano_usd",
    window="month",
    ends_at=1_769_904_000_000_000,
    limit=5_000_000_000,
    step="80",
)


async def test_a_fact_is_told_once_whoever_finds_it(open_books: OpenBooks) -> None:
    async with open_books() as (_, outbox, *_), open_books() as (_, other, *_):
        told = await asyncio.gather(*(one.tell(FACT, [message()]) for one in (outbox, other) * 4))
        assert sum(told) == 1
        assert len(await take(outbox)) == 1


async def test_a_fact_that_was_told_brings_no_message_even_after_that_was_dropped(
    open_books: OpenBooks, clock: FakeClock
) -> None:
    async with open_books() as (_, outbox, *_):
        assert await outbox.tell(FACT, [message()])
        clock.move(100.0)
        await outbox.prune(50.0, most_deliveries=10)
        assert not await outbox.tell(FACT, [message()])
        assert await take(outbox) == []
