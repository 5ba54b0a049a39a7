"""Old days leave the ledger for files: nothing is lost or doubled, whenever the process dies."""

from __future__ import annotations

import msgspec
import pytest

from gateway.policy.sections.store import KeepSettings
from gateway.storage.base import LedgerRow, ReportRefused
from gateway.storage.queries import CallsQuery, UsageQuery, UsageReport
from tests.gateway.archive.shelves import (
    DAY_S,
    MIDNIGHT,
    Killed,
    OpenShelf,
    Shelf,
    days_of_calls,
)

BY_ALL = UsageQuery(group_by=("user", "day", "tag:team", "kind"), durations=True)
OLD = range(25)
"""Days that are older than 35, sixty days after the first."""


def by_id(rows: list[LedgerRow]) -> list[LedgerRow]:
    return sorted(rows, key=lambda row: row.id)


def told(report: UsageReport) -> list[object]:
    return sorted(msgspec.structs.astuple(row)[0].items() for row in report.rows) + sorted(
        msgspec.structs.astuple(row)[1:] for row in report.rows
    )


async def test_whole_days_go_to_files_and_reports_stay_as_they_were(open_shelf: OpenShelf) -> None:
    rows = days_of_calls([0, 1, 24, 25, 59])
    async with open_shelf() as shelf:
        await shelf.settle(rows)
        before = told(await shelf.ledger.usage(BY_ALL))
        await shelf.archive()
        assert shelf.files() == [
            "calls-2026-01-01.csv.gz",
            "calls-2026-01-02.csv.gz",
            "calls-2026-01-25.csv.gz",
        ]
        assert by_id(shelf.archived()) == by_id(rows[:9])
        assert by_id(await shelf.kept()) == by_id(rows[9:])
        assert told(await shelf.ledger.usage(BY_ALL)) == before


async def test_what_takes_rows_says_from_when_they_are_there(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 1, 59]))
        await shelf.archive()
        part_of_an_hour = UsageQuery(since=MIDNIGHT + 60)
        calls = CallsQuery(rows=UsageQuery(since=MIDNIGHT), most=10)
        with pytest.raises(ReportRefused, match="before 2026-01-03T00:00Z are archived"):
            await shelf.ledger.usage(part_of_an_hour)
        with pytest.raises(ReportRefused, match="before 2026-01-03T00:00Z are archived"):
            await shelf.ledger.calls(calls)
        later = CallsQuery(rows=UsageQuery(since=MIDNIGHT + 2 * DAY_S), most=10)
        assert len(await shelf.ledger.calls(later)) == 3


async def test_counters_are_restored_as_before(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls(range(0, 60, 3)))
        since = shelf.clock.time() - 31 * DAY_S
        before = [
            await shelf.ledger.spent_since(since),
            await shelf.ledger.spent_since(since, step_us=43_200_000_000),
        ]
        await shelf.archive()
        assert shelf.files() != []
        assert before == [
            await shelf.ledger.spent_since(since),
            await shelf.ledger.spent_since(since, step_us=43_200_000_000),
        ]


_MOST_LOOKS = 20


async def died(shelf: Shelf, dies_at: int, *, done: bool) -> bool:
    """Whether it came so far. A server that is too busy to answer in time is asked again."""
    try:
        async with shelf.archivist(dies_at=dies_at, done=done) as archivist:
            for _ in range(_MOST_LOOKS):
                await archivist.look()
                seen = {name: value for name, _, _, value in archivist.readings()}
                if not seen["spillgate_archive_failing"]:
                    return False
    except Killed:
        return True
    raise AssertionError("it fails again and again")


@pytest.mark.parametrize("done", [False, True], ids=["before a step", "after a step"])
async def test_a_death_at_any_step_loses_nothing_and_doubles_nothing(
    open_shelf: OpenShelf, done: bool
) -> None:
    rows = days_of_calls([0, 1, 59])
    steps = 0
    while True:
        async with open_shelf() as shelf:
            await shelf.settle(rows)
            before = told(await shelf.ledger.usage(BY_ALL))
            if not await died(shelf, steps, done=done):
                break
            assert told(await shelf.ledger.usage(BY_ALL)) == before
            there = {row.id for row in shelf.archived()} | {row.id for row in await shelf.kept()}
            assert there == {row.id for row in rows}
            shelf.clock.move(400)
            again = await shelf.archive()
            assert by_id(shelf.archived() + await shelf.kept()) == by_id(rows)
            assert len(shelf.files()) == 2
            assert told(await shelf.ledger.usage(BY_ALL)) == before
            assert {name: value for name, _, _, value in again.readings()} == {
                "spillgate_ledger_oldest_row_seconds": MIDNIGHT + 59 * DAY_S,
                "spillgate_rollup_waiting_rows": 0,
                "spillgate_archive_failing": 0.0,
            }
        steps += 1
    assert steps > 10, "how many there are goes by what was summed up before"


async def test_one_gateway_alone_moves_rows_until_its_lease_is_over(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        assert await died(shelf, 3, done=True)
        await shelf.archive()
        assert shelf.archived() == []
        shelf.clock.move(301)
        await shelf.archive()
        assert len(shelf.archived()) == 3


async def test_rows_that_wait_to_be_rolled_up_keep_their_day(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        late = msgspec.structs.replace(days_of_calls([0])[0], id="late")
        await shelf.ledger.settle([late])
        archivist = await shelf.archive()
        assert shelf.files() == []
        assert ("spillgate_rollup_waiting_rows", 1) in [
            (name, value) for name, _, _, value in archivist.readings()
        ]
        await shelf.roll_up()
        await shelf.settle(days_of_calls([58]))
        await shelf.archive()
        assert len(shelf.archived()) == 4


async def test_rows_that_are_to_be_told_by_webhook_keep_their_day(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.outbox.subscribe({"bills": True})
        await shelf.settle(days_of_calls([0, 59]))
        await shelf.archive()
        assert shelf.files() == []
        await shelf.ask("DELETE FROM unsent_usage")
        await shelf.archive()
        assert len(shelf.archived()) == 3


async def test_a_row_that_comes_after_its_day_has_left_has_a_file_of_its_own(
    open_shelf: OpenShelf,
) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        await shelf.archive()
        late = msgspec.structs.replace(days_of_calls([0])[0], id="late")
        await shelf.settle([late])
        await shelf.settle(days_of_calls([58]))
        await shelf.archive()
        assert shelf.files() == ["calls-2026-01-01.2.csv.gz", "calls-2026-01-01.csv.gz"]
        assert len({row.id for row in shelf.archived()}) == len(shelf.archived()) == 4


async def test_a_file_of_somebody_else_is_never_written_over(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        shelf.folder.mkdir(parents=True)
        (shelf.folder / "calls-2026-01-01.csv.gz").write_bytes(b"theirs")
        await shelf.settle(days_of_calls([0, 59]))
        await shelf.archive()
        assert (shelf.folder / "calls-2026-01-01.csv.gz").read_bytes() == b"theirs"
        assert (shelf.folder / "calls-2026-01-01.2.csv.gz").exists()


async def test_rows_whose_names_are_counted_stay_so_that_no_name_comes_twice(
    open_shelf: OpenShelf,
) -> None:
    call, correction, hour = days_of_calls([0])
    correction = msgspec.structs.replace(correction, kind="correction")
    hour = msgspec.structs.replace(hour, kind="idle", reason="committed")
    async with open_shelf() as shelf:
        await shelf.settle([call, correction, hour, *days_of_calls([59])])
        await shelf.archive()
        assert shelf.archived() == [call]
        assert [row.id for row in await shelf.ledger.rows(correction.id)] == [correction.id]
        assert [row.id for row in await shelf.ledger.rows(hour.id)] == [hour.id]


async def test_a_ledger_that_nobody_has_used_since_can_still_be_reported_of(
    open_shelf: OpenShelf,
) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 1]))
        before = told(await shelf.ledger.usage(BY_ALL))
        await shelf.archive()
        assert told(await shelf.ledger.usage(BY_ALL)) == before
        new = days_of_calls([59])
        await shelf.settle(new)
        assert sum(row.calls for row in (await shelf.ledger.usage(BY_ALL)).rows) == 9


async def test_without_a_folder_rows_are_deleted_and_sums_stay(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        before = told(await shelf.ledger.usage(BY_ALL))
        await shelf.archive(KeepSettings(rows=35 * DAY_S))
        assert len(await shelf.kept()) == 3
        assert told(await shelf.ledger.usage(BY_ALL)) == before


async def test_a_folder_that_cannot_be_used_is_told_and_rows_stay(
    open_shelf: OpenShelf, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        shelf.folder.parent.mkdir(exist_ok=True)
        shelf.folder.write_text("a file")
        async with shelf.archivist() as archivist:
            await archivist.look()
            await archivist.look()
            assert ("spillgate_archive_failing", 1.0) in [
                (name, value) for name, _, _, value in archivist.readings()
            ]
            assert len(await shelf.kept()) == 6
            assert [line.levelname for line in caplog.records].count("ERROR") == 1
            assert str(shelf.folder) in caplog.text
            shelf.folder.unlink()
            await archivist.look()
        assert len(shelf.archived()) == 3
        assert "old rows are moved out of the ledger again" in caplog.text


async def test_no_more_rows_are_deleted_while_their_file_is_broken(
    open_shelf: OpenShelf, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        written = 0
        while not await shelf.ask("SELECT 1 FROM archives WHERE state = 'written'"):
            shelf.clock.move(400)
            assert await died(shelf, written, done=True)
            written += 1
        path = shelf.folder / "calls-2026-01-01.csv.gz"
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        shelf.clock.move(400)
        await shelf.archive()
        assert f"{path} cannot be read" in caplog.text
        assert len(await shelf.kept()) == 6
        path.write_bytes(whole)
        await shelf.archive()
        assert len(await shelf.kept()) == 3


async def test_where_a_call_of_an_archived_day_is(open_shelf: OpenShelf) -> None:
    async with open_shelf() as shelf:
        await shelf.settle(days_of_calls([0, 59]))
        archivist = await shelf.archive()
        old, new = (f"req_{int((MIDNIGHT + day * DAY_S) * 1_000):012x}{7:012x}" for day in (0, 59))
        assert archivist.where(old) == (
            "Rows of before 2026-01-02 are archived: that call's is in calls-2026-01-01.csv.gz."
        )
        assert archivist.where(new) == archivist.where("deadbeef0000") == ""
