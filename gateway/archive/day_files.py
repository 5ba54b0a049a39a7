"""A day's file: written aside, on the disk before it has its name, and read back.

All of it is done on one thread, which yields the processor to calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import glob
import gzip
import os
import secrets
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeVar

import msgspec

from gateway.archive import csv_form
from gateway.policy.sections.store import KeepSettings
from gateway.storage.rows import Encoded
from gateway.tasks import yield_to_others

T = TypeVar("T")
FormName = Literal["csv", "parquet"]


class ArchiveBroken(Exception):
    """A file is not what was written there. The message names it and is for the operator."""


class RowFile(Protocol):
    """A file of some form that is being written."""

    def write(self, rows: Sequence[Encoded]) -> None: ...

    def __enter__(self) -> RowFile: ...

    def __exit__(self, *raised: Any) -> None: ...


class Form(msgspec.Struct, frozen=True):
    """How rows become bytes, and bytes rows."""

    suffix: str
    writer: Callable[[IO[bytes]], RowFile]
    read: Callable[[Path, int], Iterator[list[Encoded]]]


def form_of(name: FormName) -> Form:
    """Raises ModuleNotFoundError where pyarrow is asked for and is not there."""
    if name == "csv":
        return Form(csv_form.SUFFIX, csv_form.CsvFile, csv_form.read_csv)
    # Imported here because pyarrow is an extra.
    from gateway.archive import parquet_form

    return Form(parquet_form.SUFFIX, parquet_form.ParquetFile, parquet_form.read_parquet)


_UNREADABLE = (EOFError, zlib.error, gzip.BadGzipFile, ValueError, csv.Error)
"""Of what a form's ``read`` raises, what is about the file and not the disk. What pyarrow says of a
broken file is a ValueError."""


class DayFiles:
    """Files by their paths; new ones are in ``folder`` and have the form ``form``. Without a folder
    there are no new ones."""

    def __init__(self, folder: Path | None, form: FormName) -> None:
        self.folder = folder
        self.suffix = form_of(form).suffix
        self._thread = ThreadPoolExecutor(1, "archive", initializer=yield_to_others)

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, from the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def free_path(self, folder: Path, stem: str, taken: set[str]) -> Path:
        """The first name of a day that no file ever had: ``calls-2026-08-01.csv.gz``, then
        ``calls-2026-08-01.2.csv.gz``. Raises OSError where the folder cannot be used."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1
        while True:
            path = folder / f"{stem}{f'.{number}' if number > 1 else ''}{self.suffix}"
            if str(path) not in taken and not path.exists():
                return path
            number += 1

    def close(self) -> None:
        """What runs ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def files_of(keep: KeepSettings | None) -> DayFiles:
    """Those that a policy asks for. Raises ModuleNotFoundError where pyarrow is asked for and is
    not there."""
    if keep is None or keep.archive is None:
        return DayFiles(None, "csv")
    return DayFiles(Path(keep.archive).absolute(), keep.format)


def pages(path: Path, most: int) -> Iterator[list[Encoded]]:
    """The rows of a file, ``most`` at a time. Raises OSError, and ArchiveBroken."""
    try:
        yield from _form_at(path).read(path, most)
    except _UNREADABLE as error:
        raise ArchiveBroken(f"{path} cannot be read: {error}") from error


def _form_at(path: Path) -> Form:
    return form_of("csv" if path.name.endswith(csv_form.SUFFIX) else "parquet")


class DayFile:
    """One that has no name yet; only its owner may read it. What earlier attempts at it have left
    is gone. Raises OSError."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            left.unlink(missing_ok=True)
        self._path = path
        self._aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        descriptor = os.open(self._aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._raw = os.fdopen(descriptor, "wb")
        try:
            self._file = _form_at(path).writer(self._raw)
        except BaseException:
            self._raw.close()
            raise

    def write(self, rows: Sequence[Encoded]) -> None:
        """Raises OSError."""
        self._file.write(rows)

    def finish(self) -> None:
        """It is whole, on the disk, and has its name. Raises OSError."""
        with self._file:
            pass
        self._raw.flush()
        os.fsync(self._raw.fileno())
        self._raw.close()
        self._aside.rename(self._path)
        _to_disk(self._path.parent)

    def discard(self) -> None:
        """Leaves nothing of a file without a name."""
        with contextlib.suppress(OSError, ValueError), self._file:
            pass
        with contextlib.suppress(OSError):
            self._raw.close()
        with contextlib.suppress(OSError):
            self._aside.unlink()


def _to_disk(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
