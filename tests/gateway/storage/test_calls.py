"""Lists of calls: newest first, page after page, each once."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.queries import CallsCursor, CallsQuery, UsageQuery
from tests.gateway.storage.opened import OpenLedger, ledger_of, opened
from tests.gateway.storage.sqlite.ledger_rows import NOON, open_row, settled_row, settled_rows

EVERY = UsageQuery()
SHARED = HealthCheck.function_scoped_fixture
"""Each example opens a ledger of its own."""


async def pages_of(ledger: Ledger, query: UsageQuery, most: int) -> list[list[LedgerRow]]:
    pages: list[list[LedgerRow]] = []
    before = None
    while page := await ledger.calls(CallsQuery(rows=query, most=most, before=before)):
        pages.append(page)
        before = CallsCursor(page[-1].started_at, page[-1].id)
    return pages


@settings(max_examples=25, deadline=None, suppress_health_check=[SHARED])
@given(
    rows=st.lists(settled_rows, max_size=12),
    most=st.integers(1, 5),
    where=st.sampled_from([{}, {"user": "alice"}, {"kind": "call"}, {"outcome": "error"}]),
)
def test_pages_have_every_row_once_in_order(
    open_ledger: OpenLedger, rows: list[LedgerRow], most: int, where: dict[str, str]
) -> None:
    """Of calls that began in the same instant, too."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]
    wanted = [row for row in rows if all(getattr(row, n) == v for n, v in where.items())]

    async def check() -> None:
        async with ledger_of(open_ledger, rows) as ledger:
            pages = await pages_of(ledger, UsageQuery(where=where), most)
        assert all(len(page) <= most for page in pages)
        told = [row for page in pages for row in page]
        assert told == sorted(wanted, key=lambda row: (row.started_at, row.id), reverse=True)

    asyncio.run(check())


async def test_a_call_that_comes_meanwhile_moves_no_page(open_ledger: OpenLedger) -> None:
    """It is newer than where the next page begins."""
    async with opened(open_ledger) as ledger:
        await ledger.settle([settled_row(f"r{each}", started_at=NOON + each) for each in range(4)])
        first = await ledger.calls(CallsQuery(rows=EVERY, most=2))
        await ledger.settle([settled_row("new", started_at=NOON + 9)])
        before = CallsCursor(first[-1].started_at, first[-1].id)
        second = await ledger.calls(CallsQuery(rows=EVERY, most=2, before=before))
    assert [row.id for row in (*first, *second)] == ["r3", "r2", "r1", "r0"]


async def test_what_is_still_open_is_not_told_and_time_bounds_hold(open_ledger: OpenLedger) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("running"))
        await ledger.settle([settled_row("old", started_at=NOON - 60), settled_row("new")])
        query = UsageQuery(since=NOON, until=NOON + 1)
        assert [row.id for row in await ledger.calls(CallsQuery(rows=query, most=9))] == ["new"]
