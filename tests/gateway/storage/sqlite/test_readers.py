"""Large reports are few, end when nobody wants them, and hold up no small one."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.storage.base import ReportRefused, StorageUnavailable
from gateway.storage.sqlite.readers import ReaderLane
from gateway.storage.sqlite.rows import connect
from tests.waiting import until

ENDLESS = (
    "WITH RECURSIVE number (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM number) "
    "SELECT COUNT(*) FROM number"
)


def endless(connection: sqlite3.Connection) -> None:
    connection.execute(ENDLESS).fetchone()


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    connect(tmp_path / "ledger.db").close()
    return tmp_path / "ledger.db"


@contextlib.asynccontextmanager
async def lane_of(
    path: Path, clock: FakeClock, *, threads: int = 1, most: int | None = None
) -> AsyncIterator[ReaderLane]:
    lane = ReaderLane(path, "test", clock=clock, timeout_s=30.0, threads=threads, most=most)
    try:
        yield lane
    finally:
        lane.close()


def running(name: str) -> int:
    return sum(thread.name.startswith(f"ledger-{name}") for thread in threading.enumerate())


async def test_a_read_whose_time_is_up_ends_inside_the_database(
    path: Path, clock: FakeClock
) -> None:
    """It would never end by itself."""
    async with lane_of(path, clock) as lane:
        read = asyncio.create_task(lane.read(endless))
        await until(lambda: running("test") == 1, "a thread reads")
        clock.move(31)
        with pytest.raises(ReportRefused, match="30 s") as refused:
            await read
        assert refused.value.fault == "report_too_slow"


async def test_a_read_that_nobody_waits_for_ends_and_makes_room(
    path: Path, clock: FakeClock
) -> None:
    """The next one has its only thread."""
    async with lane_of(path, clock) as lane:
        read = asyncio.create_task(lane.read(endless))
        await until(lambda: running("test") == 1, "a thread reads")
        read.cancel()
        assert await lane.read(lambda connection: 5) == 5


async def test_one_read_more_than_may_be_there_is_refused_at_once(
    path: Path, clock: FakeClock
) -> None:
    """Those that run count, and those that wait."""
    async with lane_of(path, clock, most=2) as lane:
        reads = [asyncio.create_task(lane.read(endless)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ReportRefused) as refused:
            await lane.read(endless)
        assert refused.value.fault == "reports_busy"
        for read in reads:
            read.cancel()
        await asyncio.wait(reads)
        assert await lane.read(lambda connection: 5) == 5


async def test_a_read_whose_turn_comes_too_late_is_refused(path: Path, clock: FakeClock) -> None:
    """It is not begun: whoever asked has waited as long as it may take."""
    async with lane_of(path, clock) as lane:
        first = asyncio.create_task(lane.read(endless))
        second = asyncio.create_task(lane.read(lambda connection: 5))
        await until(lambda: running("test") == 1, "a thread reads")
        clock.move(31)
        with pytest.raises(ReportRefused) as refused:
            await second
        assert refused.value.fault == "reports_busy"
        await asyncio.wait([first])


async def test_a_file_that_is_gone_is_not_made_by_a_reader(path: Path, clock: FakeClock) -> None:
    """It is said instead."""
    path.unlink()
    async with lane_of(path, clock) as lane:
        with pytest.raises(StorageUnavailable, match=r"ledger\.db"):
            await lane.read(lambda connection: 5)
    assert not path.exists()
