"""The ledger's file: whose it is, which one it may be, and what its URL says."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from gateway.storage.base import StorageUnavailable
from gateway.storage.history import AttemptRecord, CallHistory
from gateway.storage.queries import UsageQuery
from gateway.storage.rollups.cubes import CUBES, MADE
from gateway.storage.rollups.four_weeks import STATE
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.store_urls import LedgerFile, Synchronous, parse_ledger
from tests.gateway.storage.sqlite.ledger_rows import ledger_at, open_row, settled_row


async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with ledger_at(tmp_path / "deep" / "er" / "ledger.db") as ledger:
        await ledger.settle([settled_row()])
        for path in (tmp_path / "deep" / "er").iterdir():
            if not path.name.endswith("-shm"):
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_ledger_of_a_newer_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageUnavailable, match=r"schema 99.*Upgrade"):
        SqliteLedger(tmp_path / "ledger.db")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("my diary" * 1000)
    with pytest.raises(StorageUnavailable, match="not a database"):
        SqliteLedger(tmp_path / "ledger.db")
    assert (tmp_path / "ledger.db").read_text() == "my diary" * 1000


ROLLUPS = (
    "rollup_state",
    *(name for cube in CUBES for name in (cube.sums, cube.durations, cube.groups) if name),
    *(name for cube in MADE for name in (cube.sums, cube.groups, cube.members)),
    STATE,
)
ARCHIVES = ("archives", "archive_lease")
POLICIES = ("policies", "policy_changes")
JOBS = (
    *("jobs", "job_events", "files", "file_links", "kept_streams", "kept_pieces"),
    "kept_responses",
    *("batches", "batch_lines", "schedules", "schedule_runs", "rented_instances"),
)
OUTBOX = ("endpoints", "outbox", "unsent_usage", "deliveries", "budget_facts")


async def first_version(path: Path) -> None:
    """With a settled row and an open one."""
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("before")])
        await ledger.open(open_row("left"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER usage_is_noted")
        for table in ("ledger", *OUTBOX, *ROLLUPS, *ARCHIVES, *JOBS, *POLICIES):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE entries DROP COLUMN history")
        connection.execute("PRAGMA user_version = 1")


async def test_a_file_of_the_first_version_is_brought_up_to_date_with_its_rows(
    tmp_path: Path,
) -> None:
    """Its calls have no history, those that follow have."""
    path = tmp_path / "ledger.db"
    await first_version(path)
    history = CallHistory(2.0, (), (), (AttemptRecord("home", "failed", "no", 0.0, 1.5),))
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("after", history=history)])
        [before], [after] = await ledger.rows("before"), await ledger.rows("after")
        assert (before.history, after.history) == (None, history)
        assert [row.id for row in await ledger.open_rows()] == ["left"]


async def test_before_a_file_is_brought_up_to_date_it_is_copied(tmp_path: Path) -> None:
    """With its rows and of its own version, once, and for its owner's eyes alone."""
    path, copy = tmp_path / "ledger.db", tmp_path / "ledger.db.before-1"
    await first_version(path)
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("after")])
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT id FROM entries").fetchall() == [("before",)]
    assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
    kept = copy.read_bytes()
    async with ledger_at(path):
        assert copy.read_bytes() == kept
    assert {each.name for each in tmp_path.glob("*before*")} == {copy.name}


async def test_rows_of_before_there_were_sums_are_in_the_reports(tmp_path: Path) -> None:
    """Before they are rolled up, and after."""
    path = tmp_path / "ledger.db"
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("before", cost_nano=5)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in (*ROLLUPS, *ARCHIVES, *JOBS, *POLICIES):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA user_version = 4")
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("after", cost_nano=6)])
        for _ in range(2):
            [row] = (await ledger.usage(UsageQuery(group_by=("day",)))).rows
            assert (row.calls, row.cost_nano) == (2, 11)
            await ledger.roll_up()


async def test_rows_that_were_given_new_numbers_are_still_known(tmp_path: Path) -> None:
    """VACUUM numbers rows anew where some are gone."""
    path = tmp_path / "ledger.db"
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row(f"r{n}", cost_nano=2**n) for n in range(4)])
        while await ledger.roll_up():
            pass
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM entries WHERE id IN ('r0', 'r1')")
        connection.execute("UPDATE rollup_state SET archived_before = 1")
        connection.commit()
        connection.execute("VACUUM")
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("r4", cost_nano=16), settled_row("r5", cost_nano=32)])
        while await ledger.roll_up():
            pass
        [row] = (await ledger.usage(UsageQuery(group_by=("month",)))).rows
        assert (row.calls, row.cost_nano) == (6, 63)


async def test_a_ledger_whose_last_rolled_up_row_was_deleted_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("r1")])
        await ledger.roll_up()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("DELETE FROM entries")
            connection.commit()
        with pytest.raises(StorageUnavailable, match="'r1', which somebody has deleted"):
            await ledger.usage(UsageQuery())


async def test_a_file_that_cannot_be_copied_is_left_as_it_is(tmp_path: Path) -> None:
    """A folder in the way stands for whatever makes writing fail, for root too."""
    path = tmp_path / "ledger.db"
    await first_version(path)
    (tmp_path / f"ledger.db.before-1.{os.getpid()}").mkdir()
    with pytest.raises(StorageUnavailable, match=r"before-1 cannot be written"):
        SqliteLedger(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


async def test_a_step_that_breaks_off_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """It says that it is of the first version, and has a column of the second already."""
    path = tmp_path / "ledger.db"
    async with ledger_at(path) as ledger:
        await ledger.settle([settled_row("before")])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(StorageUnavailable, match="duplicate column"):
        SqliteLedger(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT id FROM entries").fetchall() == [("before",)]


@pytest.mark.parametrize(
    ("url", "path", "synchronous"),
    [
        ("sqlite:///.spillgate/ledger.db", ".spillgate/ledger.db", "normal"),
        ("sqlite:////var/lib/ledger.db", "/var/lib/ledger.db", "normal"),
        ("sqlite:///l.db?synchronous=full", "l.db", "full"),
    ],
)
def test_a_url_names_a_file_and_how_durable_it_is(
    url: str, path: str, synchronous: Synchronous
) -> None:
    assert parse_ledger(url) == LedgerFile(path=path, synchronous=synchronous)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite://",
        "sqlite:///",
        "postgresql:///x",
        "sqlite:///l?synchronous=off",
        "sqlite:///l?a=b",
        "sqlite:///l?synchronous",
        "sqlite:///l\0",
    ],
)
def test_a_url_that_is_no_ledger_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sqlite:///|postgresql://|synchronous"):
        parse_ledger(url)


async def test_full_synchronous_reaches_the_connection_that_writes(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        ledger = SqliteLedger(tmp_path / "l.db", synchronous="full")
        stack.push_async_callback(ledger.aclose)
        await ledger.settle([settled_row()])
        assert await ledger.rows("r1") == [settled_row()]
