"""Every ledger keeps what it acknowledged, once, and says so when it cannot."""

from __future__ import annotations

import asyncio

import pytest

from gateway.storage.base import StorageUnavailable
from gateway.storage.queries import UsageQuery
from tests.gateway.storage.opened import OpenLedger, opened
from tests.gateway.storage.sqlite.ledger_rows import CLAIMS, NOON, open_row, settled_row

# --- one row -------------------------------------------------------------------------------------


async def test_a_settled_row_reads_back_as_it_was_written(open_ledger: OpenLedger) -> None:
    """Every field survives, times to the microsecond."""
    row = settled_row(
        kind="attempt",
        started_at=NOON + 0.123456,
        plan="free",
        tags={"team": "search", "größe": '"x"'},
        reason="cheapest",
        route="default",
        policy="0123456789ab",
        error="timeout",
        stream=True,
        input_tokens=1,
        output_tokens=2,
        queue_us=3,
        cold_us=4,
        exec_us=5,
        gpu_us=6,
        hold_nano=7,
        cost_nano=8,
        cost_basis="reported",
        price="own",
        worker="w",
    )
    async with opened(open_ledger) as ledger:
        await ledger.settle([row])
        assert await ledger.rows("r1") == [row]


async def test_an_open_row_keeps_its_claims_until_it_is_settled(open_ledger: OpenLedger) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row())
        assert [row.claims for row in await ledger.open_rows()] == [CLAIMS]
        assert await ledger.rows("r1") == [open_row()]
        await ledger.settle([settled_row(claims=CLAIMS)])
        assert await ledger.open_rows() == []
        assert await ledger.rows("r1") == [settled_row()]


async def test_only_the_first_settlement_of_an_id_counts(open_ledger: OpenLedger) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.settle([settled_row(cost_nano=5)])
        await ledger.settle([settled_row(cost_nano=9), settled_row("r2", cost_nano=1)])
        assert [row.cost_nano for row in (await ledger.usage(UsageQuery(group_by=()))).rows] == [6]


async def test_one_settlement_that_names_an_id_twice_counts_it_once(
    open_ledger: OpenLedger,
) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.settle([settled_row(cost_nano=5), settled_row(cost_nano=9)])
        assert [row.cost_nano for row in await ledger.rows("r1")] == [5]


async def test_an_id_that_is_open_or_settled_cannot_be_opened_by_another_call(
    open_ledger: OpenLedger,
) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle([settled_row("settled")])
        with pytest.raises(ValueError, match="'open' already"):
            await ledger.open(open_row("open", user="mallory"))
        with pytest.raises(ValueError, match="'settled' already"):
            await ledger.open(open_row("settled"))
        assert [row.user for row in await ledger.open_rows()] == ["alice"]


async def test_a_call_that_opens_its_row_again_replaces_it(open_ledger: OpenLedger) -> None:
    """It asks another backend, or could not know whether its first attempt was written."""
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row(backend="home"))
        await ledger.open(open_row(backend="home"))
        await ledger.open(open_row(backend="burst", hold_nano=9))
        assert [(row.backend, row.hold_nano) for row in await ledger.open_rows()] == [("burst", 9)]


async def test_a_conflict_or_a_bad_row_fails_its_own_caller_alone(open_ledger: OpenLedger) -> None:
    """They share a batch with good rows, which are written."""
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("taken"))
        outcomes = await asyncio.gather(
            ledger.settle([settled_row("good")]),
            ledger.settle([settled_row("huge", cost_nano=2**70)]),
            ledger.open(open_row("taken", user="mallory")),
            ledger.open(open_row("fresh")),
            ledger.settle([settled_row("surrogate", error="\ud800")]),
            return_exceptions=True,
        )
        assert [type(each) for each in outcomes] == [
            type(None), ValueError, ValueError, type(None), ValueError,
        ]  # fmt: skip
        assert ledger.failing == ""
        assert {row.id for row in await ledger.open_rows()} == {"taken", "fresh"}
        assert await ledger.rows("good") == [settled_row("good")]


async def test_a_row_is_written_whatever_characters_a_platform_puts_into_it(
    open_ledger: OpenLedger,
) -> None:
    async with opened(open_ledger) as ledger:
        await asyncio.gather(
            ledger.settle([settled_row("good")]),
            ledger.settle([settled_row("odd", worker="a\0b\x7f\u2028\U0001f600", cost_nano=3)]),
        )
        [row] = await ledger.rows("odd")
        assert row.worker.replace("\N{SYMBOL FOR NULL}", "\0") == "a\0b\x7f\u2028\U0001f600"
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert (total.calls, total.cost_nano) == (2, 3)


async def test_rows_of_a_request_are_the_call_then_its_attempts_and_nobody_elses(
    open_ledger: OpenLedger,
) -> None:
    ids = ["r1#10", "r1", "r1#2", "r1#1", "r10", "r1$", "r"]
    async with opened(open_ledger) as ledger:
        await ledger.settle([settled_row(id) for id in ids])
        assert [row.id for row in await ledger.rows("r1")] == ["r1", "r1#1", "r1#2", "r1#10"]
        assert await ledger.rows("unknown") == []


async def test_an_open_row_cannot_be_settled_as_open_nor_a_settled_one_opened(
    open_ledger: OpenLedger,
) -> None:
    async with opened(open_ledger) as ledger:
        with pytest.raises(ValueError, match="open"):
            await ledger.settle([open_row()])
        with pytest.raises(ValueError, match="not open"):
            await ledger.open(settled_row())


# --- many callers --------------------------------------------------------------------------------


async def test_two_hundred_callers_at_once_each_have_their_row(open_ledger: OpenLedger) -> None:
    async def call(number: int) -> None:
        await ledger.open(open_row(f"r{number}"))
        await ledger.settle([settled_row(f"r{number}", cost_nano=1), settled_row(f"r{number}#1")])

    async with opened(open_ledger) as ledger:
        await asyncio.gather(*(call(number) for number in range(200)))
        assert await ledger.open_rows() == []
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert (total.calls, total.cost_nano) == (400, 200)


async def test_a_settlement_is_written_although_its_caller_was_cancelled(
    open_ledger: OpenLedger,
) -> None:
    async with opened(open_ledger) as ledger:
        tasks = [
            asyncio.ensure_future(ledger.settle([settled_row(f"r{number}")]))
            for number in range(50)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await ledger.settle([settled_row("last")])
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert total.calls == 51


async def test_closing_writes_what_waits(open_ledger: OpenLedger) -> None:
    ledger = open_ledger()
    tasks = [asyncio.ensure_future(ledger.settle([settled_row(f"r{n}")])) for n in range(100)]
    await asyncio.sleep(0)
    await ledger.aclose()
    await asyncio.gather(*tasks)
    with pytest.raises(StorageUnavailable, match="closed"):
        await ledger.settle([settled_row("late")])
    await ledger.aclose()


async def test_past_the_bound_of_waiting_writes_a_caller_is_refused_at_once(
    open_ledger: OpenLedger,
) -> None:
    ledger = open_ledger(max_waiting=3)
    outcomes = await asyncio.gather(
        *(ledger.settle([settled_row(f"r{n}")]) for n in range(5)), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [type(None)] * 3 + [StorageUnavailable] * 2
    await ledger.settle([settled_row("r9")])
    await ledger.aclose()


async def test_rows_of_a_living_gateway_are_not_handed_to_another_one(
    open_ledger: OpenLedger,
) -> None:
    """Two gateways share the ledger; the second must not settle what the first is serving."""
    async with opened(open_ledger) as second:
        async with opened(open_ledger) as first:
            await first.open(open_row("of-first"))
            assert await second.open_rows() == await second.take_abandoned() == []
            assert [row.id for row in await first.open_rows()] == ["of-first"]
            assert await first.take_abandoned() == []
        assert [row.id for row in await second.take_abandoned()] == ["of-first"]
        assert [row.id for row in await second.take_abandoned()] == ["of-first"]
        await second.settle([settled_row("of-first")])
        assert await second.take_abandoned() == []


async def test_a_ledger_opened_again_goes_on_where_it_was(open_ledger: OpenLedger) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("left"))
        await ledger.settle([settled_row("r1")])
    async with opened(open_ledger) as ledger:
        assert [row.id for row in await ledger.take_abandoned()] == ["left"]
        await ledger.settle([settled_row("left", outcome="interrupted")])
        assert len(await ledger.rows("r1")) == len(await ledger.rows("left")) == 1
        assert await ledger.open_rows() == []


async def test_a_ledger_has_one_identity_whoever_opens_it(open_ledger: OpenLedger) -> None:
    """By it a shared store counts what two gateways tell of one ledger once."""
    async with opened(open_ledger) as one, opened(open_ledger, "other") as other:
        async with opened(open_ledger) as same:
            assert one.identity == same.identity
        assert one.identity
        assert one.identity != other.identity
