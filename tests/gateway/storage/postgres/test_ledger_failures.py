"""A server that is down, slow, restarted or full, or has no room: nothing acknowledged is lost,
nothing is written twice, no call hangs, and the ledger recovers when the cause is gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.storage.base import MaybeWritten, StorageUnavailable
from gateway.storage.postgres.ledger import PostgresLedger
from gateway.storage.queries import UsageQuery
from gateway.store_urls import Database, parse_database
from tests.gateway.storage.postgres.conftest import Machines
from tests.gateway.storage.postgres.severed import severed
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row
from tests.postgres_server import PostgresServer
from tests.waiting import until


async def writes(ledger: PostgresLedger, id: str) -> None:
    """Returns when the ledger has written, however often it has to be asked for that."""

    async def written() -> bool:
        with contextlib.suppress(StorageUnavailable):
            await ledger.settle([settled_row(id)])
            return True
        return False

    await until(written, "it writes")


# --- nobody knows whether it was committed -------------------------------------------------------


async def test_a_settlement_whose_answer_is_lost_is_sent_again_and_counted_once(
    database: Database, machine: Machines
) -> None:
    async with severed(database) as (wire, over_wire), machine(over_wire) as ledger:
        await ledger.open(open_row("r1"))
        wire.cut_next_answer()
        await ledger.settle([settled_row("r1", cost_nano=7), settled_row("r1#1", cost_nano=1)])
        assert wire.cuts == 1
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert (total.calls, total.cost_nano) == (2, 8)
        assert await ledger.open_rows() == []


async def test_an_opening_whose_answer_is_lost_is_sent_again_and_is_no_conflict(
    database: Database, machine: Machines
) -> None:
    async with severed(database) as (wire, over_wire), machine(over_wire) as ledger:
        await ledger.settle([settled_row("before")])
        wire.cut_next_answer()
        await ledger.open(open_row("r1"))
        assert wire.cuts == 1
        assert await ledger.open_rows() == [open_row("r1")]
        with pytest.raises(ValueError, match="'r1' already"):
            await ledger.open(open_row("r1", user="mallory"))


async def test_sessions_that_are_ended_under_load_lose_and_double_nothing(
    postgres_session: PostgresServer, database: Database, machine: Machines
) -> None:
    """Again and again, whatever is under way at that moment."""
    settled: list[str] = []
    ended = asyncio.Event()

    async def caller(ledger: PostgresLedger, name: int) -> None:
        for number in itertools.count():
            if ended.is_set():
                return
            id = f"{name}-{number}"
            await ledger.open(open_row(id))
            await ledger.settle([settled_row(id, cost_nano=1)])
            settled.append(id)

    async with machine(database) as ledger:
        callers = [asyncio.create_task(caller(ledger, name)) for name in range(8)]
        for round in range(10):
            await until(lambda: len(settled) > 50 * round, "it goes on")  # noqa: B023
            await asyncio.to_thread(postgres_session.query, _END_LEDGERS)
        ended.set()
        await asyncio.gather(*callers)
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert total.calls == total.cost_nano == len(settled)
        assert await ledger.open_rows() == []


_END_LEDGERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'spillgate ledger'"
)

# --- down ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT], ids=lambda s: s.name
)
async def test_while_the_server_is_down_calls_are_refused_and_afterwards_taken(
    server: PostgresServer, machine: Machines, how: signal.Signals
) -> None:
    """It finds out by itself that the server is back, without a call."""
    async with machine(server.empty(), timeout_s=0.3, tend_every_s=0.05) as ledger:
        await writes(ledger, "before")
        server.stop(how)
        with pytest.raises(StorageUnavailable, match=r"ledger: postgresql://127.0.0.1"):
            await ledger.settle([settled_row("r1")])
        with pytest.raises(StorageUnavailable):
            await ledger.usage(UsageQuery())
        assert ledger.failing
        assert "\n" not in ledger.failing
        await asyncio.to_thread(server.start)
        await until(lambda: not ledger.failing, "it writes again")
        await ledger.settle([settled_row("r1", cost_nano=3)])
        assert [row.cost_nano for row in await ledger.rows("r1")] == [3]


async def test_a_restart_within_the_bound_is_seen_by_no_caller(
    server: PostgresServer, machine: Machines
) -> None:
    async with machine(server.empty()) as ledger:
        await ledger.open(open_row("r1"))
        server.stop(signal.SIGKILL)
        settling = asyncio.create_task(ledger.settle([settled_row("r1")]))
        opening = asyncio.create_task(ledger.open(open_row("r2")))
        await until(lambda: bool(ledger.failing), "it was noticed")
        await asyncio.to_thread(server.start)
        await asyncio.gather(settling, opening)
        assert [row.id for row in await ledger.open_rows()] == ["r2"]


async def test_a_ledger_that_was_never_reached_says_so_and_begins_when_it_is(
    server: PostgresServer, machine: Machines
) -> None:
    database = server.empty()
    server.stop()
    async with machine(database, timeout_s=0.2) as ledger:
        for ask in (ledger.take_abandoned, lambda: ledger.open(open_row("r1"))):
            with pytest.raises(StorageUnavailable):
                await ask()
        await asyncio.to_thread(server.start)
        await writes(ledger, "r2")
        assert [row.id for row in await ledger.rows("r2")] == ["r2"]


async def test_a_password_that_is_wrong_is_told_in_no_message(
    server: PostgresServer, machine: Machines
) -> None:
    server.query("CREATE ROLE guest LOGIN PASSWORD 'right'")
    hba = server.folder / "data" / "pg_hba.conf"
    hba.write_text("host all guest all scram-sha-256\n" + hba.read_text())
    server.query("SELECT pg_reload_conf()")
    [(host, port)] = server.empty().hosts
    database = parse_database(f"postgresql://guest:wr0ng@{host}:{port}/postgres")
    async with machine(database, timeout_s=0.5) as ledger:
        with pytest.raises(StorageUnavailable, match="password authentication failed") as raised:
            await ledger.usage(UsageQuery())
        assert "wr0ng" not in str(raised.value)


# --- slow ----------------------------------------------------------------------------------------


async def test_a_server_that_hangs_keeps_no_caller_past_the_bound(
    server: PostgresServer, machine: Machines
) -> None:
    """What was sent may be written, what was not is not; and all is well afterwards. The row that
    was opened for a caller who was told otherwise is ended, whichever of the two comes first."""
    async with machine(server.empty(), timeout_s=0.3, tend_every_s=0.05) as ledger:
        await writes(ledger, "before")
        server.pause()
        sent = asyncio.create_task(ledger.open(open_row("sent")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(ledger.settle([settled_row(f"r{n}")])) for n in range(3)]
        outcomes = await asyncio.gather(sent, *waiting, return_exceptions=True)
        assert [type(each) for each in outcomes] == [MaybeWritten] + [StorageUnavailable] * 3
        assert ledger.failing
        server.resume()
        await writes(ledger, "sent")
        await writes(ledger, "after")
        assert await ledger.open_rows() == []
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert total.calls == 3


async def test_a_row_that_somebody_has_locked_is_waited_for_no_longer_than_the_bound(
    postgres_session: PostgresServer, database: Database, machine: Machines
) -> None:
    async with machine(database) as patient:
        await patient.open(open_row("r1"))
    lock = f"BEGIN; LOCK TABLE {database.schema}.entries; SELECT pg_sleep(3600)"
    async with machine(database, timeout_s=0.3, tend_every_s=0.05) as ledger:
        locking = asyncio.create_task(
            asyncio.to_thread(postgres_session.run, "psql", "-Xq", "-d", "postgres", "-c", lock)
        )
        await until(
            lambda: bool(postgres_session.query(f"{_LOCKERS} AND wait_event = 'PgSleep'")), "locked"
        )
        with pytest.raises(StorageUnavailable):
            await ledger.settle([settled_row("r1")])
        postgres_session.query(f"SELECT pg_terminate_backend(pid) FROM ({_LOCKERS}) AS lockers")
        await locking
        await writes(ledger, "r1")
        assert len(await ledger.rows("r1")) == 1


_LOCKERS = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'"


async def test_a_report_that_takes_too_long_is_ended_by_the_server(
    postgres_session: PostgresServer, database: Database, machine: Machines
) -> None:
    """And calls do not wait for reports, however many there are."""
    async with machine(database, read_timeout_s=0.3) as ledger:
        await ledger.settle([settled_row("r1")])
        slow = [asyncio.create_task(_sleep_in(ledger)) for _ in range(5)]
        await ledger.open(open_row("r2"))
        await ledger.settle([settled_row("r2")])
        outcomes = await asyncio.gather(*slow, return_exceptions=True)
        faults = {getattr(each, "fault", "") for each in outcomes}
        assert faults == {"report_too_slow", "reports_busy"}
        assert len(await ledger.rows("r2")) == 1


async def _sleep_in(ledger: PostgresLedger) -> None:
    await ledger._fetch("SELECT pg_sleep(3600)")


# --- full ----------------------------------------------------------------------------------------


async def test_a_server_without_room_for_a_connection_refuses_and_is_asked_again(
    server: PostgresServer, machine: Machines
) -> None:
    server.query("CREATE ROLE guest LOGIN CONNECTION LIMIT 0")
    server.query("GRANT CREATE ON DATABASE postgres TO guest")
    database = msgspec.structs.replace(server.empty(), username="guest")
    async with machine(database, timeout_s=0.3, tend_every_s=0.05) as ledger:
        with pytest.raises(StorageUnavailable, match="too many connections"):
            await ledger.open(open_row("r1"))
        server.query("ALTER ROLE guest CONNECTION LIMIT -1")
        await until(lambda: not ledger.failing, "it writes again")
        await writes(ledger, "r2")


@pytest.fixture
def small_disk(server: PostgresServer) -> Iterator[Path]:
    """A tablespace of a few megabytes, where the tests may mount one."""
    folder = server.folder / "small"
    folder.mkdir()
    options = f"size=4m,uid={server.folder.stat().st_uid}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    yield folder
    server.stop()
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_refuses_calls_and_takes_them_again_when_there_is_room(
    server: PostgresServer, small_disk: Path, machine: Machines
) -> None:
    server.query(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
    server.query("ALTER ROLE spillgate SET default_tablespace = small")
    ballast = small_disk / "ballast"
    async with machine(server.empty(), tend_every_s=0.05) as ledger:
        await ledger.settle([settled_row("first")])
        with ballast.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(b"\0" * 4096)
                except OSError:
                    break
        ids = [f"r{number}" for number in range(400)]
        outcomes = await asyncio.gather(
            *(ledger.settle([settled_row(id, error="x" * 4000)]) for id in ids),
            return_exceptions=True,
        )
        assert StorageUnavailable in {type(each) for each in outcomes}
        assert "No space left" in ledger.failing
        ballast.unlink()
        await until(lambda: not ledger.failing, "it writes again")
        await ledger.settle([settled_row("last")])
        written = sum(outcome is None for outcome in outcomes)
        [total] = (await ledger.usage(UsageQuery(group_by=()))).rows
        assert total.calls == 2 + written


async def test_past_the_bound_of_waiting_writes_a_caller_is_refused_at_once(
    server: PostgresServer, machine: Machines
) -> None:
    async with machine(server.empty(), max_waiting=3, timeout_s=0.2) as ledger:
        server.pause()
        outcomes = await asyncio.gather(
            *(ledger.settle([settled_row(f"r{n}")]) for n in range(5)), return_exceptions=True
        )
        server.resume()
        refused = [each for each in outcomes if "wait for the ledger already" in str(each)]
        assert len(refused) in (2, 3), "its own sign of life may be one of those that wait"
