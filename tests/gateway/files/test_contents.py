"""Bytes lie in a folder or a bucket, whole or not at all, and are never whole in memory."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import httpx
import pytest

from gateway.clock import SystemClock
from gateway.files.bucket import BucketContents
from gateway.files.contents import PIECE, Contents
from gateway.files.folder import FolderContents, write_all
from gateway.storage.base import StorageUnavailable
from tests.gateway.files.places import bucket_running, contents

__all__ = ["contents"]


async def put(contents: Contents, id: str, *pieces: bytes) -> None:
    async with contents.writing(id) as out:
        for piece in pieces:
            await out.write(piece)


async def got(contents: Contents, id: str) -> bytes:
    async with contents.read(id) as pieces:
        return b"".join([piece async for piece in pieces])


async def test_what_was_written_is_read(contents: Contents) -> None:
    large = bytes(range(256)) * 5000
    await put(contents, "file_1", b"a", b"", large)
    await put(contents, "file_2")
    assert await got(contents, "file_1") == b"a" + large
    assert await got(contents, "file_2") == b""


class Narrow:
    """A file that takes three bytes at once, and ``most`` in all."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.data = b""

    def write(self, data: memoryview, /) -> int | None:
        taken = bytes(data[: min(3, self.most - len(self.data))])
        self.data += taken
        return len(taken)


def test_what_a_file_takes_in_parts_is_written_whole_or_refused() -> None:
    file = Narrow(10)
    write_all(file, b"abcdefghij")
    assert file.data == b"abcdefghij"
    with pytest.raises(OSError, match="nothing more"):
        write_all(file, b"k")


async def test_it_is_read_from_wherever_one_left_off(contents: Contents) -> None:
    await put(contents, "file_1", b"abcdef")

    async def rest(start: int) -> bytes:
        async with contents.read("file_1", start) as pieces:
            return b"".join([piece async for piece in pieces])

    assert await rest(2) == b"cdef"
    assert await rest(6) == b""


async def test_what_breaks_off_is_not_there(contents: Contents) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with contents.writing("file_1") as out:
            await out.write(b"a" * PIECE)
            raise ZeroDivisionError
    with pytest.raises(LookupError):
        await got(contents, "file_1")


async def test_what_was_dropped_is_gone_and_may_be_dropped_again(contents: Contents) -> None:
    await put(contents, "file_1", b"a")
    await contents.drop("file_1")
    await contents.drop("file_1")
    with pytest.raises(LookupError):
        await got(contents, "file_1")


async def test_a_bucket_gives_links_that_anybody_may_follow() -> None:
    with bucket_running() as (bucket, _):
        contents = BucketContents(bucket, SystemClock())
        await put(contents, "file_1", b"abc")
        link = contents.link("file_1", 60.0)
        assert link is not None
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(link)).content == b"abc"
        await contents.aclose()


async def test_a_bucket_that_refuses_or_is_away_is_unavailable_and_no_key_is_told() -> None:
    with bucket_running() as (bucket, store):
        store.refuses = True
        contents = BucketContents(bucket, SystemClock())
        with pytest.raises(StorageUnavailable, match="status 403"):
            await put(contents, "file_1", b"abc")
    with pytest.raises(StorageUnavailable, match="Error") as raised:
        await put(contents, "file_1", b"abc")
    assert "AKIA" not in str(raised.value)
    await contents.aclose()


async def test_a_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    contents, piece = FolderContents(tmp_path), b"x" * 65536
    tracemalloc.start()
    async with contents.writing("file_1") as out:
        for _ in range(512):
            await out.write(piece)
    async with contents.read("file_1") as pieces:
        size = 0
        async for part in pieces:
            size += len(part)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 512 * 65536
    assert most < 4 * 1024 * 1024
