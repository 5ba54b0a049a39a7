"""Files' bytes in a folder, which gateways may share: each is written beside its place and moved
there when it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Protocol

from gateway.files.contents import PIECE
from gateway.storage.base import StorageUnavailable

_COMING = ".coming"


class FolderContents:
    """``Contents`` below ``path``, which is made where it is missing.

    Files are opened at once and not on a thread: who is cancelled meanwhile would leave them open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextlib.asynccontextmanager
    async def writing(self, id: str) -> AsyncIterator[FileWriting]:
        place = self._place(id)
        coming = place.with_name(place.name + _COMING)
        with _failures(self._path):
            file = _begun(coming)
        try:
            out = FileWriting(file)
            yield out
            with _failures(self._path):
                await out.flush()
                await asyncio.to_thread(_end, file, coming, place)
        except BaseException:
            file.close()
            coming.unlink(missing_ok=True)
            raise

    @contextlib.asynccontextmanager
    async def read(self, id: str, start: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        with _failures(self._path):
            file = _opened(self._place(id), start)
        try:
            yield _pieces(file)
        finally:
            file.close()

    async def drop(self, id: str) -> None:
        place = self._place(id)
        with _failures(self._path):
            for one in (place, place.with_name(place.name + _COMING)):
                await asyncio.to_thread(one.unlink, missing_ok=True)

    def link(self, id: str, good_for_s: float) -> str | None:
        return None

    async def aclose(self) -> None:
        return None

    def _place(self, id: str) -> Path:
        """No folder has more of them than is good for it."""
        return self._path / id[-2:] / id


class RawFile(Protocol):
    """What is written without a buffer."""

    def write(self, data: memoryview, /) -> int | None:
        """How much of it was taken."""
        ...


class FileWriting:
    """Writes to an open file in pieces that are worth a thread's turn."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._parts: list[bytes] = []
        self._size = 0

    async def write(self, piece: bytes) -> None:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size >= PIECE:
            await self.flush()

    async def flush(self) -> None:
        """What was held back is in the file."""
        whole, self._parts, self._size = b"".join(self._parts), [], 0
        try:
            await asyncio.to_thread(write_all, self._file, whole)
        except OSError as error:
            raise StorageUnavailable(f"files: {error}") from error


def write_all(file: RawFile, whole: bytes) -> None:
    """A raw file may take less than it is given, as of a disk that fills. Raises OSError."""
    left = memoryview(whole)
    while left:
        taken = file.write(left)
        if not taken:
            raise OSError(errno.EIO, "the file takes nothing more")
        left = left[taken:]


@contextlib.contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise LookupError(str(error)) from error
    except OSError as error:
        raise StorageUnavailable(f"files in {path}: {error}") from error


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece


def _opened(place: Path, start: int) -> IO[bytes]:
    file = place.open("rb")
    file.seek(start)
    return file


def _begun(coming: Path) -> IO[bytes]:
    coming.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(coming, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    return os.fdopen(descriptor, "wb", buffering=0)


def _end(file: IO[bytes], coming: Path, place: Path) -> None:
    """Whole, also through the machine's own death."""
    os.fsync(file.fileno())
    file.close()
    coming.replace(place)
    descriptor = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
