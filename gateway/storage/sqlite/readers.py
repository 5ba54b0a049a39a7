"""Who reads the ledger when: lanes of threads, so that large reports hold up nobody else.

A lane has its own threads and a bound on what waits for them. A read has a connection of its own,
and SQLite asks every few thousand steps whether it is still wanted: one whose time is up, or that
nobody waits for any more, ends inside SQLite.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

from gateway.clock import Clock
from gateway.storage.base import ReportRefused, StorageUnavailable, unavailable
from gateway.storage.sqlite.journals import before_opening
from gateway.storage.sqlite.rows import LOCK_WAIT_S
from gateway.tasks import yield_to_others

T = TypeVar("T")
Read = Callable[[sqlite3.Connection], T]

_PROGRESS_STEPS = 100_000
"""SQLite asks this often, in steps of its virtual machine: some milliseconds."""


class ReaderLane:
    """Reads of one kind. ``most`` may be there at once, those that run included; None: any
    number, for those whose own number is bounded. ``yielding``: its threads have the processor when
    no other of this machine wants it more, such as calls."""

    def __init__(
        self,
        path: Path,
        name: str,
        *,
        clock: Clock,
        timeout_s: float,
        threads: int,
        most: int | None = None,
        yielding: bool = False,
    ) -> None:
        self._path = path
        self._clock = clock
        self._timeout_s = timeout_s
        self._most = most
        begin = yield_to_others if yielding else None
        self._threads = ThreadPoolExecutor(threads, f"ledger-{name}", initializer=begin)
        self._there = 0

    async def read(self, read: Read[T]) -> T:
        """Runs ``read`` on a thread, until it is done, its time is up or nobody waits for it.
        Raises ReportRefused for the time and where too many are there, and StorageUnavailable."""
        if self._most is not None and self._there >= self._most:
            raise _busy()
        job = _Job(self._path, self._clock, self._timeout_s, read)
        self._there += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, job.run)
        except StorageUnavailable:
            raise
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise unavailable(error, f"ledger {self._path}: {error}") from error
        finally:
            self._there -= 1
            job.unwanted.set()

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, from a thread. Raises StorageUnavailable."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (sqlite3.Error, OSError, RuntimeError) as error:
            raise unavailable(error, f"ledger {self._path}: {error}") from error

    def run_later(self, work: Callable[[], None]) -> None:
        """Runs ``work`` when a thread is free, unless the lane is closed."""
        with contextlib.suppress(RuntimeError):
            self._threads.submit(work)

    def close(self) -> None:
        """What waits is not begun; what runs ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Job(Generic[T]):
    """One read, from when it was asked for."""

    def __init__(self, path: Path, clock: Clock, timeout_s: float, read: Read[T]) -> None:
        self.unwanted = threading.Event()
        self._path = path
        self._clock = clock
        self._timeout_s = timeout_s
        self._read = read
        self._asked_at = clock.monotonic()
        self._late = False

    def run(self) -> T:
        """On a thread. The time for the read begins when it does; to wait for that takes no longer
        either."""
        self._begun_at = self._clock.monotonic()
        if self._begun_at - self._asked_at > max(0.0, self._timeout_s):
            raise _busy()
        with contextlib.closing(_connect(self._path)) as connection:
            connection.set_progress_handler(self._ends, _PROGRESS_STEPS)
            try:
                return self._read(connection)
            except sqlite3.OperationalError:
                if self._late:
                    raise self._too_slow() from None
                raise

    def _ends(self) -> bool:
        self._late = self._clock.monotonic() - self._begun_at > self._timeout_s
        return self._late or self.unwanted.is_set()

    def _too_slow(self) -> ReportRefused:
        return ReportRefused(
            "report_too_slow",
            f"The report was not done within {self._timeout_s:g} s. Ask for a shorter time by from "
            "and to, or for one user's.",
        )


def _busy() -> ReportRefused:
    return ReportRefused(
        "reports_busy", "Other large reports are being made. Ask again in some seconds."
    )


def _connect(path: Path) -> sqlite3.Connection:
    """Makes no file where there is none."""
    before_opening(path)
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_WAIT_S, isolation_level=None)
    connection.execute("PRAGMA query_only = 1")
    connection.execute("PRAGMA mmap_size = 2147483648")
    return connection
