"""Reports from roll-ups are those of the rows, however rows, roll-ups and questions come."""

from __future__ import annotations

import asyncio
import datetime
import zoneinfo
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.storage.base import Ledger, LedgerRow
from gateway.storage.durations import bucket_of
from gateway.storage.queries import UsageQuery, UsageReport
from gateway.types import MICRO
from tests.gateway.storage.opened import OpenLedger, StoredLedger, ledger_of, opened
from tests.gateway.storage.sqlite.ledger_rows import NOON, settled_row, settled_rows

SHARED = HealthCheck.function_scoped_fixture
"""Each example opens a ledger of its own."""
ZONES = (
    *("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Asia/Kathmandu"),
    "Australia/Lord_Howe",
)
SPRING = 1_774_742_400.0
"""2026-03-29 00:00 UTC: an hour later, Berlin's clocks are put forward."""
SUMS = ("input_tokens", "output_tokens", "queue_us", "cold_us", "exec_us", "gpu_us", "cost_nano")

moments = st.builds(
    lambda weeks, quarters, later: SPRING + weeks * 604_800.0 + quarters * 900.0 + later,
    st.sampled_from([0, 0, 0, -4, 5]),
    st.integers(-40, 200),
    st.sampled_from([0.0, 0.0, 450.0, 899.5]),
)
rows_of_any_kind = st.builds(
    msgspec.structs.replace,
    settled_rows,
    kind=st.sampled_from(["call", "attempt", "ping", "idle", "correction"]),
    started_at=moments,
    ended_at=moments.map(lambda at: at + 90_000.0),
    backend=st.sampled_from(["", "home"]),
)
queries = st.builds(
    UsageQuery,
    since=st.none() | moments,
    until=st.none() | moments.map(lambda at: at + 86_400.0),
    group_by=st.lists(
        st.sampled_from(
            [
                *("user", "kind", "tag:team", "month", "day", "hour", "hour_of_week", "outcome"),
                "model",
            ]
        ),
        max_size=3,
        unique=True,
    ).map(tuple)
    | st.sampled_from(
        [
            ("user", "hour_of_week"),
            ("user", "model", "hour_of_week"),
            ("user", "backend", "hour_of_week"),
            ("day",),
        ]
    ),
    where=st.sampled_from(
        [
            {},
            {"kind": "call"},
            {"tag:team": "bob"},
            {"day": "2026-03-29"},
            {"month": "2026-03"},
            {"hour": "2026-03-29T04:00Z"},
            {"hour_of_week": "Sun 05:00"},
        ]
    ),
    zone=st.sampled_from(ZONES),
    durations=st.booleans(),
    limit=st.none() | st.integers(1, 3),
)


def local(row: LedgerRow, zone: str) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(row.started_at, zoneinfo.ZoneInfo(zone))


def value_of(row: LedgerRow, name: str, zone: str) -> str:
    """A row's dimension, by the clock on the wall."""
    at = local(row, zone)
    if name == "month":
        return f"{at:%Y-%m}"
    if name == "day":
        return f"{at:%Y-%m-%d}"
    if name == "hour":
        return at.replace(minute=0).isoformat(timespec="minutes").replace("+00:00", "Z")
    if name == "hour_of_week":
        return f"{at:%a %H}:00"
    if name.startswith("tag:"):
        return row.tags.get(name.removeprefix("tag:"), "")
    return str(getattr(row, name))


def is_asked(row: LedgerRow, query: UsageQuery) -> bool:
    if query.since is not None and row.started_at < query.since:
        return False
    if query.until is not None and row.started_at >= query.until:
        return False
    for name, wanted in query.where.items():
        if name == "hour":
            begin = datetime.datetime.fromisoformat(wanted)
            if value_of(row, "hour", query.zone) != value_of(
                msgspec.structs.replace(row, started_at=begin.timestamp()), "hour", query.zone
            ):
                return False
        elif value_of(row, name, query.zone) != wanted:
            return False
    return True


def expected(rows: Iterable[LedgerRow], query: UsageQuery) -> dict[tuple[str, ...], list[int]]:
    """Group -> calls, errors, refused, cold starts, sums, what was idle, and durations."""
    groups: dict[tuple[str, ...], list[int]] = {} if query.group_by else {(): [0] * 96}
    for row in rows:
        if not is_asked(row, query):
            continue
        name = tuple(value_of(row, each, query.zone) for each in query.group_by)
        sums = groups.setdefault(name, [0] * 96)
        call = row.kind == "call"
        failed = call and row.outcome in ("error", "interrupted")
        own = [*map(int, (call, failed, failed and not row.backend, row.cold_us > 0))]
        own += [getattr(row, each) for each in SUMS]
        own.append(row.cost_nano if row.kind == "idle" else 0)
        for index, value in enumerate(own):
            sums[index] += value
        if call and query.durations:
            assert row.ended_at is not None
            took = round(row.ended_at * MICRO) - round(row.started_at * MICRO)
            sums[12 + bucket_of(took)] += 1
    return groups


def told(report: UsageReport) -> dict[tuple[str, ...], list[int]]:
    return {
        tuple(row.group.values()): [
            *(row.calls, row.errors, row.refused, row.cold_starts),
            *(getattr(row, each) for each in SUMS),
            row.idle_nano,
            *(row.durations or [0] * 84),
        ]
        for row in report.rows
    }


async def rolled_up(ledger: StoredLedger, *, over: bool = True) -> None:
    """``over``: four weeks that are over have sums of their own too."""
    while await ledger.roll_up():
        pass
    while over and await ledger.sum_up_four_weeks():
        pass


@settings(max_examples=20, deadline=None, suppress_health_check=[SHARED])
@given(
    early=st.lists(rows_of_any_kind, max_size=12),
    late=st.lists(rows_of_any_kind, max_size=4),
    asked=st.lists(queries, min_size=1, max_size=4),
)
def test_a_report_is_that_of_the_rows_whatever_is_rolled_up(
    open_ledger: OpenLedger,
    early: list[LedgerRow],
    late: list[LedgerRow],
    asked: list[UsageQuery],
) -> None:
    """Before anything is rolled up, with rows that wait (of hours that are rolled up too), with
    some that came after their four weeks were summed up, and after; in zones whose clocks change,
    and whose hours begin at others' half."""
    rows = [
        msgspec.structs.replace(row, id=f"r{index}") for index, row in enumerate([*early, *late])
    ]
    before, after = rows[: len(early)], rows[len(early) :]

    async def check(ledger: Ledger, there: list[LedgerRow]) -> None:
        for query in asked:
            report = await ledger.usage(query)
            wanted = expected(there, query)
            if query.limit is None or len(wanted) <= query.limit:
                assert told(report) == wanted
                continue
            assert all(told(report)[name] == wanted[name] for name in told(report))
            assert report.left_out is not None
            assert report.left_out.cost_nano == sum(
                sums[10] for name, sums in wanted.items() if name not in told(report)
            )
            assert report.left_out.calls == sum(
                sums[0] for name, sums in wanted.items() if name not in told(report)
            )

    async def run() -> None:
        async with ledger_of(open_ledger, before) as ledger:
            await check(ledger, before)
            await rolled_up(ledger)
            await check(ledger, before)
            await ledger.settle(after)
            await check(ledger, rows)
            await rolled_up(ledger, over=False)
            await check(ledger, rows)
            await rolled_up(ledger)
            await check(ledger, rows)

    asyncio.run(run())


BY_HOUR = UsageQuery(group_by=("user", "model", "hour_of_week"), zone="Europe/Berlin")
BY_DAY = UsageQuery(group_by=("user", "day"), zone="Europe/Berlin", durations=True)


def spread(count: int, name: str = "r") -> list[LedgerRow]:
    """One each seven hours from a Monday on with which four weeks begin; what they cost says which
    they are."""
    begin = 1_771_200_000.0
    return [
        settled_row(
            f"{name}{n}", user=f"user-{n % 4}", started_at=begin + n * 25_200.0, cost_nano=2**n
        )
        for n in range(count)
    ]


async def test_reports_with_what_came_late_are_those_of_the_rows(open_ledger: OpenLedger) -> None:
    """Before its four weeks are summed up again, and after."""
    async with opened(open_ledger) as ledger:
        await ledger.settle(spread(60))
        before = [await ledger.usage(query) for query in (BY_HOUR, BY_DAY)]
        await rolled_up(ledger)
        assert [await ledger.usage(query) for query in (BY_HOUR, BY_DAY)] == before
        await ledger.settle(spread(30, "late"))
        await rolled_up(ledger, over=False)
        late = [await ledger.usage(query) for query in (BY_HOUR, BY_DAY)]
        assert [sum(row.cost_nano for row in report.rows) for report in late] == [
            2**60 - 1 + 2**30 - 1
        ] * 2
        assert await ledger.sum_up_four_weeks()
        assert [await ledger.usage(query) for query in (BY_HOUR, BY_DAY)] == late


async def test_rows_are_rolled_up_once_however_often_and_by_whomever_it_is_asked(
    open_ledger: OpenLedger,
) -> None:
    rows = [settled_row(f"r{n}", started_at=NOON + n, cost_nano=2**n) for n in range(40)]
    async with opened(open_ledger) as one, opened(open_ledger) as other:
        await one.settle(rows[:30])
        await asyncio.gather(one.roll_up(), other.roll_up(), one.roll_up())
        await other.settle(rows[20:])
        await rolled_up(one)
        await rolled_up(other)
        for query in (UsageQuery(), UsageQuery(since=NOON + 60.0 - 60.0, group_by=("hour",))):
            [row] = (await one.usage(query)).rows
            assert (row.calls, row.cost_nano) == (40, 2**40 - 1)
        assert await one.roll_up() == 0


async def test_what_was_spent_is_the_same_when_it_is_rolled_up(open_ledger: OpenLedger) -> None:
    rows = [
        settled_row(f"r{n}", key_id=f"k{n % 3}", started_at=NOON + n * 1_000.0, cost_nano=2**n)
        for n in range(30)
    ]
    rows.append(settled_row("idle", kind="idle", cost_nano=2**60))
    async with opened(open_ledger) as ledger:
        await ledger.settle(rows)
        before = [await ledger.spent_since(NOON + at) for at in (-1e6, 1.0, 3_600.0, 86_400.0)]
        await rolled_up(ledger)
        assert before == [
            await ledger.spent_since(NOON + at) for at in (-1e6, 1.0, 3_600.0, 86_400.0)
        ]
        assert sum(spent.nano_usd for spent in before[0]) == 2**30 - 1


async def test_a_zone_that_is_none_is_refused(open_ledger: OpenLedger) -> None:
    async with opened(open_ledger) as ledger:
        with pytest.raises(ValueError, match="Europe/Berlin"):
            await ledger.usage(UsageQuery(zone="Mars/Olympus"))
