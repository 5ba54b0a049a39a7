"""Stores while the process has no descriptor left: what is open goes on, and what cannot be opened
is the gateway's own lack."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock, SystemClock
from gateway.storage.base import StorageShortage, unavailable
from gateway.storage.queries import UsageQuery
from gateway.storage.redis.store import RedisSharedStore
from gateway.storage.sqlite.keys import SqliteKeys
from gateway.storage.sqlite.ledger import SqliteLedger
from tests.descriptors import no_descriptor_left
from tests.gateway.assembled import ALICE, assembled
from tests.gateway.storage.sqlite.ledger_rows import open_row, settled_row


async def test_the_first_rows_of_a_ledger_need_no_descriptor(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    with no_descriptor_left():
        await ledger.open(open_row("a"))
        await ledger.settle([settled_row("a")])
    assert [row.outcome for row in await ledger.rows("a")] == ["success"]
    await ledger.aclose()


async def test_a_report_without_a_descriptor_says_nothing_of_the_disk(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    with no_descriptor_left(), pytest.raises(StorageShortage):
        await ledger.usage(UsageQuery(group_by=()))
    assert ledger.failing == ""
    await ledger.aclose()


def test_keys_are_found_without_a_descriptor_and_changed_once_there_is_one(tmp_path: Path) -> None:
    keys = SqliteKeys(tmp_path / "keys.db")
    keys.create(ALICE, "sg-one")
    with no_descriptor_left():
        assert keys.find("sg-one") == ALICE
        with pytest.raises(StorageShortage):
            keys.revoke(ALICE.key_id)
    assert keys.revoke(ALICE.key_id)
    assert keys.find("sg-one") is None
    keys.close()


async def test_a_shared_store_that_could_not_be_dialled_is_dialled_by_the_next_call() -> None:
    """No breaker keeps calls from it: nothing was heard of the server."""
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"+OK\r\n")
            answered.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = RedisSharedStore(f"redis://127.0.0.1:{port}", 20.0, clock=SystemClock())
    with no_descriptor_left(), pytest.raises(StorageShortage):
        await store.ping()
    assert store.failing == ""
    await store.ping()
    assert answered.is_set()
    await store.aclose()
    server.close()


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("no rows")], ids=repr)
def test_any_other_failure_is_the_stores(error: Exception) -> None:
    assert not isinstance(unavailable(error, "it failed"), StorageShortage)


async def test_a_caller_is_told_that_the_gateway_is_overloaded(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with assembled(tmp_path, clock) as gateway, gateway.client() as client:
        with no_descriptor_left():
            answer = await client.get("/usage")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
        assert (await client.get("/usage")).status_code == 200
