"""The ledger keeps what it acknowledged, once, and says so when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock
from gateway.storage.base import LedgerRow, Spent, StoreUnavailable, UsageQuery
from gateway.storage.sqlite import SqliteLedger, parse_url
from gateway.storage.sqlite_usage import usage_sql
from tests.storage.ledger_rows import CLAIMS, NOON, open_row, settled_row, settled_rows

SUMS = ("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us", "cost_nano")


@contextlib.asynccontextmanager
async def ledger_at(path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(path)
    try:
        yield ledger
    finally:
        await ledger.aclose()


@contextlib.asynccontextmanager
async def ledger_of(rows: Sequence[LedgerRow]) -> AsyncIterator[SqliteLedger]:
    with tempfile.TemporaryDirectory() as folder:
        async with ledger_at(Path(folder) / "ledger.db") as ledger:
            for start in range(0, len(rows), 100):
                await ledger.settle(rows[start : start + 100])
            yield ledger


# --- one row -------------------------------------------------------------------------------------


async def test_a_settled_row_reads_back_as_it_was_written(tmp_path: Path) -> None:
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
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([row])
        assert await ledger.rows("r1") == [row]


async def test_an_open_row_keeps_its_claims_until_it_is_settled(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row())
        assert [row.claims for row in await ledger.open_rows()] == [CLAIMS]
        assert await ledger.rows("r1") == [open_row()]
        await ledger.settle([settled_row(claims=CLAIMS)])
        assert await ledger.open_rows() == []
        assert await ledger.rows("r1") == [settled_row()]


async def test_only_the_first_settlement_of_an_id_counts(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([settled_row(cost_nano=5)])
        await ledger.settle([settled_row(cost_nano=9), settled_row("r2", cost_nano=1)])
        assert [row.cost_nano for row in await ledger.usage(UsageQuery(group_by=()))] == [6]


async def test_one_settlement_that_names_an_id_twice_counts_it_once(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([settled_row(cost_nano=5), settled_row(cost_nano=9)])
        assert [row.cost_nano for row in await ledger.rows("r1")] == [5]


async def test_an_id_that_is_open_or_settled_cannot_be_opened_by_another_call(
    tmp_path: Path,
) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle([settled_row("settled")])
        with pytest.raises(ValueError, match="'open' already"):
            await ledger.open(open_row("open", user="mallory"))
        with pytest.raises(ValueError, match="'settled' already"):
            await ledger.open(open_row("settled"))
        assert [row.user for row in await ledger.open_rows()] == ["alice"]


async def test_a_call_that_opens_its_row_again_replaces_it(tmp_path: Path) -> None:
    """It asks another backend, or could not know whether its first attempt was written."""
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row(backend="home"))
        await ledger.open(open_row(backend="home"))
        await ledger.open(open_row(backend="burst", hold_nano=9))
        assert [(row.backend, row.hold_nano) for row in await ledger.open_rows()] == [("burst", 9)]


async def test_a_conflict_or_a_bad_row_fails_its_own_caller_alone(tmp_path: Path) -> None:
    """They share a batch with good rows, which are written."""
    async with ledger_at(tmp_path / "ledger.db") as ledger:
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


async def test_rows_of_a_request_are_the_call_then_its_attempts_and_nobody_elses(
    tmp_path: Path,
) -> None:
    ids = ["r1#10", "r1", "r1#2", "r1#1", "r10", "r1$", "r"]
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle([settled_row(id) for id in ids])
        assert [row.id for row in await ledger.rows("r1")] == ["r1", "r1#1", "r1#2", "r1#10"]
        assert await ledger.rows("unknown") == []


async def test_an_open_row_cannot_be_settled_as_open_nor_a_settled_one_opened(
    tmp_path: Path,
) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        with pytest.raises(ValueError, match="open"):
            await ledger.settle([open_row()])
        with pytest.raises(ValueError, match="not open"):
            await ledger.open(settled_row())


# --- many callers --------------------------------------------------------------------------------


async def test_two_hundred_callers_at_once_each_have_their_row(tmp_path: Path) -> None:
    async def call(number: int) -> None:
        await ledger.open(open_row(f"r{number}"))
        await ledger.settle([settled_row(f"r{number}", cost_nano=1), settled_row(f"r{number}#1")])

    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await asyncio.gather(*(call(number) for number in range(200)))
        assert await ledger.open_rows() == []
        [total] = await ledger.usage(UsageQuery(group_by=()))
        assert (total.calls, total.cost_nano) == (400, 200)


async def test_a_settlement_is_written_although_its_caller_was_cancelled(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        tasks = [
            asyncio.create_task(ledger.settle([settled_row(f"r{number}")])) for number in range(50)
        ]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await ledger.settle([settled_row("last")])
        [total] = await ledger.usage(UsageQuery(group_by=()))
        assert total.calls == 51


async def test_closing_writes_what_waits_and_leaves_one_file(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    tasks = [asyncio.create_task(ledger.settle([settled_row(f"r{n}")])) for n in range(100)]
    await asyncio.sleep(0)
    await ledger.aclose()
    await asyncio.gather(*tasks)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]
    with pytest.raises(StoreUnavailable, match="closed"):
        await ledger.settle([settled_row("late")])
    await ledger.aclose()


async def test_past_the_bound_of_waiting_writes_a_caller_is_refused_at_once(
    tmp_path: Path,
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", max_waiting=3)
    outcomes = await asyncio.gather(
        *(ledger.settle([settled_row(f"r{n}")]) for n in range(5)), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [type(None)] * 3 + [StoreUnavailable] * 2
    await ledger.settle([settled_row("r9")])
    await ledger.aclose()


async def test_rows_of_a_living_process_are_not_handed_to_another_one(tmp_path: Path) -> None:
    """Two gateways share the file; the second must not settle what the first is serving."""
    async with ledger_at(tmp_path / "ledger.db") as second:
        async with ledger_at(tmp_path / "ledger.db") as first:
            await first.open(open_row("of-first"))
            assert await second.open_rows() == []
            assert [row.id for row in await first.open_rows()] == ["of-first"]
        assert [row.id for row in await second.open_rows()] == ["of-first"]


# --- reports -------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(settled_rows, max_size=12),
    group_by=st.lists(
        st.sampled_from(["user", "key", "plan", "model", "day", "hour", "kind", "tag:team"]),
        max_size=3,
        unique=True,
    ),
)
def test_groups_add_up_to_the_rows_to_the_nano_dollar(
    rows: list[LedgerRow], group_by: list[str]
) -> None:
    """However the report is grouped, no row is lost or counted twice."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]

    async def check() -> None:
        async with ledger_of(rows) as ledger:
            found = await ledger.usage(UsageQuery(group_by=tuple(group_by)))
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


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(settled_rows, max_size=12), tag=st.sampled_from(["team", "größe"]))
def test_groups_by_a_tag_are_those_of_the_rows(rows: list[LedgerRow], tag: str) -> None:
    """A row without the tag is in the group of the empty name."""
    rows = [msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate(rows)]
    expected: dict[tuple[str, str], int] = {}
    for row in rows:
        name = (row.user, row.tags.get(tag, ""))
        expected[name] = expected.get(name, 0) + row.cost_nano

    async def check() -> None:
        async with ledger_of(rows) as ledger:
            found = await ledger.usage(UsageQuery(group_by=("user", f"tag:{tag}")))
        assert {
            (each.group["user"], each.group[f"tag:{tag}"]): each.cost_nano for each in found
        } == expected

    asyncio.run(check())


async def test_errors_count_failed_calls_and_open_rows_count_nowhere(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
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
        [total] = await ledger.usage(UsageQuery(group_by=()))
        assert (total.calls, total.errors, total.cold_starts, total.cost_nano) == (4, 2, 2, 3)


async def test_filters_and_times_narrow_a_report(tmp_path: Path) -> None:
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
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.settle(rows)
        for query, days in asked:
            assert sorted(await days_of(ledger, query)) == days
        for name, (value, days) in filtered.items():
            query = UsageQuery(where={name: value})
            assert sorted(await days_of(ledger, query)) == days


async def days_of(ledger: SqliteLedger, query: UsageQuery) -> list[str]:
    found = await ledger.usage(msgspec.structs.replace(query, group_by=("day",)))
    return [row.group["day"] for row in found]


@pytest.mark.parametrize(
    "name", ["users", "", "user; DROP TABLE entries", "tag:", 'tag:a"b', "tag:a]', '$", "tag:$[0]"]
)
async def test_a_dimension_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        for query in (UsageQuery(group_by=(name,)), UsageQuery(where={name: "x"})):
            with pytest.raises(ValueError, match="no dimension"):
                await ledger.usage(query)
        with pytest.raises(ValueError, match="no day such as"):
            await ledger.usage(UsageQuery(where={"day": "yesterday"}))


def test_names_of_tags_and_values_are_parameters_and_no_part_of_the_statement() -> None:
    sql, values = usage_sql(UsageQuery(group_by=("tag:team",), where={"user": "x' --"}))
    assert "team" not in sql
    assert "x'" not in sql
    assert values == ['$."team"', "x' --"]


async def test_a_user_report_and_a_time_report_are_served_by_an_index(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db"):
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            for query, index in (
                (UsageQuery(where={"user": "alice"}), "entries_by_user"),
                (UsageQuery(since=NOON), "entries_by_time"),
            ):
                sql, values = usage_sql(query)
                plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", values).fetchall()
                assert index in str(plan)


async def test_what_was_spent_is_summed_for_each_key_user_and_plan_since_an_instant(
    tmp_path: Path,
) -> None:
    """A call counts in the window in which it began, however long it ran."""
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row("open"))
        await ledger.settle(
            [
                settled_row("old", started_at=NOON - 1, ended_at=NOON + 9, cost_nano=100),
                settled_row("a", plan="free", cost_nano=1, gpu_us=10),
                settled_row("a#1", plan="free", kind="attempt", cost_nano=2, gpu_us=20),
                settled_row("b", key_id="k2", cost_nano=4),
            ]
        )
        assert await ledger.spent_since(NOON) == [
            Spent(key_id="k1", user="alice", plan="free", gpu_us=30, nano_usd=3),
            Spent(key_id="k2", user="alice", plan="", gpu_us=0, nano_usd=4),
        ]


async def test_calls_are_counted_by_model_and_hour_with_those_still_open(tmp_path: Path) -> None:
    hour = int(NOON) // 3600
    async with ledger_at(tmp_path / "ledger.db") as ledger:
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


async def test_a_report_that_takes_too_long_ends_by_itself(tmp_path: Path) -> None:
    """The time is that of the clock: here it runs out before the first row."""
    clock = FakeClock()
    ledger = SqliteLedger(tmp_path / "ledger.db", clock=clock, read_timeout_s=-1.0)
    for start in range(0, 4_000, 500):
        numbers = range(start, start + 500)
        await ledger.settle([settled_row(f"r{n}", tags={"a": f"{n}"}) for n in numbers])
    with pytest.raises(StoreUnavailable, match="interrupted"):
        await ledger.usage(UsageQuery(group_by=("tag:a", "tag:b", "tag:c", "hour")))
    await ledger.aclose()


# --- the file ------------------------------------------------------------------------------------


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "deep" / "er" / "ledger.db") as ledger:
        await ledger.settle([settled_row()])
        for path in (tmp_path / "deep" / "er").iterdir():
            if not path.name.endswith("-shm"):
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_ledger_of_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match=r"schema 99.*Upgrade"):
        SqliteLedger(tmp_path / "ledger.db")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("my diary" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SqliteLedger(tmp_path / "ledger.db")
    assert (tmp_path / "ledger.db").read_text() == "my diary" * 1000


async def test_a_ledger_opened_again_goes_on_where_it_was(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        await ledger.open(open_row("left"))
        await ledger.settle([settled_row("r1")])
    async with ledger_at(tmp_path / "ledger.db") as ledger:
        assert [row.id for row in await ledger.open_rows()] == ["left"]
        await ledger.settle([settled_row("left", outcome="interrupted")])
        assert len(await ledger.rows("r1")) == len(await ledger.rows("left")) == 1
        assert await ledger.open_rows() == []


@pytest.mark.parametrize(
    ("url", "path", "synchronous"),
    [
        ("sqlite:///.spillgate/ledger.db", ".spillgate/ledger.db", "normal"),
        ("sqlite:////var/lib/ledger.db", "/var/lib/ledger.db", "normal"),
        ("sqlite:///l.db?synchronous=full", "l.db", "full"),
    ],
)
def test_a_url_names_a_file_and_how_durable_it_is(url: str, path: str, synchronous: str) -> None:
    assert parse_url(url) == (Path(path), synchronous)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "postgresql:///x",
        "sqlite:///l?synchronous=off",
        "sqlite:///l?a=b",
    ],
)
def test_a_url_that_is_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///|synchronous"):
        parse_url(url)


async def test_full_synchronous_reaches_the_connection_that_writes(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ledger = SqliteLedger.from_url(f"sqlite:///{tmp_path}/l.db?synchronous=full")
        stack.push_async_callback(ledger.aclose)
        await ledger.settle([settled_row()])
        assert await ledger.rows("r1") == [settled_row()]
