"""Reports over the ledger: sums that add up, filters that narrow, statements that take no text."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.money.usage_reports import total_of
from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.queries import UsageQuery
from gateway.storage.spent import Spent, SpentQuery
from gateway.types import MICRO
from tests.gateway.storage.opened import OpenLedger, ledger_of, opened
from tests.gateway.storage.sqlite.ledger_rows import NOON, open_row, settled_row, settled_rows

SHARED = HealthCheck.function_scoped_fixture
"""Each example opens a ledger of its own."""
SUMS = ("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us", "cost_nano")


@settings(max_examples=25, deadline=None, suppress_health_check=[SHARED])
@given(
    rows=st.lists(settled_rows, max_size=12),
    group_by=st.lists(
        st.sampled_from(["user", "key", "plan", "model", "day", "hour", "kind", "tag:team"]),
        max_size=3,
        unique=True,
    ),
)
def test_groups_add_up_to_the_rows_to_the_nano_dollar(
    open_ledger: OpenLedger, rows: list[LedgerRow], group_by: list[str]
) -> None:
    """However the report is grouped, no row is lost or counted twice."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]

    async def check() -> None:
        async with ledger_of(open_ledger, rows) as ledger:
            found = (await ledger.usage(UsageQuery(group_by=tuple(group_by)))).rows
        for name in SUMS:
            assert sum(getattr(each, name) for each in found) == sum(
                getattr(row, name) for row in rows
            )
        assert sum(each.calls for each in found) == sum(row.kind == "call" for row in rows)
        assert sum(each.cold_starts for each in found) == sum(row.cold_us > 0 for row in rows)
        assert [each.cost_nano for each in found] == sorted(
            (each.cost_nano for each in found), reverse=True
        )

    asyncio.run(check())


@settings(max_examples=15, deadline=None, suppress_health_check=[SHARED])
@given(rows=st.lists(settled_rows, max_size=12), tag=st.sampled_from(["team", "größe"]))
def test_groups_by_a_tag_are_those_of_the_rows(
    open_ledger: OpenLedger, rows: list[LedgerRow], tag: str
) -> None:
    """A row without the tag is in the group of the empty name."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]
    expected: dict[tuple[str, str], int] = {}
    for row in rows:
        name = (row.user, row.tags.get(tag, ""))
        expected[name] = expected.get(name, 0) + row.cost_nano

    async def check() -> None:
        async with ledger_of(open_ledger, rows) as ledger:
            found = (await ledger.usage(UsageQuery(group_by=("user", f"tag:{tag}")))).rows
        assert {
            (each.group["user"], each.group[f"tag:{tag}"]): each.cost_nano for each in found
        } == expected

    asyncio.run(check())


async def test_errors_count_failed_calls_and_open_rows_count_nowhere(
    open_ledger: OpenLedger,
) -> None:
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("open", hold_nano=5))
        await ledger.settle(
            [
                settled_row("a"),
                settled_row("b", outcome="error"),
                settled_row("c", outcome="interrupted", cold_us=1),
                settled_row("d", outcome="cancelled"),
                settled_row("a#1", kind="attempt", outcome="error", cold_us=1),
                settled_row("p", kind="ping", outcome="ping", cost_nano=3),
            ]
        )
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert (total.calls, total.errors, total.cold_starts, total.cost_nano) == (4, 2, 2, 3)


async def test_filters_and_times_narrow_a_report(open_ledger: OpenLedger) -> None:
    """``since`` is included and ``until`` is not; a day and an hour are UTC's."""
    rows = [
        settled_row("a", started_at=NOON, tags={"team": "x"}),
        settled_row("b", started_at=NOON + 86_400, user="bob", tags={"team": "y"}),
    ]
    asked = [
        (UsageQuery(since=NOON + 1), ["2026-01-02"]),
        (UsageQuery(until=NOON + 86_400), ["2026-01-01"]),
        (UsageQuery(since=NOON, until=NOON + 86_401), ["2026-01-01", "2026-01-02"]),
    ]
    filtered = {
        "user": ("bob", ["2026-01-02"]),
        "tag:team": ("x", ["2026-01-01"]),
        "day": ("2026-01-01", ["2026-01-01"]),
        "hour": ("2026-01-02T12:00Z", ["2026-01-02"]),
        "key": ("k1", ["2026-01-01", "2026-01-02"]),
        "model": ("' OR '1'='1", []),
    }
    async with opened(open_ledger) as ledger:
        await ledger.settle(rows)
        for query, days in asked:
            assert sorted(await days_of(ledger, query)) == days
        for name, (value, days) in filtered.items():
            query = UsageQuery(where={name: value})
            assert sorted(await days_of(ledger, query)) == days


async def days_of(ledger: Ledger, query: UsageQuery) -> list[str]:
    found = (await ledger.usage(msgspec.structs.replace(query, group_by=("day",)))).rows
    return [row.group["day"] for row in found]


@pytest.mark.parametrize(
    "name", ["users", "", "user; DROP TABLE entries", "tag:", 'tag:a"b', "tag:a]', '$", "tag:$[0]"]
)
async def test_a_dimension_that_is_none_is_refused(open_ledger: OpenLedger, name: str) -> None:
    async with opened(open_ledger) as ledger:
        for query in (UsageQuery(group_by=(name,)), UsageQuery(where={name: "x"})):
            with pytest.raises(ValueError, match="no dimension"):
                await ledger.usage(query)
        with pytest.raises(ValueError, match="no day such as"):
            await ledger.usage(UsageQuery(where={"day": "yesterday"}))


async def test_what_was_spent_is_summed_for_all_in_which_calls_are_alike_since_an_instant(
    open_ledger: OpenLedger,
) -> None:
    """A call counts in the window in which it began, however long it ran; what nobody used is no
    call."""
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle(
            [
                settled_row("old", started_at=NOON - 1, ended_at=NOON + 9, cost_nano=100),
                settled_row("a", plan="free", cost_nano=1, gpu_us=10),
                settled_row("a#1", plan="free", kind="attempt", cost_nano=2, gpu_us=20),
                settled_row("b", key_id="k2", cost_nano=4),
                settled_row("idle", kind="idle", cost_nano=10**9),
            ]
        )
        assert await ledger.spent_since(NOON) == [
            Spent(key_id="k1", user="alice", plan="free", calls=1, gpu_us=30, nano_usd=3),
            Spent(key_id="k2", user="alice", calls=1, nano_usd=4),
        ]
        assert await ledger.spent_since(NOON, side="places") == [
            Spent(model="minilm", backend="home", calls=2, gpu_us=30, nano_usd=7)
        ]


async def test_sums_are_all_of_one_instant_and_know_nothing_of_what_is_settled_later(
    open_ledger: OpenLedger,
) -> None:
    stills: list[str] = []
    async with opened(open_ledger) as ledger:

        @contextlib.asynccontextmanager
        async def still() -> AsyncIterator[None]:
            await ledger.settle([settled_row("before", cost_nano=1)])
            stills.append("begun")
            yield
            stills.append("ended")
            await ledger.settle([settled_row("later", cost_nano=2)])

        queries = [SpentQuery(since=NOON), SpentQuery(since=NOON, side="places")]
        callers, places = await ledger.sums(queries, still)
        assert [one.nano_usd for one in (*callers, *places)] == [1, 1]
        assert stills == ["begun", "ended"]
        assert [one.nano_usd for one in await ledger.spent_since(NOON)] == [3]


async def test_what_was_spent_is_told_by_tag_model_and_backend_in_steps_of_time(
    open_ledger: OpenLedger,
) -> None:
    """A rolling window counts by steps; tokens and calls are told beside money."""
    minute, tags = 60 * MICRO, {"team": "nlp"}
    step = round(NOON) // 60
    tokens = {"input_tokens": 7, "output_tokens": 2}
    async with opened(open_ledger) as ledger:
        await ledger.settle(
            [
                settled_row("a", tags=tags, cost_nano=1, **tokens),
                settled_row("b", tags=tags, cost_nano=2, started_at=NOON + 59, **tokens),
                settled_row("c", tags=tags, cost_nano=4, started_at=NOON + 60, **tokens),
                settled_row("d", tags=tags, cost_nano=8, started_at=NOON + 60, model="gpt"),
                settled_row("e", cost_nano=16, started_at=NOON + 60, backend="burst"),
            ]
        )
        found = await ledger.spent_since(NOON, step_us=minute)
        places = await ledger.spent_since(NOON, side="places", step_us=minute)
    known = [(one.tags, one.step - step, one.nano_usd) for one in found]
    assert sorted(known, key=lambda one: one[-1]) == [(tags, 0, 3), (tags, 1, 12), ({}, 1, 16)]
    known_places = [(one.model, one.backend, one.step - step, one.nano_usd) for one in places]
    assert sorted(known_places, key=lambda one: one[-1]) == [
        ("minilm", "home", 0, 3),
        ("minilm", "home", 1, 4),
        ("gpt", "home", 1, 8),
        ("minilm", "burst", 1, 16),
    ]
    [both] = [one for one in found if one.nano_usd == 3]
    assert (both.calls, both.input_tokens, both.output_tokens) == (2, 14, 4)


async def test_calls_are_counted_by_model_and_hour_with_those_still_open(
    open_ledger: OpenLedger,
) -> None:
    hour = int(NOON) // 3600
    async with opened(open_ledger) as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle(
            [
                settled_row("old", started_at=NOON - 1),
                settled_row("a"),
                settled_row("a#1", kind="attempt"),
                settled_row("b", started_at=NOON + 3600, model="gpt"),
            ]
        )
        assert await ledger.calls_since(NOON) == {("minilm", hour): 2, ("gpt", hour + 1): 1}


@settings(max_examples=25, deadline=None, suppress_health_check=[SHARED])
@given(
    rows=st.lists(settled_rows, max_size=12),
    group_by=st.lists(st.sampled_from(["user", "day", "kind"]), max_size=3, unique=True),
    limit=st.integers(1, 4),
)
def test_a_limit_tells_the_dearest_groups_and_the_sum_of_the_others(
    open_ledger: OpenLedger, rows: list[LedgerRow], group_by: list[str], limit: int
) -> None:
    """Beside the same report without a limit."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]
    query = UsageQuery(group_by=tuple(group_by))

    async def check() -> None:
        async with ledger_of(open_ledger, rows) as ledger:
            whole = (await ledger.usage(query)).rows
            part = await ledger.usage(msgspec.structs.replace(query, limit=limit))
        assert part.rows == whole[:limit]
        assert part.groups_left_out == max(0, len(whole) - limit)
        others = whole[limit:]
        expected = None if not others else msgspec.structs.replace(total_of(others), group={})
        assert part.left_out == expected

    asyncio.run(check())
