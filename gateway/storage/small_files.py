"""A small SQLite file of one subject, which all processes of a gateway share: opened for each
question, and made by the first that writes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from gateway.storage.base import StorageUnavailable

_LOCK_WAIT_S = 0.5


class SmallFile:
    """``what`` it has, for errors; ``schema`` makes its tables where they are not there yet."""

    def __init__(self, path: Path, what: str, schema: str) -> None:
        self._path = path
        self._what = what
        self._schema = schema

    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self._path.exists()

    @contextlib.contextmanager
    def opened(self, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode, for some tenths of a millisecond. Raises
        StorageUnavailable where the file cannot be used."""
        try:
            if create:
                self._make()
            connection = sqlite3.connect(self._path, timeout=_LOCK_WAIT_S, isolation_level=None)
            with contextlib.closing(connection):
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable(f"{self._what} {self._path}: {error}") from error

    def _make(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        with contextlib.closing(sqlite3.connect(self._path, timeout=_LOCK_WAIT_S)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.executescript(self._schema)
