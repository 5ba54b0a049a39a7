"""Every store of files tells whose a file is, and until when; what is over is swept away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from gateway.clock import FakeClock
from gateway.storage.files.base import FileRecords, FilesQuery, StoredFile
from gateway.storage.files.sql_files import SqlFiles
from tests.gateway.storage.books import MakeStatements, make_statements

__all__ = ["make_statements"]

ROOM = 1000
WITHIN_S = 60.0


def file(clock: FakeClock, id: str = "file_1", **changed: Any) -> StoredFile:
    fields: dict[str, Any] = {
        "id": id,
        "user": "alice",
        "key_id": "key_alice",
        "name": "in.jsonl",
        "purpose": "batch",
        "size": 100,
        "created_at": clock.time(),
        "expires_at": clock.time() + 3600.0,
    }
    return StoredFile(**{**fields, **changed})


@contextlib.asynccontextmanager
async def opened(make_statements: MakeStatements) -> AsyncIterator[SqlFiles]:
    files = SqlFiles(make_statements())
    try:
        yield files
    finally:
        await files.aclose()


async def keep(files: FileRecords, *some: StoredFile) -> None:
    for one in some:
        assert await files.begin(one, ROOM, WITHIN_S)
        assert await files.keep(one, ROOM)


async def test_a_file_is_found_once_its_bytes_are_there(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        one = file(clock)
        assert await files.begin(one, ROOM, WITHIN_S)
        assert await files.get("file_1") is None
        assert await files.keep(one, ROOM)
        assert await files.get("file_1") == one


async def test_a_user_has_no_more_than_there_is_room_for(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        await keep(files, file(clock, size=600))
        assert not await files.begin(file(clock, "file_2", size=401), ROOM, WITHIN_S)
        assert await files.begin(file(clock, "file_3", size=400), ROOM, WITHIN_S)
        assert await files.begin(file(clock, "file_4", user="bob", size=900), ROOM, WITHIN_S)


async def test_what_comes_without_a_size_is_asked_at_its_end(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        await keep(files, file(clock, size=600))
        assert await files.begin(file(clock, "file_2", size=0), ROOM, WITHIN_S)
        assert not await files.keep(file(clock, "file_2", size=401), ROOM)
        assert await files.keep(file(clock, "file_2", size=400), ROOM)


async def test_files_are_listed_a_page_at_a_time(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        await keep(files, *(file(clock, f"file_{number}") for number in range(4)))
        await keep(
            files,
            file(clock, "file_b", user="bob"),
            file(clock, "file_o", purpose="batch_output"),
        )
        of_alice = FilesQuery(user="alice", purpose="batch", most=3)
        newest = await files.find(of_alice)
        rest = await files.find(FilesQuery(user="alice", purpose="batch", after="file_1"))
        first = await files.find(FilesQuery(oldest_first=True, most=1))
        assert [one.id for one in newest] == ["file_3", "file_2", "file_1"]
        assert [one.id for one in rest] == ["file_0"]
        assert [one.id for one in first] == ["file_0"]


async def test_what_is_over_or_dropped_is_found_no_more_and_swept_away(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        late = clock.time() + 7200
        await keep(files, file(clock), file(clock, "file_2", expires_at=late))
        await keep(files, file(clock, "file_3", expires_at=late))
        assert await files.begin(file(clock, "file_4"), ROOM, WITHIN_S)
        await clock.advance(3601)
        assert await files.drop("file_2")
        assert not await files.drop("file_2")

        assert [await files.get(f"file_{n}") is None for n in (1, 2, 3)] == [
            True,
            True,
            False,
        ]
        over = await files.over(10)
        assert sorted(over) == ["file_1", "file_2", "file_4"]
        await files.forget(over)
        assert await files.over(10) == []


async def test_what_was_given_up_takes_no_room(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        assert await files.begin(file(clock, size=900), ROOM, WITHIN_S)
        await files.give_up("file_1")
        assert await files.begin(file(clock, "file_2", size=900), ROOM, WITHIN_S)


async def test_a_token_leads_to_its_file_for_a_while(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        await keep(files, file(clock), file(clock, "file_2"))
        await files.link("digest", "file_1", 60.0)
        await files.link("other", "file_2", 600.0)
        found = await files.linked("digest")
        assert found is not None
        assert found.id == "file_1"
        await clock.advance(61)
        assert await files.linked("digest") is None
        assert await files.linked("other") is not None
        await files.drop("file_2")
        assert await files.linked("other") is None


async def test_a_file_stays_for_whoever_needs_it_longer(
    make_statements: MakeStatements, clock: FakeClock
) -> None:
    async with opened(make_statements) as files:
        one = file(clock)
        await keep(files, one)
        assert await files.stay("file_1", clock.time() + 7200)
        assert await files.stay("file_1", clock.time() + 60)
        assert not await files.stay("file_2", clock.time() + 60)
        await clock.advance(3700)
        assert await files.get("file_1") is not None
