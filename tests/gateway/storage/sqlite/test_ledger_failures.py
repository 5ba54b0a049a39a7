"""Full disks, locks, corrupted files and killed processes: nothing acknowledged is lost, no call
hangs, and the ledger recovers when the cause is gone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clock import FakeClock, settle
from gateway.storage.base import StorageUnavailable
from gateway.storage.queries import CallsQuery, UsageQuery
from gateway.storage.rows import encode_open, encode_settled
from gateway.storage.sqlite.ledger import SqliteLedger
from gateway.storage.sqlite.rows import connect
from gateway.storage.sqlite.writer import GroupWriter
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row
from tests.waiting import until

PATIENCE_S = 1e9
ROOT = Path(__file__).parents[4]
KILLS = 20


# --- killed --------------------------------------------------------------------------------------


def acknowledged_before_kills(path: Path) -> list[str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.programs.ledger.settle_until_killed",
            str(path),
            str(KILLS),
            "7",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


async def test_whatever_was_acknowledged_before_a_kill_is_there_exactly_once(
    tmp_path: Path,
) -> None:
    """Twenty processes in turn, each killed at another instant while four callers write."""
    path = tmp_path / "ledger.db"
    lines = acknowledged_before_kills(path)
    opened = {line.split()[1] for line in lines if line.startswith("open")}
    settled = {line.split()[1] for line in lines if line.startswith("settled")}
    assert len(settled) > KILLS
    assert opened > settled, "no kill fell between an opening and its settlement"

    ledger = SqliteLedger(path)
    left_open = {row.id for row in await ledger.open_rows()}
    [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
    for id in opened:
        [row] = await ledger.rows(id)
        assert (row.outcome == "open") == (id in left_open)
    await ledger.aclose()

    assert settled.isdisjoint(left_open)
    assert len(settled) <= total.calls == total.cost_nano
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- full ----------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount; the limit on file sizes is tested all the same")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_calls_and_takes_them_again_when_there_is_room(
    small_disk: Path,
) -> None:
    ballast = small_disk / "ballast"
    ledger = SqliteLedger(small_disk / "ledger.db")
    await ledger.settle([settled_row("first")])
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 4096)

    settlements = (ledger.settle([settled_row(f"r{n}", error="x" * 1000)]) for n in range(500))
    with pytest.raises(StorageUnavailable, match="disk is full"):
        await asyncio.gather(*settlements)
    assert ledger.failing
    assert "\n" not in ledger.failing
    outcomes = await asyncio.gather(
        *(ledger.open(open_row(f"o{number}", error="x" * 9000)) for number in range(40)),
        return_exceptions=True,
    )
    assert StorageUnavailable in {type(each) for each in outcomes}

    ballast.unlink()
    await ledger.settle([settled_row("last")])
    assert ledger.failing == ""
    assert [len(await ledger.rows(id)) for id in ("first", "last")] == [1, 1]
    opened = sum(outcome is None for outcome in outcomes)
    assert len(await ledger.open_rows()) == opened
    await ledger.aclose()


def test_a_file_that_may_not_grow_refuses_calls_and_takes_them_again(tmp_path: Path) -> None:
    """In a process of its own, because the limit is the process's."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.programs.ledger.settle_past_a_file_limit",
            str(tmp_path / "ledger.db"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    refused, failing, recovered, kept = done.stdout.splitlines()
    assert refused.startswith("refused: ledger: ")
    assert refused.removeprefix("refused: ") == failing.removeprefix("failing: ")
    assert (recovered, kept) == ("failing: ", "kept: True")


# --- locked, broken, gone ------------------------------------------------------------------------


async def test_a_database_locked_past_the_bound_refuses_and_recovers(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            await ledger.open(open_row("r1"))
        other.execute("ROLLBACK")
    await ledger.open(open_row("r1"))
    assert ledger.failing == ""
    await ledger.aclose()


def writer_to(path: Path) -> GroupWriter:
    """One that opens the file at its first write, as after a connection that broke."""
    clock = FakeClock()
    return GroupWriter(
        lambda: connect(path), now=clock.monotonic, max_waiting=100, timeout_s=PATIENCE_S
    )


async def test_a_corrupted_file_refuses_and_a_sound_one_in_its_place_is_taken(
    tmp_path: Path,
) -> None:
    """A broken connection is thrown away: the next write opens the file that is there then."""
    path = tmp_path / "ledger.db"
    first = SqliteLedger(path)
    await first.aclose()
    sound = path.read_bytes()
    writer = writer_to(path)
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await writer.submit((encode_settled(settled_row("r1")),))
    assert "not a database" in writer.failing
    path.write_bytes(sound)
    await writer.submit((encode_settled(settled_row("r1")),))
    await writer.aclose()
    ledger = SqliteLedger(path)
    assert await ledger.rows("r1") == [settled_row("r1")]
    await ledger.aclose()


async def test_a_report_of_a_corrupted_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await SqliteLedger(path).aclose()
    ledger = SqliteLedger(path)
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await ledger.usage(UsageQuery())
    await ledger.aclose()


async def test_a_folder_that_is_gone_refuses_until_it_is_back(tmp_path: Path) -> None:
    """A file in the way stands for whatever makes opening fail, for root too."""
    folder = tmp_path / "data"
    folder.write_text("in the way")
    writer = writer_to(folder / "ledger.db")
    with pytest.raises(StorageUnavailable, match="ledger: "):
        await writer.submit((encode_settled(settled_row("r1")),))
    folder.unlink()
    await writer.submit((encode_settled(settled_row("r1")),))
    assert writer.written == 1
    await writer.aclose()


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "removed"])
async def test_a_file_that_is_replaced_is_told_and_the_new_one_is_written(
    replaced: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not the one that has no name any more."""
    clock = FakeClock()
    path = tmp_path / "ledger.db"
    await SqliteLedger(tmp_path / "other.db").aclose()
    ledger = SqliteLedger(path, clock=clock)
    await ledger.settle([settled_row("r1")])
    (tmp_path / "other.db").replace(path) if replaced else path.unlink()
    await clock.advance(1.0)
    await ledger.settle([settled_row("r2")])
    assert await ledger.rows("r2") == [settled_row("r2")]
    await clock.advance(5.0)
    [record] = [one for one in caplog.records if str(path) in one.getMessage()]
    assert record.levelname == "ERROR"
    await ledger.aclose()


async def ids_in(path: Path) -> set[str]:
    """As a ledger finds them that opens the file alone."""
    ledger = SqliteLedger(path)
    found = await ledger.calls(CallsQuery(rows=UsageQuery(), most=1000))
    await ledger.aclose()
    return {row.id for row in found}


@pytest.mark.parametrize("reads", [True, False], ids=["read first", "written first"])
async def test_neither_of_two_files_of_which_one_is_moved_over_the_other_loses_a_row(
    reads: bool, tmp_path: Path
) -> None:
    """What waits in the log of the one is not written over the other, whoever opens that first."""
    clock = FakeClock()
    path, aside, other = (tmp_path / f"{name}.db" for name in ("ledger", "aside", "other"))
    before = SqliteLedger(other)
    await before.settle([settled_row(f"other{number}") for number in range(300)])
    await before.aclose()
    ledger = SqliteLedger(path, clock=clock)
    await ledger.settle([settled_row(f"r{number}") for number in range(50)])
    path.rename(aside)
    other.rename(path)
    if reads:
        assert await ledger.rows("other7") == [settled_row("other7")]
    await clock.advance(1.0)
    await ledger.settle([settled_row("new")])
    await ledger.aclose()
    assert await ids_in(path) == {"new", *(f"other{number}" for number in range(300))}
    assert await ids_in(aside) == {f"r{number}" for number in range(50)}


async def test_a_failed_ledger_finds_out_by_itself_that_it_writes_again(tmp_path: Path) -> None:
    """Where readiness keeps calls away while it fails, no call would ever try."""
    clock = FakeClock()
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, clock=clock)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            await ledger.settle([settled_row("r1")])
        other.execute("ROLLBACK")
    assert ledger.failing
    await clock.advance(1.0)
    await until(lambda: not ledger.failing)
    await ledger.aclose()


async def test_the_log_is_folded_into_the_database_while_calls_go_on(tmp_path: Path) -> None:
    """By another thread, so that no call waits for the disk's cache to be flushed."""
    clock = FakeClock()
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, clock=clock)
    empty = path.stat().st_size
    for start in range(0, 8_000, 500):
        await ledger.settle([settled_row(f"r{start + n}") for n in range(500)])
    assert path.stat().st_size == empty
    await clock.advance(1.0)
    await until(lambda: path.stat().st_size > empty + 500_000)
    await ledger.aclose()


# --- a disk that hangs ---------------------------------------------------------------------------


class HangingDisk:
    """Connections to a real ledger that open only while the gate is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.gate = threading.Event()
        self.asked = False

    def connect(self) -> sqlite3.Connection:
        self.asked = True
        assert self.gate.wait(timeout=30)
        return connect(self._path)


async def test_a_disk_that_hangs_keeps_no_caller_past_the_time_out(tmp_path: Path) -> None:
    """Who waits is told at the time-out, who comes later at once, and all is well afterwards."""
    clock = FakeClock()
    disk = HangingDisk(tmp_path / "ledger.db")
    writer = GroupWriter(disk.connect, now=clock.monotonic, max_waiting=100, timeout_s=5.0)
    waiting = [writer.submit((encode_settled(settled_row(f"r{number}")),)) for number in range(3)]
    clock.move(4.0)
    writer.tend()
    await settle()
    assert not any(each.done() for each in waiting)
    clock.move(2.0)
    writer.tend()
    for each in waiting:
        with pytest.raises(StorageUnavailable, match="not answered for 5 s"):
            await each
    with pytest.raises(StorageUnavailable, match="not answered"):
        writer.submit((encode_settled(settled_row("late")),))
    assert writer.failing

    disk.gate.set()
    await until(lambda: not writer.failing)
    await writer.submit((encode_settled(settled_row("after")),))
    await writer.aclose()


async def test_behind_a_disk_that_hung_settlements_are_written_and_abandoned_openings_are_not(
    tmp_path: Path,
) -> None:
    """Whoever cancelled while opening settles nothing; a settlement counts without its caller."""
    path = tmp_path / "ledger.db"
    disk = HangingDisk(path)
    writer = GroupWriter(disk.connect, now=FakeClock().monotonic, max_waiting=100, timeout_s=5.0)
    first = writer.submit((encode_settled(settled_row("first")),))
    await until(lambda: disk.asked)
    opening = writer.submit((encode_open(open_row("opening"), "me"),), opening=True)
    settling = writer.submit((encode_settled(settled_row("settling")),))
    opening.cancel()
    settling.cancel()
    disk.gate.set()
    await first
    await writer.aclose()
    ledger = SqliteLedger(path)
    found = [len(await ledger.rows(id)) for id in ("first", "opening", "settling")]
    await ledger.aclose()
    assert found == [1, 0, 1]
